"""The page's own HTTP interface: JSON, except for files and images. Not a public API: see ``server``."""

import asyncio
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from PIL import Image
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from inpaint.backbones import network
from inpaint.backbones.network import LoadedBackbone
from inpaint.backbones.registry import BACKBONES, find_backbone
from inpaint.backbones.roadmap import draw_road, walk_road
from inpaint.backbones.speed import measure_speeds
from inpaint.errors import ImageError, InpaintError
from inpaint.inspect import Hiding, inspect_fill, reconstruct_hidden, require_prior, view_attention
from inpaint.web.jobs import Job, Queue
from inpaint.web.masks import Drawing, Holes, Key, Placing, Strict, mask_image
from inpaint.web.photos import Fill, GoneError, Photo, encode_view, preview_size, safe_name, view
from inpaint.web.select import SELECTOR, Rough, select_object, with_rim
from inpaint.web.service import Service
from inpaint.weights import find_model, find_model_file

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("photo*.jpg"))
_POLL_SECONDS, _POLLS = 0.04, 250
_CACHED = {"Cache-Control": "private, max-age=3600, immutable"}
RATIOS = (0.5, 0.75, 0.9)
_SIDE = 1024
_random_backbone = lru_cache(maxsize=4)(network.random_backbone)
_IMAGES = ("masked", "reconstruction", "original", "with_prior", "without_prior", "difference")

Answer = dict[str, Any]
Work = Callable[[Job], Answer]

router = APIRouter(prefix="/api", include_in_schema=False)


def visitor_of(request: Any) -> str:
    """The address that a request of FastAPI or Gradio comes from."""
    return request.client.host if request.client else "?"


class Caller:
    """The service, and who asks: an address."""

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
Results = Annotated[list[tuple[Key, Key]], Body(embed=True, min_length=1, max_length=1000)]
"""Pairs of a photo and a fill of it."""
Networks = Annotated[list[Key], Body(embed=True, min_length=1, max_length=2)]


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
        "backbones": [{"name": b.name, "title": b.title, "parameters": b.parameters} for b in BACKBONES],
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
    with workspace.new_folder() as folder:
        path = await _receive(request, folder / safe_name(name))
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
    path = await _receive(request, photo.folder / ".mask")
    return await run_in_threadpool(photo.add_mask, path)


