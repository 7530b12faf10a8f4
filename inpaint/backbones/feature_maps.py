"""An image through a backbone: its most probable classes, its feature maps, channel collapse."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from inpaint.backbones.network import SIZE, LoadedBackbone, class_names, normalise
from inpaint.images import image_to_tensor

SHOWN = 16
_CELL = 96  # pixels of one map on a sheet
_GAP = 4


@dataclass(frozen=True)
class Sight:
    """One image through one backbone."""

    guesses: list[tuple[str, float]]  # five class names with their probability; none for random weights
    stages: list[Tensor]  # feature maps, (C, h, w)
    collapse: list[float]  # of each stage, see channel_distance


@torch.inference_mode()
def look_at(loaded: LoadedBackbone, image: Image.Image) -> Sight:
    """Send an image of any size, made square by a centre crop and 224 pixels large, through a backbone."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    square = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = normalise(loaded, image_to_tensor(square))
    guesses = []
    if loaded.weights is not None:
        chances = loaded.network(pixels).softmax(dim=1)[0]
        names = class_names()
        guesses = [(names[int(index)], float(chances[index])) for index in chances.topk(5).indices]
    maps = loaded.network.forward_intermediates(pixels, intermediates_only=True)  # type: ignore[operator]
    stages = [stage[0].float() for stage in _one_a_stage(maps)]
    return Sight(guesses, stages, [channel_distance(stage) for stage in stages])


def channel_distance(features: Tensor) -> float:
    """Mean pairwise cosine distance of the channels of ``(C, h, w)``: 0 if all are alike (collapse), to 1.

    ``(1 - cos) / 2`` over all pairs, each channel with itself included: 0.5 for channels that have nothing in
    common (ConvNeXt V2, Woo et al. 2023, section 3.2).
    """
    channels = F.normalize(features.flatten(1).double(), dim=1, eps=1e-12)
    return float(((1 - channels @ channels.T) / 2).mean())


def feature_sheet(stage: Tensor, count: int = SHOWN) -> Image.Image:
    """The first channels of a stage ``(C, h, w)`` as a sheet of maps, each scaled to its own range."""
    maps = stage[:count].cpu().numpy()
    columns = int(np.ceil(np.sqrt(len(maps))))
    rows = -(-len(maps) // columns)
    sheet = np.full((rows * (_CELL + _GAP) - _GAP, columns * (_CELL + _GAP) - _GAP, 3), 255, np.uint8)
    for index, values in enumerate(maps):
        span = float(values.max() - values.min()) or 1.0
        levels = np.rint((values - values.min()) / span * 255).astype(np.uint8)
        levels = cv2.resize(levels, (_CELL, _CELL), interpolation=cv2.INTER_NEAREST)
        top, left = index // columns * (_CELL + _GAP), index % columns * (_CELL + _GAP)
        sheet[top : top + _CELL, left : left + _CELL] = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[
            ..., ::-1
        ]
    return Image.fromarray(sheet)


def _one_a_stage(maps: list[Tensor], most: int = 4) -> list[Tensor]:
    """At most four maps: the last of each resolution, or evenly spread where all have one (ViT)."""
    last = {tuple(features.shape[-2:]): features for features in maps}
    if len(last) > 1:
        return list(last.values())
    picked = np.linspace(0, len(maps) - 1, min(most, len(maps))).round().astype(int)
    return [maps[index] for index in picked]
