"""Start the page on this machine, with its public endpoint ``erase``: image and mask file in, result out.

The endpoint is there twice: for ``gradio_client`` at ``/erase`` of the Gradio API, and as the form
``POST /api/erase``.
"""

# No `from __future__ import annotations`: Gradio and FastAPI read types that are made here at run time.

import atexit
import os
import shutil
import signal
import socket
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
import uvicorn
from fastapi import APIRouter, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from gradio import FileData
from pydantic import ValidationError
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from inpaint import __version__
from inpaint.errors import InpaintError
from inpaint.web import routes
from inpaint.web.fills import Fills
from inpaint.web.guard import Guard
from inpaint.web.jobs import tell
from inpaint.web.masks import Growth
from inpaint.web.photos import GoneError, Limits, QuotaError, safe_name
from inpaint.web.service import DownloadAs, Service

_PARALLEL = 16  # requests that wait inside; the service's own queue orders and bounds them


class Server(uvicorn.Server):
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
        super().__init__(config)

    def run(self, sockets: Any = None) -> None:
        """Serve until SIGINT, SIGTERM or ``should_exit``, then delete all that visitors left."""
        try:
            super().run(sockets or [self._socket])
        finally:
            self.service.close()

    async def shutdown(self, sockets: Any = None) -> None:
        """End the fills first: the requests that are waited for wait for them."""
        self.service.jobs.close()
        await super().shutdown(sockets)


def build_app(service: Service, *, hosts: tuple[str, ...] = (), login: tuple[str, str] | None = None) -> Any:
    """The whole application: page, API, and the guard before both."""
    app = FastAPI(title="Inpaint", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    statuses = {GoneError: 410, QuotaError: 429, InpaintError: 400, ClientDisconnect: 400, Exception: 500}
    for kind, status in {**statuses, HTTPException: 0}.items():  # which has a status of its own
        app.add_exception_handler(kind, _answer_with(status))
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.include_router(routes.router)
    models = [choice.key for choice in service.fills.choices() if choice.here]
    add_form_api(app, service, models)
    app.mount("/api", APIRouter())  # what else begins so is not found; no question for Gradio
    static = resources.files("inpaint.web").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(str(static.joinpath("index.html")), headers={"Cache-Control": "no-cache"})

    os.environ["GRADIO_TEMP_DIR"] = str(service.workspace.uploads)  # so that the timer finds what it stores
    app = gr.mount_gradio_app(
        app, build_gradio_api(service, models), path="/", footer_links=[], run_history=False, ssr_mode=False,
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


def build_gradio_api(service: Service, models: list[str]) -> gr.Blocks:
    """An app of Gradio without widgets, which has the one endpoint."""

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
        try:
            # Values and files come as they were sent; Gradio has checked that files lie in its folder.
            image, mask = map(FileData.model_validate, (image, mask))
            more = {"grow": grow, "download_as": download_as, "visitor": routes.visitor_of(request)}
            with service.workspace.new_folder() as folder:
                path, _ = service.erase_files(Path(image.path), Path(mask.path), model, folder, **more)
        except ValidationError as error:
            raise gr.Error(tell_bounds(error.errors()[0]), print_exception=False) from error
        except InpaintError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return FileData(path=str(path), orig_name=path.name)

    keep = service.limits.keep_seconds
    with gr.Blocks(title="Inpaint", analytics_enabled=False, delete_cache=(keep // 4 or 1, keep)) as app:
        endpoint = gr.api  # type: ignore  (documented, but not in __all__)
        endpoint(erase, api_name="erase", concurrency_limit=_PARALLEL)
    app.queue(max_size=service.limits.waiting)
    return app


def add_form_api(app: FastAPI, service: Service, models: list[str]) -> None:
    """The same as a form: ``curl -F image=@photo.jpg -F mask=@mask.png``."""

    @app.post("/api/erase", response_class=FileResponse)
    def erase(
        asking: routes.Asking,
        image: Annotated[UploadFile, File(description="The image.")],
        mask: Annotated[UploadFile, File(description="Of the image's size; white is filled.")],
        model: Annotated[str, Form(json_schema_extra={"enum": models})] = models[0],
        grow: Annotated[Growth | None, Form()] = None,
        download_as: Annotated[DownloadAs, Form()] = "same",
    ) -> FileResponse:
        """Fill the white parts of a mask in an image."""
        how = {"grow": grow, "download_as": download_as, "visitor": asking.visitor}
        with service.workspace.new_folder() as folder:
            paths = folder / safe_name(image.filename or "image"), folder / ".mask"
            for file, path in zip((image, mask), paths, strict=True):
                with path.open("wb") as target:
                    shutil.copyfileobj(file.file, target)
            path, notes = service.erase_files(*paths, model, folder, **how)
        told = {"X-Inpaint-Notes": "; ".join(notes).encode("ascii", "replace").decode()} if notes else None
        once_sent = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
        return FileResponse(path, filename=path.name, headers=told, background=once_sent)


def tell_bounds(wrong: Any) -> str:
    """What was got and what was expected, of an error of pydantic's, without repeating a long value."""
    name = ".".join(map(str, wrong["loc"])) or "the request"
    if wrong["type"] == "missing":
        return f"{name} is missing"
    if wrong["type"] == "json_invalid":
        return f"the request is not JSON: {wrong['ctx']['error'][0].lower()}{wrong['ctx']['error'][1:]}"
    got = repr(wrong["input"])
    got = got if len(got) < 60 else got[:60] + "..."
    if "UploadFile" in wrong["msg"]:
        return f"{name}: got {got}, expected a file; with curl: -F {name}=@FILE"
    return f"{name}: got {got}; {wrong['msg'][0].lower()}{wrong['msg'][1:]}"


def _refuse_values(_: Request, error: Any) -> JSONResponse:
    told = tell_bounds((first := error.errors()[0]) | {"loc": first["loc"][1:]})  # loc[0] is "body" or so
    return JSONResponse({"error": told}, 422)


def _answer_with(status: int) -> Any:
    return lambda _, error: JSONResponse({"error": tell(error)}, getattr(error, "status_code", status))