@router.get("/photos/{photo}/masks/{key}")
def _view_mask(photo: ThePhoto, key: str) -> Response:
    """A mask at the preview's size: white, with the share of hole as alpha."""
    alpha = mask_image(photo.layer(key)).resize((photo.preview[1], photo.preview[0]), Image.Resampling.BOX)
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
def _zip(asking: Asking, results: Results) -> Answer:
    """Results of several photos, those of one name numbered, in one file; gives its path on this server."""
    workspace, taken = asking.service.workspace, Counter[str]()
    first = workspace.find(results[0][0])
    key_of_zip, path = first.new_file(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:  # they are compressed already
        for photo, key in results:
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
        found = select_object(pixels, rough, find_model_file(find_model(SELECTOR)))
        return {"id": photo.add_layer(with_rim(found))}

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


# -- the Inspect and Backbones tabs -------------------------------------------------------------------


@router.post("/photos/{photo}/inspect")
def _inspect(photo: ThePhoto, asking: Asking, wanted: InspectRequest) -> Answer:
    """Run one fill again with and without the prior of a model, on the whole photo made small."""
    if wanted.fill is None:
        raise InpaintError("erase something first, then inspect that result")
    service, fill = asking.service, photo.fill(wanted.fill)

    def work(job: Job) -> Answer:
        pipeline = service.fills.pipeline(wanted.model)
        image, hole = _small(photo, fill)
        with service.computing:
            job.tell("Looking at the fill")
            found = photo.inspection = inspect_fill(pipeline.model, image, hole, pipeline.device)
        return {
            "images": {name: photo.add_image(getattr(found, name)) for name in _IMAGES},
            "width": found.masked.width,
            "height": found.masked.height,
            "difference_scale": round(found.difference_scale, 1),
            "mean_difference": round(found.mean_difference, 1),
            "layers": 0 if found.attention is None else len(found.attention),
            "similarity": found.is_similarity,
            "gates": {name: round(value, 3) for name, value in found.gates.items()},
            "tokens": found.hole_tokens.size,
        }

    return asking.start(photo.id, work)


@router.get("/photos/{photo}/attention")
def _attention(photo: ThePhoto, x: Pixel, y: Pixel, layer: int | None = None) -> Answer:
    """Where a point of the last inspection attends."""
    if photo.inspection is None:
        raise InpaintError("inspect a result first")
    seen = view_attention(photo.inspection, x, y, layer)
    return {**seen._asdict(), "image": photo.add_image(seen.image)}


@router.post("/photos/{photo}/patches")
def _patches(photo: ThePhoto, asking: Asking, wanted: InspectRequest) -> Answer:
    """The masked autoencoder of a model on the photo, at three ratios, or on the holes of a fill."""
    service, fill = asking.service, photo.fill(wanted.fill) if wanted.fill else None

    def work(_: Job) -> Answer:
        pipeline = service.fills.pipeline(wanted.model)
        prior = require_prior(pipeline.model)
        image, hole = _small(photo, fill)
        options = {"hiding": wanted.hiding, "seed": wanted.seed}
        rows = []
        for ratio in RATIOS if wanted.hiding != "hole" else (1.0,):
            with service.computing:
                shown = reconstruct_hidden(prior, image, hole, pipeline.device, ratio=ratio, **options)
            rows.append({"ratio": ratio, "images": [photo.add_image(part) for part in shown]})
        return {"rows": rows}

    return asking.start(photo.id, work)


@router.post("/photos/{photo}/backbones")
def _backbones(photo: ThePhoto, asking: Asking, names: Networks) -> Answer:
    """One or two classification networks on the photo, side by side."""
    service = asking.service

    def work(job: Job) -> Answer:
        image, _ = _small(photo, None)
        columns = []
        for index, backbone in enumerate(map(find_backbone, names)):
            job.tell(f"Running {backbone.title}", index / len(names))
            loaded = network.load_backbone(backbone, fetch=service.allow_downloads)
            with service.computing:
                columns.append(_describe_backbone(photo, image, loaded))
        return {"columns": columns}

    return asking.start(photo.id, work)


@router.get("/roadmap")
def _roadmap(asking: Asking) -> Answer:
    with asking.service.computing:  # every network is built and counted, the first time
        return {"chart": draw_road(walk_road("tiny"), "From ResNet-50 to ConvNeXt-T")}


def _describe_backbone(photo: Photo, image: Image.Image, loaded: LoadedBackbone) -> dict[str, Any]:
    """What one network sees, and its figures; its channels' distance beside that of random weights."""
    backbone = loaded.backbone
    seen = network.run_backbone(loaded, image)
    (speed,) = measure_speeds([loaded.network])
    random = network.run_backbone(_random_backbone(backbone), image).stages
    parameters, gigamacs = network.count_backbone(backbone)
    facts = {
        "Parameters": f"{parameters:.1f} M",
        "MACs at 224 x 224": f"{gigamacs:.2f} G",
        "Measured here, one photo at a time": f"{speed.images_per_second:.1f} images/s",
        "Published ImageNet top-1": f"{backbone.accuracy} % ({backbone.source})",
        "Licence of the weights": backbone.licence,
    }
    stages = [
        {
            "image": photo.add_image(network.feature_sheet(stage)),
            "shape": list(stage.shape),
            "distance": distance,
            "random_distance": of_random,
        }
        for (stage, distance), (_, of_random) in zip(seen.stages, random, strict=True)
    ]
    told = {"title": backbone.title, "weights": loaded.weights, "missing": loaded.missing}
    return {**told, "guesses": seen.guesses, "stages": stages, "facts": facts}


def _small(photo: Photo, fill: Fill | None) -> tuple[Image.Image, Holes]:
    """The photo as it was before a fill, and the holes of that fill, at most ``_SIDE`` large."""
    size = preview_size(photo.height, photo.width, _SIDE)
    image = view(photo.render(fill and fill.parent), (0, 0, photo.height, photo.width), size)
    hole = np.zeros((photo.height, photo.width), np.uint8)
    if fill is not None:
        top, left, bottom, right = fill.box
        hole[top:bottom, left:right] = 255 * photo.patch(fill)[1]
    return image, np.asarray(Image.fromarray(hole).resize((size[1], size[0]), Image.Resampling.BOX)) > 0
