"""The HTTP interface of the Inspect and Backbones tabs."""

from functools import lru_cache
from typing import Any

import numpy as np
from fastapi import APIRouter
from PIL import Image
from pydantic import Field

from inpaint.backbones import network
from inpaint.backbones.network import LoadedBackbone
from inpaint.backbones.registry import find_backbone
from inpaint.backbones.roadmap import draw_road, walk_road
from inpaint.backbones.speed import measure_speeds
from inpaint.errors import InpaintError
from inpaint.inspect import Hiding, inspect_fill, reconstruct_hidden, require_prior, view_attention
from inpaint.web.jobs import Job
from inpaint.web.masks import Holes, Key, Strict
from inpaint.web.photos import Fill, Photo, preview_size, view
from inpaint.web.routes import Answer, Asking, Pixel, ThePhoto

RATIOS = (0.5, 0.75, 0.9)
_SIDE = 1024
_random_backbone = lru_cache(maxsize=4)(network.random_backbone)
_IMAGES = ("masked", "reconstruction", "original", "with_prior", "without_prior", "difference")

router = APIRouter(prefix="/api", include_in_schema=False)


class InspectRequest(Strict):
    """Which fill to look at, with which model."""

    model: Key
    fill: Key | None = None
    hiding: Hiding = "random"
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


class BackboneRequest(Strict):
    """Which networks to compare."""

    names: list[Key] = Field(min_length=1, max_length=2)


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
def _backbones(photo: ThePhoto, asking: Asking, wanted: BackboneRequest) -> Answer:
    """One or two classification networks on the photo, side by side."""
    service = asking.service

    def work(job: Job) -> Answer:
        image, _ = _small(photo, None)
        columns = []
        for index, backbone in enumerate(map(find_backbone, wanted.names)):
            job.tell(f"Running {backbone.title}", index / len(wanted.names))
            loaded = network.load_backbone(backbone, fetch=service.allow_downloads)
            with service.computing:
                columns.append(_look_at_backbone(photo, image, loaded))
        return {"columns": columns}

    return asking.start(photo.id, work)


@router.get("/roadmap")
def _roadmap(asking: Asking) -> Answer:
    with asking.service.computing:  # every network is built and counted, the first time
        return {"chart": draw_road(walk_road("tiny"), "From ResNet-50 to ConvNeXt-T")}


def _look_at_backbone(photo: Photo, image: Image.Image, loaded: LoadedBackbone) -> dict[str, Any]:
    """What one network sees, and its figures; its channels' distance beside that of random weights."""
    backbone = loaded.backbone
    seen = network.look_at(loaded, image)
    (speed,) = measure_speeds([loaded.network])
    random = network.look_at(_random_backbone(backbone), image).collapse
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
        for stage, distance, of_random in zip(seen.stages, seen.collapse, random, strict=True)
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
