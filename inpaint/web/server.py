"""Start the page on this machine, with its public endpoint: image and mask file in, result file out."""

import atexit
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from inpaint import __version__
from inpaint.errors import InpaintError
from inpaint.web import routes
from inpaint.web.fills import Fills
from inpaint.web.guard import Guard
from inpaint.web.jobs import Busy
from inpaint.web.masks import Growth
from inpaint.web.photos import GoneError, Limits, QuotaError, safe_name
from inpaint.web.service import DownloadAs, Service

_STATIC = Path(__file__).with_name("static")


class Server:
    """A page to serve at ``url``, which takes connections from now on and answers them in :meth:`run`."""

    def __init__(self, service: Service, app: Any, host: str, port: int) -> None:
        self.service = service
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (host, port), family=family, backlog=128, dualstack_ipv6=family == socket.AF_INET6
            )
        except OSError as error:
            reason = str(error.strerror).partition(" (")[0]  # which repeats the address
            told = f"cannot listen on {host} port {port} ({reason}); choose another with --port"
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

    def stop(self) -> None:
        """End :meth:`run`, which may be in another thread."""
        self._uvicorn.should_exit = True


def build_app(service: Service, *, hosts: tuple[str, ...] = (), login: tuple[str, str] | None = None) -> Any:
    """The whole application: page, API, and the guard before both."""
    app = FastAPI(title="Inpaint", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    for kind, status in ((GoneError, 410), (QuotaError, 429), (Busy, 429), (InpaintError, 400)):
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.add_exception_handler(
        Exception, _answer_with(500, "something went wrong on the server; its log says what")
    )
    app.include_router(routes.router)
    add_erase(app, service)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

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


def add_erase(app: FastAPI, service: Service) -> None:
    """The public endpoint, a form: ``curl -F image=@photo.jpg -F mask=@mask.png``."""
    models = [choice.key for choice in service.fills.choices() if choice.here]

    @app.post("/api/erase", response_class=FileResponse)
    def erase(
        asking: routes.Asking,
        image: Annotated[UploadFile, File(description="The image.")],
        mask: Annotated[UploadFile, File(description="Of the image's size; white is filled.")],
        model: Annotated[str, Form(json_schema_extra={"enum": models})] = models[0],
        grow: Annotated[Growth | None, Form(description="Pixels.")] = None,
        download_as: Annotated[DownloadAs, Form(description="The image's format, or PNG.")] = "same",
    ) -> FileResponse:
        """Fill the white parts of a mask in an image."""
        folder = service.workspace.new_path()
        paths = folder / safe_name(image.filename or "image"), folder / "mask.upload"
        for file, path in zip((image, mask), paths, strict=True):
            with path.open("wb") as target:
                shutil.copyfileobj(file.file, target)
        path, notes = service.erase_files(*paths, model, asking.visitor, grow=grow, download_as=download_as)
        told = {"X-Inpaint-Notes": "; ".join(notes).encode("ascii", "replace").decode()} if notes else None
        return FileResponse(path, filename=path.name, headers=told)


def _refuse_values(_: Request, error: Exception) -> JSONResponse:
    """Say what was got and what was expected, without repeating a long value."""
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    name = ".".join(map(str, wrong["loc"][1:])) or "the request"  # without the part of the request it is in
    got = repr(wrong["input"])
    got = got if len(got) < 60 else got[:60] + "..."
    told = f"{name}: got {got}; {wrong['msg'][0].lower()}{wrong['msg'][1:]}"
    return JSONResponse({"error": f"{name} is missing" if wrong["type"] == "missing" else told}, 422)


def _answer_with(status: int, told: str = "") -> Any:
    return lambda _, error: JSONResponse({"error": told or str(error)}, status)
