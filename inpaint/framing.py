"""Make any H x W fit the network, and cut it back: padding, boxes around holes, working sizes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from inpaint.errors import ShapeError

# A box is widened until its longer side is at most this many times the shorter one.
MOST_ELONGATED = 2
# How thick the thickest hole may be at the working scale, as a share of the working size: about the thickest
# holes that training shows. Thinner holes need no shrinking, so scratches keep the picture's own detail.
THICKEST_HOLE = 0.25
# How far beyond its training size the (fully convolutional) network is run for boxes with only thin holes.
MOST_ENLARGED = 4
_EDGES = ("top", "left", "bottom", "right")


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle of pixels: rows ``top <= y < bottom``, columns ``left <= x < right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` in pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Indices that cut the box out of an ``(H, W, ...)`` array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def pad_to_multiple(tensor: Tensor, multiple: int) -> Tensor:
    """Pad the right and bottom edges so that height and width divide by ``multiple``.

    Reflects where the picture is large enough for it and repeats the edge otherwise.

    Args:
        tensor: ``(B, C, H, W)`` float.
        multiple: positive number of pixels.

    Returns:
        ``(B, C, H', W')`` with ``H' >= H`` and ``W' >= W`` the next multiples; cut back with
        ``[..., :H, :W]``.
    """
    height, width = tensor.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return tensor
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(tensor, (0, right, 0, bottom), mode=mode)


def hole_boxes(mask: NDArray[np.bool_], *, context: float = 0.5, smallest: int = 256) -> list[Box]:
    """Boxes that hold every hole with enough of its surroundings, and never overlap.

    Each hole is boxed, its box grown by ``context`` and made square, and boxes that overlap are merged
    until none do. At the picture's edges a box moves inward rather than lose context; it is cut only where
    the picture itself is too small.

    Args:
        mask: ``(H, W)`` bool, True = hole.
        context: known surroundings on each side, as a multiple of the hole's own height and width.
        smallest: least height and width of a box in pixels, where the picture is that large.

    Returns:
        Boxes in reading order; each hole pixel lies in exactly one. Empty if there is no hole.

    Raises:
        ShapeError: ``mask`` is not a two-dimensional bool array.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ShapeError(
            f"hole_boxes got a mask of shape {mask.shape} and type {mask.dtype}, expected (H, W) bool"
        )
    if not mask.any():
        return []
    frames = [_frame(*hole, context, smallest, mask.shape) for hole in _hole_rectangles(mask, smallest // 4)]
    return sorted(_merge(frames, mask.shape))


def working_shape(mask: NDArray[np.bool_], working_size: int) -> tuple[int, int]:
    """The size at which the network should see a box, never above the box's own size.

    A box that fits in the working size keeps its own. A larger one is shrunk until its thickest hole is no
    thicker than the network has learnt to fill, but no further than the working size: thick holes are filled
    at the working size, thin ones at up to ``MOST_ENLARGED`` times it.

    Args:
        mask: ``(H, W)`` bool, True = hole: the holes inside the box.
        working_size: height and width in pixels at which the network was trained.

    Returns:
        ``(H', W')`` in pixels, both at least 1, with the box's aspect ratio up to rounding.
    """
    height, width = mask.shape
    longest = max(height, width)
    fits = working_size / longest
    thin_enough = THICKEST_HOLE * working_size / _hole_thickness(mask)
    scale = min(1.0, max(fits, min(thin_enough, MOST_ENLARGED * fits)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _hole_thickness(mask: NDArray[np.bool_]) -> float:
    """Diameter in pixels of the largest disc that fits into the holes; known pixels are at distance 0."""
    if mask.all():
        return float(max(mask.shape))
    return max(1.0, 2 * float(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3).max()) - 1)


def _hole_rectangles(mask: NDArray[np.bool_], reach: int) -> list[tuple[int, int, int, int]]:
    """``(top, left, bottom, right)`` of each group of holes closer together than twice ``reach``.

    Grouping by dilation first keeps thousands of specks cheap: their boxes would be merged one by one
    otherwise.
    """
    # The border keeps the dilated holes whole, so that shrinking their rectangles gives the exact ones back.
    padded = cv2.copyMakeBorder(
        mask.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0
    )
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    stats = cv2.connectedComponentsWithStats(cv2.dilate(padded, kernel), connectivity=8)[2][1:]
    top, left = stats[:, cv2.CC_STAT_TOP], stats[:, cv2.CC_STAT_LEFT]  # the border and the growth cancel here
    bottom = top + stats[:, cv2.CC_STAT_HEIGHT] - 2 * reach
    right = left + stats[:, cv2.CC_STAT_WIDTH] - 2 * reach
    return [tuple(row) for row in np.stack([top, left, bottom, right], axis=1).tolist()]


def _frame(
    top: int, left: int, bottom: int, right: int, context: float, smallest: int, shape: tuple[int, ...]
) -> Box:
    """The square box of one hole with its context, moved inside a picture of ``shape`` (H, W)."""
    side = max(smallest, *(extent + 2 * round(context * extent) for extent in (bottom - top, right - left)))
    top, bottom = _widen(top, bottom, side, shape[0])
    left, right = _widen(left, right, side, shape[1])
    return Box(top, left, bottom, right)


def _widen(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    """Grow ``start:stop`` about its middle to at least ``length``, moved inside ``0:limit`` or cut to it."""
    length = min(max(length, stop - start), limit)
    start = min(max(start - (length - (stop - start)) // 2, 0), limit - length)
    return start, start + length


def _merge(frames: list[Box], shape: tuple[int, ...]) -> list[Box]:
    """Replace boxes that overlap by their union until none do."""
    apart: dict[str, NDArray[np.int64]] = {edge: np.empty(len(frames), np.int64) for edge in _EDGES}
    alive = np.zeros(len(frames), bool)
    for place, frame in enumerate(frames):
        box = frame
        while (meets := np.flatnonzero(_overlaps(box, apart, place) & alive[:place])).size:
            alive[meets] = False
            top, left = (min(getattr(box, edge), int(apart[edge][meets].min())) for edge in ("top", "left"))
            bottom, right = (
                max(getattr(box, edge), int(apart[edge][meets].max())) for edge in ("bottom", "right")
            )
            # A long strip would be squashed by a prior that looks at squares; surroundings serve it better.
            least = -(-max(bottom - top, right - left) // MOST_ELONGATED)
            top, bottom = _widen(top, bottom, least, shape[0])
            left, right = _widen(left, right, least, shape[1])
            box = Box(top, left, bottom, right)
        alive[place] = True
        for edge in _EDGES:
            apart[edge][place] = getattr(box, edge)
    return [Box(*(int(apart[edge][place]) for edge in _EDGES)) for place in np.flatnonzero(alive)]


def _overlaps(box: Box, others: dict[str, NDArray[np.int64]], count: int) -> NDArray[np.bool_]:
    """Which of the first ``count`` boxes in ``others`` share a pixel with ``box``."""
    rows = (others["top"][:count] < box.bottom) & (others["bottom"][:count] > box.top)
    return rows & (others["left"][:count] < box.right) & (others["right"][:count] > box.left)
