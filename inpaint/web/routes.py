"""The page's own HTTP interface: JSON, except for files and images. Not a public API: see ``server``."""

import asyncio
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from PIL import Image
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from inpaint.backbones.registry import BACKBONES
from inpaint.errors import ImageError, InpaintError
from inpaint.web.jobs import Job, Queue
from inpaint.web.masks import Drawing, Key, Placing, Strict, mask_image
from inpaint.web.photos import GoneError, Photo, encode_view, preview_size, safe_name, view
from inpaint.web.select import SELECTOR, Rough, select_object
from inpaint.web.service import Service
from inpaint.weights import find_model, find_model_file

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("photo*.jpg"))
_POLL_SECONDS, _POLLS = 0.04, 250
_CACHED = {"Cache-Control": "private, max-age=3600, immutable"}

Answer = dict[str, Any]
Work = Callable[[Job], Answer]

router = APIRouter(prefix="/api", include_in_schema=False)


def visitor_of(request: Any) -> str:
    """Whose request it is: an address."""
    return request.client.host if request.client else "?"


class Caller:
    """The service, and who asks."""

    def __init__(self, request: Request) -> None:
        self.service: Service = request.app.state.service
        self.visitor = visitor_of(request)

    def start(self, owner: str, work: Work, queue: Queue = "fill") -> Answer:
        """Queue work, and describe its job."""
        jobs = self.service.jobs
        return jobs.describe(jobs.submit(owner, self.visitor, work, queue))


Asking = Annotated[Caller, Depends(Caller)]
Name = Annotated[str, Query(max_length=300)]
Side = Annotated[int, Query(ge=1, le=4096)]
Pixel = Annotated[int, Query(ge=0, le=1_000_000)]


def _find_photo(photo: str, asking: Asking) -> Photo:
    return asking.service.workspace.find(photo)


ThePhoto = Annotated[Photo, Depends(_find_photo)]


class FillRequest(Strict):
    """What to fill, with which model, on which earlier fill."""

    drawing: Drawing
    model: Key
    parent: Key | None = None


class BatchRequest(Strict):
    """Photos to fill at one place, which was drawn on one of them."""

    photos: list[Key] = Field(min_length=1, max_length=1000)
    drawing: Drawing
    drawn_on: Key
    placing: Placing = "scale"
    model: Key


class ZipRequest(Strict):
    """Results to pack: pairs of a photo and a fill of it."""

    results: list[tuple[Key, Key]] = Field(min_length=1, max_length=1000)


async def _receive(request: Request, path: Path) -> Path:
    """Write the request's body to a file; the guard has checked its length."""
    with path.open("wb") as file:
        async for part in request.stream():
            await run_in_threadpool(file.write, part)
    return path


@router.get("/settings")
def _settings(asking: Asking) -> Answer:
    service = asking.service
    return {
        **service.fills.describe(),
        "allow_downloads": service.allow_downloads,
        "examples": len(EXAMPLES),
        "megabytes": service.limits.file_bytes // 2**20,
        "megapixels": service.limits.pixels // 1_000_000,
        "keep_minutes": service.limits.keep_seconds // 60,
        "backbones": [
            {"name": one.name, "title": one.title, "parameters": one.parameters} for one in BACKBONES
        ],
    }


@router.get("/examples/{number}")
def _example(number: int) -> FileResponse:
    if not 0 <= number < len(EXAMPLES):
        raise GoneError("there is no such example")
    return FileResponse(EXAMPLES[number])


# -- photos and their masks --------------------------------------------------------------------------


@router.post("/photos")
async def _open_photo(request: Request, asking: Asking, name: Name = "photo") -> Answer:
    workspace = asking.service.workspace
    path = await _receive(request, workspace.new_path() / safe_name(name))
    return (await run_in_threadpool(workspace.add, path)).describe()


@router.get("/photos/{photo}")
def _photo(photo: ThePhoto, asking: Asking) -> Answer:
    job = asking.service.jobs.of(photo.id)
    return photo.describe(job and job.id)


@router.get("/photos/{photo}/view")
def _view(
    photo: ThePhoto, left: Pixel, top: Pixel, right: Pixel, bottom: Pixel, width: Side, height: Side,
    fill: str | None = None,
) -> Response:  # fmt: skip
    if not (left < right <= photo.width and top < bottom <= photo.height):
        raise ImageError("the part lies outside the photo")
    content, kind = encode_view(view(photo.render(fill), (top, left, bottom, right), (height, width)))
    return Response(content, media_type=kind, headers=_CACHED)


@router.get("/photos/{photo}/files/{key}")
def _file(photo: ThePhoto, key: str) -> FileResponse:
    if key not in photo.files:
        raise GoneError("this file is no longer on the server")
    return FileResponse(photo.files[key], headers=_CACHED)


