"""Start the page on this machine, with its public endpoint ``erase``: image and mask file in, result out.

The endpoint is there twice: for ``gradio_client`` at ``/erase`` of the Gradio API, and as the form
``POST /api/erase``.
"""

# No `from __future__ import annotations`: Gradio and FastAPI read types that are made here at run time.

import atexit
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import gradio as gr
import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from gradio import FileData
from starlette.concurrency import run_in_threadpool

from inpaint import __version__
from inpaint.errors import InpaintError
from inpaint.web.fills import Fills
from inpaint.web.guard import Guard
from inpaint.web.jobs import Busy
from inpaint.web.masks import MOST_GROWTH
from inpaint.web.photos import Limits, safe_name
from inpaint.web.routes import router
from inpaint.web.service import Service
from inpaint.web.workspace import GoneError, QuotaError

DownloadAs = Literal["same", "png"]
_PARALLEL = 16  # requests that wait inside; the service's own queue orders and bounds them


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

    def __enter__(self) -> "Server":
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


def add_gradio_api(service: Service) -> gr.Blocks:
    """An app of Gradio without widgets, which has the one endpoint."""
    models = _models(service)

    def erase(
        request: gr.Request,
        image: FileData,
        mask: FileData,
        model: Literal[tuple(models)] = models[0],  # type: ignore
        grow: int | None = None,
        download_as: DownloadAs = "same",
    ) -> FileData:
        """Fill the white parts of a mask in an image.

        The mask has the image's size. The result has the image's format, or is a PNG. ``grow`` is in pixels,
        -200 to 200; None grows thick holes by a little, as the command line does.
        """
        visitor = request.client.host if request.client else "?"
        try:
            files = _path(image, "image"), _path(mask, "mask")
            _check(service, model, grow, download_as)
            path, _ = service.erase_files(
                *files, model, grow_by=grow, lossless=download_as == "png", visitor=visitor
            )
        except InpaintError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return FileData(path=str(path), orig_name=path.name)

    keep = service.limits.keep_seconds
    with gr.Blocks(title="Inpaint", analytics_enabled=False, delete_cache=(keep // 4 or 1, keep)) as app:
        endpoint = gr.api  # type: ignore  (documented, but not in __all__)
        endpoint(erase, api_name="erase", concurrency_limit=_PARALLEL)
    app.queue(max_size=service.limits.waiting)
    return app


def add_form_api(app: FastAPI, service: Service) -> None:
    """The same as a form: ``curl -F image=@photo.jpg -F mask=@mask.png``."""
    models = _models(service)

    async def erase(
        request: Request,
        image: Annotated[UploadFile, File(description="The image.")],
        mask: Annotated[UploadFile, File(description="Of the image's size; white is filled.")],
        model: Annotated[str, Form(json_schema_extra={"enum": models})] = models[0],
        grow: Annotated[int | None, Form(ge=-MOST_GROWTH, le=MOST_GROWTH)] = None,
        download_as: Annotated[DownloadAs, Form()] = "same",
    ) -> FileResponse:
        """Fill the white parts of a mask in an image."""
        _check(service, model, grow, download_as)
        folder = service.workspace.new_path()
        files = [(image, folder / safe_name(image.filename or "image")), (mask, folder / "mask.upload")]
        for file, path in files:
            with path.open("wb") as target:
                while part := await file.read(2**20):
                    target.write(part)
        visitor = request.client.host if request.client else "?"
        more = {"grow_by": grow, "lossless": download_as == "png", "visitor": visitor}
        work = partial(service.erase_files, files[0][1], files[1][1], model, **more)
        path, notes = await run_in_threadpool(work)
        told = {"X-Inpaint-Notes": "; ".join(notes).encode("ascii", "replace").decode()} if notes else None
        return FileResponse(path, filename=path.name, headers=told)

    app.post("/api/erase", response_class=FileResponse, name="erase")(erase)


def _models(service: Service) -> list[str]:
    return [choice.key for choice in service.fills.choices() if choice.here]


def _path(file: Any, name: str) -> Path:
    """The uploaded file of a parameter; Gradio has checked that it lies in its folder of uploads."""
    path = file.get("path") if isinstance(file, dict) else None
    if not path:
        raise InpaintError(f"{name} is missing; send a file")
    return Path(path)


def _check(service: Service, model: Any, grow: Any, download_as: Any) -> None:
    """Raise InpaintError where a value, which Gradio passes on as it came, is out of bounds."""
    service.fills.require(str(model))
    if isinstance(grow, bool) or not isinstance(grow, int | None):
        raise InpaintError(f"got grow {grow!r}, expected a whole number of pixels")
    if grow is not None and not -MOST_GROWTH <= grow <= MOST_GROWTH:
        raise InpaintError(f"got grow {grow}, expected {-MOST_GROWTH} to {MOST_GROWTH} pixels")
    if download_as not in get_args(DownloadAs):
        raise InpaintError(
            f"got download_as {download_as!r}, expected one of {', '.join(get_args(DownloadAs))}"
        )
