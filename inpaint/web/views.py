"""What the Inspect and Backbones tabs show, as JSON with ids of images."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from inpaint.backbones.network import (
    LoadedBackbone,
    build_network,
    channel_distance,
    count_backbone,
    feature_sheet,
    load_backbone,
    look_at,
)
from inpaint.backbones.registry import BACKBONES, find_backbone
from inpaint.backbones.roadmap import walk_road
from inpaint.backbones.roadmap_chart import draw_road
from inpaint.backbones.speed import measure_speeds
from inpaint.errors import InpaintError
from inpaint.inspect import Hiding, inspect_fill, reconstruct_hidden, require_autoencoder, view_attention
from inpaint.models.patch_autoencoder import IMAGENET_MEAN, IMAGENET_STD
from inpaint.web.jobs import Job
from inpaint.web.masks import Holes
from inpaint.web.photos import preview_size
from inpaint.web.service import Service
from inpaint.web.workspace import Fill, Photo

RATIOS = (0.5, 0.75, 0.9)
_SIDE = 1024
_IMAGES = ("masked", "reconstruction", "original", "with_prior", "without_prior", "difference")


def inspect_photo(service: Service, photo: Photo, fill: Fill, model: str, job: Job) -> dict[str, Any]:
    """Run one fill again with and without the prior of a model, on the whole photo made small."""
    pipeline = service.fills.pipeline(model)
    image, hole = _small(service, photo, fill)
    with service.computing:
        job.tell("Looking at the fill")
        found = photo.inspection = inspect_fill(pipeline.model, image, hole, pipeline.device)
    return {
        "images": {name: service.workspace.add_image(photo, getattr(found, name)) for name in _IMAGES},
        "width": found.masked.width,
        "height": found.masked.height,
        "difference_scale": round(found.difference_scale, 1),
        "mean_difference": round(found.mean_difference, 1),
        "layers": 0 if found.attention is None else len(found.attention),
        "similarity": found.is_similarity,
        "gates": {name: round(value, 3) for name, value in found.gates.items()},
        "tokens": found.grid[0] * found.grid[1],
    }


def see_attention(service: Service, photo: Photo, x: int, y: int, layer: int | None) -> dict[str, Any]:
    """Where a point of the last inspection attends."""
    if photo.inspection is None:
        raise InpaintError("inspect a result first")
    seen = view_attention(photo.inspection, x, y, layer)
    return {**seen._asdict(), "image": service.workspace.add_image(photo, seen.image)}


def hide_patches(
    service: Service, photo: Photo, fill: Fill | None, model: str, *, hiding: Hiding, seed: int
) -> dict[str, Any]:
    """The masked autoencoder of a model on the photo, at three ratios, or on the holes of a fill."""
    pipeline = service.fills.pipeline(model)
    prior = require_autoencoder(pipeline.model)
    image, hole = _small(service, photo, fill)
    rows = []
    for ratio in RATIOS if hiding != "hole" else (1.0,):
        with service.computing:
            shown = reconstruct_hidden(
                prior, image, hole, pipeline.device, hiding=hiding, ratio=ratio, seed=seed
            )
        rows.append({"ratio": ratio, "images": [service.workspace.add_image(photo, part) for part in shown]})
    return {"rows": rows}


def list_backbones() -> list[dict[str, Any]]:
    """The registry, for the lists of the page."""
    return [{"name": one.name, "title": one.title, "parameters": one.parameters} for one in BACKBONES]


def compare_backbones(service: Service, photo: Photo, names: list[str], job: Job) -> dict[str, Any]:
    """One or two classification networks on the photo, side by side."""
    image, _ = _small(service, photo, None)
    columns = []
    for index, backbone in enumerate(map(find_backbone, names)):
        job.tell(f"Running {backbone.title}", index / len(names))
        loaded = load_backbone(backbone, fetch=service.allow_downloads)
        with service.computing:
            seen = look_at(loaded, image)
            (speed,) = measure_speeds([loaded.network])
            random = look_at(_random_backbone(backbone.name), image).collapse
        parameters, gigamacs = count_backbone(backbone)
        facts = {
            "Parameters": f"{parameters:.1f} M",
            "MACs at 224 x 224": f"{gigamacs:.2f} G",
            "Measured here, one photo at a time": f"{speed.median:.1f} images/s",
            "Published ImageNet top-1": f"{backbone.accuracy} % ({backbone.source})",
            "Licence of the weights": backbone.licence,
        }
        stages = [
            {
                "image": service.workspace.add_image(photo, feature_sheet(stage)),
                "shape": list(stage.shape),
                "distance": channel_distance(stage),
                "random_distance": of_random,
            }
            for stage, of_random in zip(seen.stages, random, strict=True)
        ]
        told = {"title": backbone.title, "weights": loaded.weights, "missing": loaded.missing}
        columns.append({**told, "guesses": seen.guesses, "stages": stages, "facts": facts})
    return {"columns": columns}


@lru_cache(maxsize=1)
def draw_roadmap() -> str:
    """The steps from ResNet-50 to ConvNeXt-T as SVG; every network is built and counted, once."""
    return draw_road(walk_road("tiny"), "From ResNet-50 to ConvNeXt-T")


@lru_cache(maxsize=4)
def _random_backbone(name: str) -> LoadedBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(find_backbone(name))
    return LoadedBackbone(find_backbone(name), network, IMAGENET_MEAN, IMAGENET_STD, None)


def _small(service: Service, photo: Photo, fill: Fill | None) -> tuple[Image.Image, Holes]:
    """The photo as it was before a fill, and the holes of that fill, at most ``_SIDE`` large."""
    size = preview_size(photo.height, photo.width, _SIDE)
    whole = (0, 0, photo.height, photo.width)
    image = service.view(photo, fill and fill.parent, whole, size)
    hole = np.zeros((photo.height, photo.width), np.uint8)
    if fill is not None:
        top, left, bottom, right = fill.box
        hole[top:bottom, left:right] = 255 * service.workspace.patch(photo, fill)[1]
    return image, np.asarray(Image.fromarray(hole).resize((size[1], size[0]), Image.Resampling.BOX)) > 0