@router.get("/photos/{photo}/download")
def _download(photo: ThePhoto, fill: str | None = None, lossless: bool = False) -> FileResponse:
    path, _ = photo.download(fill, lossless=lossless)
    return FileResponse(path, filename=path.name)


@router.post("/photos/{photo}/download")
def _prepare_download(photo: ThePhoto, fill: str | None = None, lossless: bool = False) -> Answer:
    """Make the file, which takes seconds for a large PNG, and say what could not be kept."""
    return {"notes": photo.download(fill, lossless=lossless)[1]}


@router.post("/photos/{photo}/masks")
async def _upload_mask(request: Request, photo: ThePhoto) -> Answer:
    path = await _receive(request, photo.folder / "mask-upload")
    return await run_in_threadpool(photo.add_mask, path)


@router.get("/photos/{photo}/masks/{key}")
def _view_mask(photo: ThePhoto, key: str) -> Response:
    """A mask at the preview's size: white, with the share of hole as alpha."""
    height, width = preview_size(photo.height, photo.width)
    alpha = mask_image(photo.layer(key)).resize((width, height), Image.Resampling.BOX)
    white = Image.new("RGBA", alpha.size, "white")
    white.putalpha(alpha)
    return Response(encode_view(white)[0], media_type="image/png", headers=_CACHED)


@router.post("/photos/{photo}/mask")
def _save_mask(photo: ThePhoto, drawing: Drawing) -> Response:
    buffer = io.BytesIO()
    mask_image(photo.holes(drawing)).save(buffer, "PNG", compress_level=3)
    return Response(buffer.getvalue(), media_type="image/png")


@router.delete("/photos/{photo}/fills/{key}")
def _forget_fill(photo: ThePhoto, key: str) -> Answer:
    photo.forget(key)
    return photo.describe()


@router.post("/zip")
def _zip(asking: Asking, wanted: ZipRequest) -> Answer:
    """Results of several photos, those of one name numbered, in one file; gives its path on this server."""
    workspace, taken = asking.service.workspace, Counter[str]()
    first = workspace.find(wanted.results[0][0])
    key_of_zip, path = first.new_file(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:  # they are compressed already
        for photo, key in wanted.results:
            file, _ = workspace.find(photo).download(key, lossless=False)
            taken[file.name] += 1
            number = taken[file.name]
            packed.write(file, file.name if number == 1 else f"{file.stem}-{number}{file.suffix}")
    return {"path": f"api/photos/{first.id}/files/{key_of_zip}"}


# -- work: each answers with a job -------------------------------------------------------------------


@router.post("/photos/{photo}/select")
def _select(photo: ThePhoto, asking: Asking, rough: Rough, fill: str | None = None) -> Answer:
    def work(_: Job) -> Answer:
        size = (photo.height, photo.width)
        pixels = np.asarray(view(photo.render(fill), (0, 0, *size), size).convert("RGB"))
        return {"id": photo.add_layer(select_object(pixels, rough, find_model_file(find_model(SELECTOR))))}

    return asking.start(photo.id, work)


@router.post("/photos/{photo}/fills")
def _fill(photo: ThePhoto, asking: Asking, wanted: FillRequest) -> Answer:
    service = asking.service
    service.fills.require(wanted.model)
    photo.chain(wanted.parent)

    def work(job: Job) -> Answer:
        holes = photo.holes(wanted.drawing)
        return service.fill(photo, holes, wanted.model, wanted.parent, job)

    return asking.start(photo.id, work)


@router.post("/batches")
def _fill_all(asking: Asking, wanted: BatchRequest) -> Answer:
    service = asking.service
    service.fills.require(wanted.model)
    drawn_on = service.workspace.find(wanted.drawn_on)

    def work(job: Job) -> Answer:
        return service.fill_all(wanted.photos, wanted.drawing, drawn_on, wanted.placing, wanted.model, job)

    return asking.start(f"batch of {drawn_on.id}", work, "batch")


@router.post("/models/{key}/fetch")
def _fetch_model(key: str, asking: Asking) -> Answer:
    service = asking.service
    if not service.allow_downloads:
        raise InpaintError("this server does not fetch models; its owner can start it with --allow-downloads")

    def work(job: Job) -> Answer:
        service.fills.fetch(key, job)
        return service.fills.describe()

    return asking.start(f"model {key}", work, "fetch")


@router.get("/jobs/{key}")
async def _follow_job(key: str, asking: Asking, after: int = -1) -> Answer:
    """A job as it is; waits some seconds for a change since version ``after``."""
    job = asking.service.jobs.find(key)
    for _ in range(_POLLS):
        if job.version != after or not job.open:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return asking.service.jobs.describe(job)


@router.delete("/jobs/{key}")
def _cancel_job(key: str, asking: Asking) -> Answer:
    job = asking.service.jobs.find(key)
    job.cancelled = True
    return asking.service.jobs.describe(job)
