"""The public endpoint ``erase``: an image file and a mask file in, the result file out.

The same function twice: for ``gradio_client`` at ``/erase`` of the Gradio API, and as ``POST /api/erase``
for programs that send forms.
"""

# No `from __future__ import annotations`: Gradio and FastAPI read types that are made here at run time.
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import gradio as gr
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.responses import FileResponse
from gradio import FileData
from starlette.concurrency import run_in_threadpool

from inpaint.errors import InpaintError
from inpaint.web.masks import MOST_GROWTH
from inpaint.web.photos import safe_name
from inpaint.web.service import Service

DownloadAs = Literal["same", "png"]
_PARALLEL = 16  # requests that wait inside; the service's own queue orders and bounds them


def add_gradio_api(service: Service) -> gr.Blocks:
    """An app of Gradio without widgets, which has the one endpoint."""
    models = _models(service)

    def erase(
        request: gr.Request,
        image: FileData,
        mask: FileData,
        model: Literal[tuple(models)] = models[0],  # type: ignore
        grow: int = 0,
        download_as: DownloadAs = "same",
    ) -> FileData:
        """Fill the white parts of a mask in an image.

        The mask has the image's size. The result has the image's format, or is a PNG. ``grow`` is in pixels,
        -200 to 200.
        """
        visitor = request.client.host if request.client else "?"
        try:
            files = _path(image, "image"), _path(mask, "mask")
            _check(service, model, grow, download_as)
            path = service.erase_files(
                *files, model, grow_by=int(grow), lossless=download_as == "png", visitor=visitor
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
        grow: Annotated[int, Form(ge=-MOST_GROWTH, le=MOST_GROWTH)] = 0,
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
        path = await run_in_threadpool(
            service.erase_files,
            files[0][1],
            files[1][1],
            model,
            grow_by=int(grow),
            lossless=download_as == "png",
            visitor=visitor,
        )
        return FileResponse(path, filename=path.name)

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
    """Check what Gradio passes on as it came.

    Raises:
        InpaintError: a value is outside its bounds.
    """
    service.fills.require(str(model))
    if isinstance(grow, bool) or not isinstance(grow, int | float) or grow != int(grow):
        raise InpaintError(f"got grow {grow!r}, expected a whole number of pixels")
    if not -MOST_GROWTH <= grow <= MOST_GROWTH:
        raise InpaintError(f"got grow {grow}, expected {-MOST_GROWTH} to {MOST_GROWTH} pixels")
    if download_as not in get_args(DownloadAs):
        raise InpaintError(
            f"got download_as {download_as!r}, expected one of {', '.join(get_args(DownloadAs))}"
        )
