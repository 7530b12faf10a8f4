"""A local HTTP server that misbehaves on purpose."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Serves ``files`` by name on loopback; what is asked is in ``asked``.

    Paths: ``/NAME`` as it should be; and ``/MODE/NAME``, with these modes:

        moved        redirects to ``/NAME``
        no-ranges    sends the whole file whatever is asked
        cut          breaks off after half of what was asked, each time
        cut-once     breaks off after half, the first time
        short        says that the file is shorter than it is, and sends that
        wrong        changes one byte
        wrong-rest   changes the last byte of an answer to a range
        slow         sends half, then nothing more while the client waits
        page         sends a web page
        untagged     sends no ETag and knows no If-Range
        CODE         answers with this status
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.stop = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda request, client_address: None  # clients that go away are the point

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._http.shutdown()
        self._http.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{path}"

    def _answer(self, request: Any) -> None:
        # A proxy is asked for whole addresses.
        path = "/" + request.path.split("/", 3)[3] if "://" in request.path else request.path
        mode, _, name = path.strip("/").rpartition("/")
        asked = request.headers.get("Range")
        self.asked.append((path, asked))
        if mode == "moved":
            self._send(request, 302, b"", {"Location": f"/{name}"})
        elif mode.isdigit():
            self._send(request, int(mode), b"", {})
        elif mode == "page":
            self._send(request, 200, b"<html>too many downloads</html>", {"Content-Type": "text/html"})
        elif name not in self.files:
            self._send(request, 404, b"", {})
        else:
            self._send_file(request, mode, name, asked)

    def _send_file(self, request: Any, mode: str, name: str, asked: str | None) -> None:
        content = self.files[name]
        tag = f'"{hash(content)}"'
        headers = {} if mode == "untagged" else {"ETag": tag}
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and mode != "no-ranges" else 0
        if mode != "untagged" and request.headers.get("If-Range") not in (None, tag):
            start = 0
        if mode == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if mode == "wrong-rest" and start:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if mode == "short":
            content = content[: len(content) // 2]
        if start >= len(content) > 0:
            self._send(request, 416, b"", {})
            return
        body = content[start:]
        status = 206 if start else 200
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        first = sum(path.endswith(f"/{name}") for path, _ in self.asked) == 1
        if mode in ("cut", "slow") or (mode == "cut-once" and first):
            self._send(request, status, body[: len(body) // 2], headers, length=len(body))
            if mode == "slow":
                self.stop.wait(5)
            request.close_connection = True
        else:
            self._send(request, status, body, headers)

    def _send(
        self, request: Any, status: int, body: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        for start in range(0, len(body), 1 << 16):
            request.wfile.write(body[start : start + (1 << 16)])
            time.sleep(0)
