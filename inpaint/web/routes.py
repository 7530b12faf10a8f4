"""The page's own HTTP interface: JSON, except for files and images. Not a public API: see ``server``."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from PIL import Image
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from inpaint import __version__
from inpaint.errors import ImageError, InpaintError
from inpaint.inspect import Hiding
from inpaint.web import views
from inpaint.web.jobs import Job, Queue
from inpaint.web.masks import MOST_GROWTH, Drawing, Key, Placing, Strict, mask_image
from inpaint.web.photos import encode_view, preview_size, safe_name
from inpaint.web.select import Rough
from inpaint.web.service import Service, describe_photo
from inpaint.web.workspace import GoneError, Photo

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("photo*.jpg"))
_POLL_SECONDS, _POLLS = 0.04, 250
_CACHED = {"Cache-Control": "private, max-age=3600, immutable"}

Answer = dict[str, Any]
Work = Callable[[Job], Answer]

router = APIRouter(prefix="/api", include_in_schema=False)


class Caller:
    """The service, and who asks."""

    def __init__(self, request: Request) -> None:
        self.service: Service = request.app.state.service
        self.visitor = request.client.host if request.client else "?"

    def start(self, owner: str, work: Work, queue: Queue = "fill") -> Answer:
        """Queue work, and describe its job."""
        job = self.service.jobs.submit(owner, self.visitor, work, queue)
        return self.describe(job)

    def describe(self, job: Job) -> Answer:
        """What the browser knows of a job."""
        names = ("id", "state", "note", "warning", "fraction", "version", "outcome", "error")
        ahead = self.service.jobs.ahead(job) if job.state == "waiting" else 0
        return {**{name: getattr(job, name) for name in names}, "ahead": ahead}

    def job(self, key: str) -> Job:
        """A job by its id."""
        job = self.service.jobs.find(key)
        if job is None:
            raise GoneError("this request is no longer known")
        return job


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


class InspectRequest(Strict):
    """Which fill to look at, with which model."""

    model: Key
    fill: Key | None = None
    hiding: Hiding = "random"
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


class BackboneRequest(Strict):
    """Which networks to compare."""

    names: list[Key] = Field(min_length=1, max_length=2)


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
        "version": __version__,
        "device": str(service.fills.device),
        **service.fills.describe(),
        "allow_downloads": service.allow_downloads,
        "examples": len(EXAMPLES),
        "most_growth": MOST_GROWTH,
        "megabytes": service.limits.file_bytes // 2**20,
        "megapixels": service.limits.pixels // 1_000_000,
        "keep_minutes": service.limits.keep_seconds // 60,
        "backbones": views.list_backbones(),
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
    folder = workspace.new_path()
    path = await _receive(request, folder / safe_name(name))
    return describe_photo(await run_in_threadpool(workspace.add, folder, path, name))


@router.get("/photos/{photo}")
def _photo(photo: ThePhoto, asking: Asking) -> Answer:
    return describe_photo(photo, asking.service.jobs.of(photo.id))


@router.get("/photos/{photo}/view")
def _view(
    photo: ThePhoto, asking: Asking, left: Pixel, top: Pixel, right: Pixel, bottom: Pixel,
    width: Side, height: Side, fill: str | None = None,
) -> Response:  # fmt: skip
    if not (left < right <= photo.width and top < bottom <= photo.height):
        raise ImageError("the part lies outside the photo")
    shown = asking.service.view(photo, fill, (top, left, bottom, right), (height, width))
    content, kind = encode_view(shown)
    return Response(content, media_type=kind, headers=_CACHED)


@router.get("/photos/{photo}/files/{key}")
def _file(photo: ThePhoto, key: str) -> FileResponse:
    if key not in photo.files:
        raise GoneError("this file is no longer on the server")
    return FileResponse(photo.files[key], headers=_CACHED)


@router.get("/photos/{photo}/download")
def _download(
    photo: ThePhoto, asking: Asking, fill: str | None = None, lossless: bool = False
) -> FileResponse:
    path, _ = asking.service.download(photo, fill, lossless=lossless)
    return FileResponse(path, filename=path.name)


@router.post("/photos/{photo}/download")
def _prepare_download(
    photo: ThePhoto, asking: Asking, fill: str | None = None, lossless: bool = False
) -> dict[str, list[str]]:
    """Make the file, which takes seconds for a large PNG, and say what could not be kept."""
    return {"notes": asking.service.download(photo, fill, lossless=lossless)[1]}


@router.post("/photos/{photo}/masks")
async def _upload_mask(request: Request, photo: ThePhoto, asking: Asking) -> dict[str, str]:
    path = await _receive(request, photo.folder / "mask-upload")
    return await run_in_threadpool(asking.service.add_mask, photo, path)


@router.get("/photos/{photo}/masks/{key}")
def _view_mask(photo: ThePhoto, asking: Asking, key: str) -> Response:
    """A mask at the preview's size: white, with the share of hole as alpha."""
    height, width = preview_size(photo.height, photo.width)
    layer = asking.service.workspace.layer(photo, key)
    alpha = mask_image(layer).resize((width, height), Image.Resampling.BOX)
    white = Image.new("RGBA", alpha.size, "white")
    white.putalpha(alpha)
    return Response(encode_view(white)[0], media_type="image/png", headers=_CACHED)


