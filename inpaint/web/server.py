"""Start the page on this machine."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from importlib import resources
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from inpaint import __version__
from inpaint.errors import InpaintError
from inpaint.web.api import add_form_api, add_gradio_api
from inpaint.web.fills import Fills
from inpaint.web.guard import Guard
from inpaint.web.jobs import Busy
from inpaint.web.photos import Limits
from inpaint.web.routes import router
from inpaint.web.service import Service
from inpaint.web.workspace import GoneError, QuotaError


class Server:
    """A page to serve at ``url``; as a context it is served in a thread."""

    def __init__(self, service: Service, app: Any, host: str, port: int) -> None:
        self.service = service
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)
        except OSError as error:
            told = f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port"
            raise InpaintError(told) from error
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.url = f"http://{name}:{self._socket.getsockname()[1]}/"
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, server_header=False)
        self._uvicorn = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, then delete all that visitors left."""
        try:
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self.service.close()

    def __enter__(self) -> Server:
        threading.Thread(target=self.run, daemon=True, name="server").start()
        while not self._uvicorn.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        while self.service.workspace.folder.exists():
            time.sleep(0.02)


def build_app(service: Service, *, hosts: tuple[str, ...] = (), login: tuple[str, str] | None = None) -> Any:
    """The whole application: page, API, and the guard before both."""
    app = FastAPI(title="Inpaint", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    for kind, status in ((GoneError, 410), (QuotaError, 429), (Busy, 429), (InpaintError, 400)):
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _tell_bounds)
    app.add_exception_handler(
        Exception, _answer_with(500, "something went wrong on the server; its log says what")
    )
    app.include_router(router)
    add_form_api(app, service)
    static = resources.files("inpaint.web").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(str(static.joinpath("index.html")), headers={"Cache-Control": "no-cache"})

    os.environ["GRADIO_TEMP_DIR"] = str(service.workspace.uploads)  # so that the timer finds what it stores
    app = gr.mount_gradio_app(
        app, add_gradio_api(service), path="/", footer_links=[], run_history=False, ssr_mode=False,
        show_error=False, max_file_size=service.limits.file_bytes,
    )  # fmt: skip
    return Guard(app, limits=service.limits, charge=service.workspace.charge, hosts=hosts, login=login)


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    device: str = "auto",
    login: tuple[str, str] | None = None,
    limits: Limits | None = None,
    hosts: tuple[str, ...] = (),
    allow_downloads: bool = False,
) -> Server:
    """Build the page, ready to run; the options are those of ``inpaint serve``. Port 0 takes a free one."""
    if threading.current_thread() is threading.main_thread():
        # Uvicorn stops on SIGTERM, then raises it again, which would end the process before it has tidied up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    service = Service(Fills(device), limits, allow_downloads=allow_downloads)
    atexit.register(service.close)
    return Server(service, build_app(service, hosts=hosts, login=login), host, port)


def _answer_with(status: int, told: str = "") -> Any:
    return lambda _, error: JSONResponse({"error": told or str(error)}, status)


def _tell_bounds(_: Request, error: Exception) -> JSONResponse:
    """What was got and what was expected, without repeating a long value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    got = repr(first.get("input"))
    told = f"got {got if len(got) < 60 else got[:60] + '...'}" if first["type"] != "missing" else "is missing"
    return JSONResponse({"error": f"{name}: {told}; {first['msg'][0].lower()}{first['msg'][1:]}"}, 422)
