"""What the network is shown of an image: padding, windows on thin holes, frames around thick ones.

Here a hole is an ``(H, W)`` bool array, True = hole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CELL = 16
"""Windows are built of cells of so many pixels: the network pads to multiples of it."""


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

    def within(self, other: Box) -> tuple[slice, slice]:
        """Indices that cut this box out of an array that covers another."""
        return self.moved(-other.top, -other.left).slices

    def moved(self, down: int, right: int) -> Box:
        """This box so many pixels further down and to the right."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def cut(self, other: Box) -> Box:
        """What lies in another box."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def grown(self, pixels: int, shape: tuple[int, ...]) -> Box:
        """So many pixels more on each side, as far as an image of this shape goes."""
        wider = Box(self.top - pixels, self.left - pixels, self.bottom + pixels, self.right + pixels)
        return wider.cut(Box(0, 0, *shape[:2]))


def pad_to_multiple(tensor: Tensor, multiple: int) -> Tensor:
    """Pad the right and bottom edges of ``(B, C, H, W)`` so that height and width divide by ``multiple``.

    Reflects where the image is large enough for it and repeats the edge otherwise.
    """
    height, width = tensor.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return tensor
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(tensor, (0, right, 0, bottom), mode=mode)


@dataclass(frozen=True)
class Window:
    """One pass of the network."""

    box: Box
    """What the network sees."""
    core: Box
    """The part of it whose holes the pass fills."""
    wave: int
    """Windows of one wave do not need each other; those of a later one see what earlier ones filled."""


@dataclass(frozen=True)
class ThickHole:
    """Thick holes that lie close together."""

    box: Box
    mask: NDArray[np.bool_]
    """Which pixels of the box belong to them."""
    thickness: float
    """Diameter in pixels of the largest disc that fits into them."""


def hole_windows(
    hole: NDArray[np.bool_], *, margin: int, largest: int, smallest: int = CELL, near: int = 2 * CELL
) -> list[Window]:
    """Windows that cover every hole pixel at the image's own scale.

    Holes that lie close together share a window. A group too large for one is cut into cores; neighbouring
    cores belong to different waves, so that a fill goes on from what is there instead of meeting it.

    Args:
        hole: ``(H, W)`` bool.
        margin: known surroundings that a core has on each side in pixels, where the image is that large.
        largest: side in pixels of the largest window, more than twice the margin.
        smallest: side of the smallest one.
        near: holes less than about so many pixels apart share a window.

    Returns:
        Windows by wave and shape, their sides multiples of 16 where the image allows it.
    """
    windows = []
    for group, _ in groups(hole, CELL, near // (2 * CELL)):
        inner = largest - 2 * margin
        (height, width), rows, columns = group.shape, *(-(-side // inner) for side in group.shape)
        for row in range(rows):
            for column in range(columns):
                top, bottom = (group.top + height * (row + next_) // rows for next_ in (0, 1))
                left, right = (group.left + width * (column + next_) // columns for next_ in (0, 1))
                core = tight_box(hole, Box(top, left, bottom, right))
                if core is not None:
                    side = -(-(max(core.shape) + 2 * margin) // CELL) * CELL
                    box = surround(core, min(max(side, smallest), largest), hole.shape)
                    windows.append(Window(box, core, row % 2 * 2 + column % 2))
    return sorted(windows, key=lambda window: (window.wave, window.box.shape))


def thick_holes(hole: NDArray[np.bool_], thickness: float) -> list[ThickHole]:
    """The parts of the holes into which a disc of more than ``thickness`` pixels fits, the largest first.

    What is thinner, such as a scratch that runs into a large hole, is left out.
    """
    found = []
    cell = min(CELL, max(1, int(thickness / 3)))  # a disc of that diameter covers at least one whole cell
    # A known pixel on each side, but not beyond the border.
    for box, part in groups(hole, cell, 1, margin=1, covered=True):
        distance = np.full(part.shape, max(part.shape), np.float32)  # where nothing is known
        if not part.all():
            cv2.distanceTransform(part.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, distance)
        core = distance > thickness / 2
        if core.any():
            # The corners of a square lie further out than its sides.
            reach = np.ones((2 * int(thickness) + 1,) * 2, np.uint8)
            part &= cv2.dilate(core.view(np.uint8), reach) > 0
            tight = tight_box(part) or box
            place = tight.moved(box.top, box.left)
            found.append(ThickHole(place, part[tight.slices], float(2 * distance.max())))
    return sorted(found, key=lambda thick: -np.count_nonzero(thick.mask))


def surround(box: Box, side: int, shape: tuple[int, ...]) -> Box:
    """The square of ``side`` pixels about a box, or the box if it is larger, moved inside an image (H, W).

    It is cut only where the image itself is too small.
    """
    top, bottom = _widen(box.top, box.bottom, side, shape[0])
    left, right = _widen(box.left, box.right, side, shape[1])
    return Box(top, left, bottom, right)


def groups(
    hole: NDArray[np.bool_], cell: int, reach: int, *, margin: int = 0, covered: bool = False
) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Groups of holes less than about twice ``reach`` cells apart; cells make thousands of specks cheap.

    Yields a group's bounding box, ``margin`` pixels wider as far as the image goes, and which pixels of it
    belong to the group. With ``covered`` only groups that cover at least one whole cell.
    """
    whole = Box(0, 0, *hole.shape)
    if (area := tight_box(hole, whole)) is None:
        return
    # Cells near holes; the rest of a large image is not looked at.
    cells = Box(area.top // cell, area.left // cell, -(-area.bottom // cell), -(-area.right // cell))
    cells = cells.grown(reach, (-(-hole.shape[0] // cell), -(-hole.shape[1] // cell)))
    near = hole[cells.top * cell : cells.bottom * cell, cells.left * cell : cells.right * cell]
    touched = _by_cells(near, cell, np.logical_or).view(np.uint8)
    touched = cv2.dilate(touched, np.ones((2 * reach + 1,) * 2, np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(touched, connectivity=8)
    chosen = np.unique(labels[_by_cells(near, cell, np.logical_and)]) if covered else range(1, count)
    for label in map(int, chosen):
        left, top, across, down = stats[label, :4].tolist()
        own = (labels[top : top + down, left : left + across] == label).view(np.uint8)
        own = cv2.resize(own, (across * cell, down * cell), interpolation=cv2.INTER_NEAREST).view(np.bool_)
        corner = (cells.top + top) * cell, (cells.left + left) * cell
        box = Box(*corner, corner[0] + down * cell, corner[1] + across * cell).cut(whole)
        part = hole[box.slices] & own[: box.shape[0], : box.shape[1]]
        if (inner := tight_box(part)) is None:
            continue
        found = inner.moved(box.top, box.left)
        wide = found.grown(margin, hole.shape)
        mask = np.zeros(wide.shape, np.bool_)
        mask[found.within(wide)] = part[inner.slices]
        yield wide, mask


def _by_cells(hole: NDArray[np.bool_], cell: int, kind: np.ufunc) -> NDArray[np.bool_]:
    """Reduce the pixels of each cell, as far as the image goes."""
    rows = np.stack([kind.reduce(hole[top : top + cell], axis=0) for top in range(0, len(hole), cell)])
    return kind.reduceat(rows, np.arange(0, hole.shape[1], cell), axis=1)


def tight_box(hole: NDArray[np.bool_], box: Box | None = None) -> Box | None:
    """The bounding box of the hole pixels, of those in a box if it is given; None if there are none."""
    box = box or Box(0, 0, *hole.shape)
    cut = hole[box.slices]
    rows, columns = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
    if not rows.size:
        return None
    top, left = box.top + int(rows[0]), box.left + int(columns[0])
    return Box(top, left, box.top + int(rows[-1]) + 1, box.left + int(columns[-1]) + 1)


def _widen(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    """Grow ``start:stop`` about its middle to at least ``length``, moved inside ``0:limit`` or cut to it."""
    length = min(max(length, stop - start), limit)
    start = min(max(start - (length - (stop - start)) // 2, 0), limit - length)
    return start, start + length