@router.post("/photos/{photo}/mask")
def _save_mask(photo: ThePhoto, asking: Asking, drawing: Drawing) -> Response:
    buffer = io.BytesIO()
    mask_image(asking.service.holes(photo, drawing)).save(buffer, "PNG", compress_level=3)
    return Response(buffer.getvalue(), media_type="image/png")


# -- work: each answers with a job -------------------------------------------------------------------


@router.post("/photos/{photo}/select")
def _select(photo: ThePhoto, asking: Asking, rough: Rough, fill: str | None = None) -> Answer:
    return asking.start(photo.id, lambda _: {"id": asking.service.select(photo, rough, fill)})


@router.post("/photos/{photo}/fills")
def _fill(photo: ThePhoto, asking: Asking, wanted: FillRequest) -> Answer:
    service = asking.service
    service.fills.require(wanted.model)
    photo.chain(wanted.parent)

    def work(job: Job) -> Answer:
        holes = service.holes(photo, wanted.drawing)
        return service.fill(photo, holes, wanted.model, wanted.parent, asking.visitor, job)

    return asking.start(photo.id, work)


@router.post("/batches")
def _fill_all(asking: Asking, wanted: BatchRequest) -> Answer:
    service = asking.service
    service.fills.require(wanted.model)
    drawn_on = service.workspace.find(wanted.drawn_on)

    def work(job: Job) -> Answer:
        more = {"model": wanted.model, "visitor": asking.visitor, "job": job}
        return service.fill_all(wanted.photos, wanted.drawing, drawn_on, wanted.placing, **more)

    return asking.start(f"batch of {drawn_on.id}", work, "batch")


@router.delete("/photos/{photo}/fills/{key}")
def _forget_fill(photo: ThePhoto, asking: Asking, key: str) -> Answer:
    asking.service.workspace.forget(photo, key)
    return describe_photo(photo)


@router.post("/photos/{photo}/inspect")
def _inspect(photo: ThePhoto, asking: Asking, wanted: InspectRequest) -> Answer:
    if wanted.fill is None:
        raise InpaintError("erase something first, then inspect that result")
    step = photo.fill(wanted.fill)
    return asking.start(
        photo.id, lambda job: views.inspect_photo(asking.service, photo, step, wanted.model, job)
    )


@router.get("/photos/{photo}/attention")
def _attention(photo: ThePhoto, asking: Asking, x: Pixel, y: Pixel, layer: int | None = None) -> Answer:
    return views.see_attention(asking.service, photo, x, y, layer)


@router.post("/photos/{photo}/patches")
def _patches(photo: ThePhoto, asking: Asking, wanted: InspectRequest) -> Answer:
    step = photo.fill(wanted.fill) if wanted.fill else None
    options = {"hiding": wanted.hiding, "seed": wanted.seed}
    return asking.start(
        photo.id, lambda _: views.hide_patches(asking.service, photo, step, wanted.model, **options)
    )


@router.post("/photos/{photo}/backbones")
def _backbones(photo: ThePhoto, asking: Asking, wanted: BackboneRequest) -> Answer:
    return asking.start(
        photo.id, lambda job: views.compare_backbones(asking.service, photo, wanted.names, job)
    )


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
    job = asking.job(key)
    for _ in range(_POLLS):
        if job.version != after or not job.open:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return asking.describe(job)


@router.delete("/jobs/{key}")
def _cancel_job(key: str, asking: Asking) -> Answer:
    job = asking.job(key)
    job.cancel()
    return asking.describe(job)


@router.get("/roadmap")
def _roadmap(asking: Asking) -> dict[str, str]:
    with asking.service.computing:
        return {"chart": views.draw_roadmap()}


@router.post("/zip")
def _zip(asking: Asking, wanted: ZipRequest) -> dict[str, str]:
    """Results of several photos, those of one name numbered, in one file; gives its path on this server."""
    workspace, taken = asking.service.workspace, Counter[str]()
    first = workspace.find(wanted.results[0][0])
    key_of_zip, path = workspace.new_file(first, ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:  # they are compressed already
        for photo, key in wanted.results:
            file, _ = asking.service.download(workspace.find(photo), key, lossless=False)
            taken[file.name] += 1
            number = taken[file.name]
            packed.write(file, file.name if number == 1 else f"{file.stem}-{number}{file.suffix}")
    return {"path": f"api/photos/{first.id}/files/{key_of_zip}"}
