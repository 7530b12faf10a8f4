"""Who may call the server, and how much: checked for every request, before anything else sees it."""

import base64
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inpaint.errors import ImageError
from inpaint.web.photos import Limits

_MOST_JSON = 8 * 2**20
_UPLOADS = re.compile(r"/api/photos|/api/photos/[^/]+/masks|/api/erase|/gradio_api/upload")
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """ASGI middleware: host, origin, login, size and quota.

    ``hosts`` are names under which the server is reached, beside ``localhost``, IP addresses and this
    machine's name: any other is another site's, pointed at this machine (DNS rebinding). ``charge`` counts
    a visitor's bytes, and raises where they are too many.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        charge: Callable[[str, int], None],
        hosts: tuple[str, ...] = (),
        login: tuple[str, str] | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._charge = charge
        self._hosts = {name.lower() for name in (*hosts, "localhost", socket.gethostname())}
        self._credentials = base64.b64encode(":".join(login).encode()).decode() if login else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with one line."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # the page has no web sockets
            return await send({"type": "websocket.close", "code": 1008})
        if (refused := self._refuse(scope, Headers(scope=scope))) is not None:
            status, told = refused
            more = {"connection": "close"}  # the rest of an upload is not read
            if status == 401:
                more["www-authenticate"] = 'Basic realm="Inpaint", charset="UTF-8"'
            return await JSONResponse({"error": told}, status, more)(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refuse(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return 421, f"this server does not answer for {host!r}; start it with --allow-host to add a name"
        origin, site, mode = (headers.get(name) for name in ("origin", "sec-fetch-site", "sec-fetch-mode"))
        foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if foreign or (site == "cross-site" and mode != "navigate"):
            return 403, "another site may not use this server from a visitor's browser"
        if self._credentials is not None:
            given = headers.get("authorization", "").partition(" ")[2]
            if not secrets.compare_digest(given.encode(), self._credentials.encode()):
                return 401, "this page asks for a name and a password"
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        return self._refuse_body(scope, headers)

    def _refuse_body(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        length = headers.get("content-length", "0" if scope["method"] == "DELETE" else "")
        if not length.isdecimal():
            return 411, "the request does not say how long it is; send Content-Length"
        is_upload = _UPLOADS.fullmatch(scope["path"]) is not None
        most = self._limits.file_bytes + 2**20 if is_upload else _MOST_JSON
        if int(length) > most:
            return 413, f"the file has {int(length) / 2**20:.0f} MB, the limit is {most / 2**20:.0f} MB"
        try:
            self._charge((scope.get("client") or ("?",))[0], int(length))
        except ImageError as error:
            return 429, str(error)
        return None

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._hosts or ipaddress.ip_address(name) is not None
        except ValueError:  # neither a name of ours nor an address
            return False
