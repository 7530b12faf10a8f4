"""The masks of a run, by the number of the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inpaint.data.config import MaskKind
from inpaint.data.randomness import make_generator
from inpaint.random_masks import ObjectShapes, make_masks

_LARGEST_BLOCK = 64


def draw_masks(
    kind: MaskKind,
    first: int,
    count: int,
    size: int,
    *,
    batch_size: int,
    seed: int,
    shapes: ObjectShapes | None,
) -> Tensor:
    """Draw the masks of images `first` to `first + count`.

    Masks are cheaper by the block than one by one, so each belongs to a block with a seed of its own, and a
    process draws the blocks that its images are in. Blocks divide a batch: hardly any is drawn twice.

    Returns:
        (count, 1, size, size) float32, 1 = hole.
    """
    block = math.gcd(batch_size, _LARGEST_BLOCK)
    numbers = range(first // block, -(-(first + count) // block))
    masks = [
        make_masks(kind, block, size, size, make_generator(seed, "masks", number), shapes=shapes)
        for number in numbers
    ]
    start = first - numbers.start * block
    return torch.cat(masks)[start : start + count]
