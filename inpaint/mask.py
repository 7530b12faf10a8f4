"""The mask convention, in tensors: 1 = hole, 0 = known; and what follows from a hole's shape.

Everything here takes and gives ``(B, 1, H, W)`` float tensors. Foreign polarities are converted where a
file or a foreign network is met, never here.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError

MAX_DISTANCE = 127
"""Largest distance code of :func:`hole_fields`; cells no known cell can reach get it too."""


class HoleFields(NamedTuple):
    """Where each cell of a hole lies: see :func:`hole_fields`."""

    distance: Tensor
    direction: Tensor


def check_pair(image: Tensor, mask: Tensor) -> None:
    """Raise ShapeError unless ``image`` is ``(B, 3, H, W)`` and ``mask`` is ``(B, 1, H, W)``."""
    if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[-2:]):
        raise ShapeError(
            f"got image {tuple(image.shape)} and mask {tuple(mask.shape)}, expected (B, 3, H, W) and "
            "(B, 1, H, W) with the same B, H and W"
        )


def binarize(mask: Tensor) -> Tensor:
    """Return the mask with exactly 0 (known) and 1 (hole); a value of 0.5 or more is a hole."""
    return (mask >= 0.5).to(mask.dtype)


def composite(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """``prediction`` in the hole, ``image`` elsewhere, ``(B, C, H, W)`` both; known values bit-identical."""
    return torch.where(mask >= 0.5, prediction, image)


def shrink_to_grid(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask to a grid ``(h, w)`` of 0 and 1 where a cell touching any hole pixel is a hole.

    A side larger than the mask's repeats pixels.
    """
    hole = binarize(mask)
    return hole if hole.shape[-2:] == size else F.adaptive_max_pool2d(hole, size)


def hole_fields(mask: Tensor, grid: int = 32) -> HoleFields:
    """Number every cell of the hole by its distance to the known region, and say where that region lies.

    The known region of a ``grid x grid`` version of the mask grows by one 3x3 dilation a step. A cell
    reached in step ``s`` gets distance ``min(s / 16 * 128, 127)`` and four direction bits: whether its
    2x2 neighbourhood to the top-left, bottom-left, top-right, bottom-right held a known cell in that step
    (border mirrored without repeating the edge).

    Args:
        mask: ``(B, 1, H, W)``, 1 = hole, any size.
        grid: cells a side.

    Returns:
        ``distance`` ``(B, 1, grid, grid)`` int64 in [0, 127], 0 on known cells, and ``direction``
        ``(B, 4, grid, grid)`` of 0 and 1, 0 on known cells. In an image without a known cell every
        distance is 127 and every direction 0.

    Source:
        Masked positional encoding of ZITS (Dong et al., CVPR 2022), as used by MAE-FAR.
    """
    hole = shrink_to_grid(mask, (grid, grid))
    known = 1 - hole
    distance = torch.full_like(hole, MAX_DISTANCE, dtype=torch.int64) * (hole > 0)
    direction = hole.new_zeros(hole.shape[0], 4, grid, grid)
    for step in range(1, grid):
        grown = F.max_pool2d(known, 3, stride=1, padding=1)
        reached = (grown > known).to(known.dtype)
        distance = torch.where(reached > 0, min(step * 128 // 16, MAX_DISTANCE), distance)
        direction = direction + reached * _known_quadrants(known)
        known = grown
    return HoleFields(distance, direction)


def _known_quadrants(known: Tensor) -> Tensor:
    """For each cell, is a known cell in its 2x2 block up-left, down-left, up-right, down-right."""
    blocks = F.max_pool2d(F.pad(known, (1, 1, 1, 1), mode="reflect"), 2, stride=1)
    up_left, up_right = blocks[..., :-1, :-1], blocks[..., :-1, 1:]
    down_left, down_right = blocks[..., 1:, :-1], blocks[..., 1:, 1:]
    return torch.cat([up_left, down_left, up_right, down_right], dim=1)
