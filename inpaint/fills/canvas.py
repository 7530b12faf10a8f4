"""An image while it is filled: read in [0, 1], shrunk without a trace of its holes, written into holes."""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inpaint.framing import Box, tight_box
from inpaint.images.depth import Pixels, ValueRange

BT601 = (0.299, 0.587, 0.114)  # grey of RGB
_SHRINKABLE = (np.uint8, np.uint16, np.float32)  # what OpenCV averages in their own type

Colours = NDArray[np.float32]
"""``(H, W, 3)`` RGB in [0, 1]."""
Bools, Ints, Floats = NDArray[np.bool_], NDArray[np.int64], NDArray[np.float32]


class Canvas:
    """Pixels of any depth, and which of them are no evidence; :meth:`write` changes both.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, see :mod:`inpaint.images.depth`.
        unknown: ``(H, W)`` bool, True where nothing is known.
        values: the range of the pixels.
        harmonise: whether fills are made to meet their surroundings.
        grain: whether that includes grain.
    """

    def __init__(
        self, pixels: Pixels, unknown: Bools, values: ValueRange, harmonise: bool = False, grain: bool = True
    ) -> None:
        self.pixels, self.unknown, self.values = pixels, unknown, values
        self.harmonise, self.grain = harmonise, grain
        self.guide: Colours | None = None  # a coarser fill, enlarged, by which fills are refined
        self._progress: Callable[[float], None] | None = None
        self._filled, self._to_fill = 0, 1

    def tell(self, progress: Callable[[float], None] | None, to_fill: int) -> None:
        """Tell after each :meth:`write` which share of ``to_fill`` pixels is filled."""
        self._progress, self._to_fill = progress, to_fill

    def part_of(self, pixels: int) -> Callable[[float], None] | None:
        """What a smaller canvas tells while so many pixels of this one are filled on it."""
        progress, start = self._progress, self._filled
        return progress and (lambda share: progress((start + share * pixels) / self._to_fill))

    def read(self, box: Box, step: int = 1) -> Colours:
        """The colours of a box, of every ``step``-th row; alpha is left out, grey is repeated."""
        return self.values.to_unit(_colours(self.pixels[box.slices][::step]))

    def read_blocks(self, corners: Ints, shape: tuple[int, int]) -> Colours:
        """The colours ``(N, H, W, 3)`` of blocks of one shape by their upper left corners, row and column."""
        channels = self.pixels.shape[2:]
        count = math.prod(channels)  # 1 of grey
        height, width = self.pixels.shape[:2]  # of a part of the photo, whose rows are whole
        strides = self.pixels.strides[0], self.pixels.itemsize
        flat = np.lib.stride_tricks.as_strided(self.pixels, (height, width * count), strides)
        windows = np.lib.stride_tricks.sliding_window_view(flat, (shape[0], shape[1] * count))
        found = windows[corners[:, 0], corners[:, 1] * count]
        return self.values.to_unit(_colours(found.reshape(-1, shape[1], *channels))).reshape(-1, *shape, 3)

    def shrink(self, box: Box, shape: tuple[int, int]) -> tuple[Colours, Bools]:
        """Colours and unknown cells of a box at ``shape``, which is at most its own.

        Area averages see only their own cell, and a cell that touches an unknown pixel is unknown: so no
        known cell carries colour from a hole.
        """
        if shape == box.shape:
            return self.read(box), self.unknown[box.slices].copy()
        colours = _colours(self.pixels[box.slices])
        own = colours.dtype in _SHRINKABLE
        small = colours if own else self.values.to_unit(colours)
        if _is_halved_first(box.shape, shape):
            half = box.shape[1] // 2, box.shape[0] // 2
            small = cv2.resize(small, half, interpolation=cv2.INTER_AREA)
        small = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_AREA)
        small = self.values.to_unit(small) if own else small
        return np.asarray(small, np.float32), shrink_hole(self.unknown[box.slices], shape)

    def write(self, box: Box, fill: Colours, where: Bools) -> None:
        """Take the colours of a box from ``fill`` where ``where`` says so, by selection; alpha stays.

        What is written is known from then on.
        """
        if (tight := tight_box(where)) is None:
            return
        inner = tight.slices
        fill, where = fill[inner], where[inner]
        pixels, unknown = self.pixels[box.slices][inner], self.unknown[box.slices][inner]
        pixels = pixels.reshape(*where.shape, -1)
        if pixels.shape[2] < 3:
            fill = fill.clip(0, 1) @ np.array(BT601, np.float32)[:, None]
        values = np.ascontiguousarray(self.values.from_unit(fill, pixels.dtype))
        if pixels.shape[2] > values.shape[2]:
            values = np.concatenate((values, pixels[..., -1:]), axis=2)
        # As bytes, whatever the depth: thirty times as fast as NumPy.
        cv2.copyTo(values.view(np.uint8), where.view(np.uint8), pixels.view(np.uint8))
        unknown &= ~where
        if self._progress is not None:
            self._filled += int(np.count_nonzero(where))
            self._progress(self._filled / self._to_fill)


def transparent_pixels(pixels: Pixels) -> Bools | None:
    """Where an image has no visible colour: what lies there is often black or noise, not a part of it.

    ``(H, W)``, or None for images without alpha.
    """
    return None if pixels.ndim == 2 or pixels.shape[2] == 3 else pixels[..., -1] == 0


def shrink_hole(hole: Bools, shape: tuple[int, int]) -> Bools:
    """Cells of an ``(H, W)`` bool array at a smaller ``shape`` whose averages include a True."""
    if _is_halved_first(hole.shape, shape):
        rows = hole[::2] | hole[1::2]
        hole = rows[:, ::2] | rows[:, 1::2]
    counts = cv2.integral(hole.view(np.uint8))
    for side, cells in zip(hole.shape, shape, strict=True):  # rows, then columns
        ends = np.arange(cells + 1) * (side / cells)
        # OpenCV's area averages leave out less than a thousandth of a pixel, too.
        first, last = np.floor(ends[:-1] + 1e-3).astype(int), np.ceil(ends[1:] - 1e-3).astype(int)
        counts = (counts[last] - counts[first]).T
    return counts > 0


def _is_halved_first(shape: tuple[int, ...], to: tuple[int, int]) -> bool:
    """Whether an image is shrunk in two steps, which is three times as fast."""
    return all(side % 2 == 0 and side >= 4 * small for side, small in zip(shape, to, strict=True))


def _colours(pixels: NDArray[Any]) -> NDArray[Any]:
    """``(H, W, 3)`` of the image's own depth."""
    grey = pixels if pixels.ndim == 2 else pixels[..., 0] if pixels.shape[2] == 2 else None
    return pixels[..., :3] if grey is None else np.stack([grey] * 3, axis=-1)
