"""Detail for a fill that was made small and enlarged: taken from where the small image looks alike.

Arrays are ``(H, W, 3)`` float32 RGB in [0, 1] and ``(H, W)`` bool.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.fills.canvas import Bools, Colours

PATCH = 7
"""Side of the patches that are compared, in pixels of the small image."""
BLOCK = 4
"""Side of the blocks that take their detail from one place, in pixels of the small image."""
ENERGY = 0.25
"""Weight of a residual's energy against the difference of patches: of two alike the calmer one is taken."""
MOST_SOURCES = 16_384
"""Places that are compared with every block."""
_AT_ONCE = 1024  # blocks


def add_detail(fill: Colours, small: Colours, small_hole: Bools, image: Colours, known: Bools) -> Colours:
    """Give an enlarged fill the detail that known surroundings have beyond the small image.

    What enlarging loses of the known pixels is their residual; every block of the hole takes the residual of
    the known block that is most like it in the small, filled image. The coarse fill decides what is there,
    the residual its texture, in all octaves between the two sizes. Without a source the fill stays as it was.

    Args:
        fill: ``small`` enlarged to ``(H, W, 3)``.
        small: the filled image, ``(h, w, 3)``.
        small_hole: its cells that were filled or unknown, ``(h, w)``.
        image: pixels, read where ``known``, ``(H, W)``.
        known: pixels of evidence.

    Source:
        Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (CVPR 2020),
        with patch distances in the place of attention.
    """
    targets, sources = _places(small_hole)
    if not len(targets) or not len(sources):
        return fill
    small_height, small_width = small_hole.shape
    residual = image - fill
    residual[~known] = 0
    energy = np.einsum("hwc,hwc->hw", residual, residual)
    energy = cv2.resize(energy, (small_width, small_height), interpolation=cv2.INTER_AREA)
    energy = cv2.boxFilter(energy, -1, (BLOCK, BLOCK), anchor=(0, 0)) * (ENERGY * PATCH**2)
    nearest = _nearest(small, targets, sources, energy[sources[:, 0], sources[:, 1]])
    height, width = known.shape
    scale = np.array([height / small_height, width / small_width])
    moves = np.rint((sources[nearest] - targets) * scale).astype(int)
    row_ends, column_ends = _block_ends(height, small_height), _block_ends(width, small_width)
    detailed = fill.copy()
    for (row, column), (down, right) in zip(targets // BLOCK, moves, strict=True):
        rows, columns = slice(*row_ends[row : row + 2]), slice(*column_ends[column : column + 2])
        from_rows = np.arange(rows.start + down, rows.stop + down).clip(0, height - 1)
        from_columns = np.arange(columns.start + right, columns.stop + right).clip(0, width - 1)
        detailed[rows, columns] += residual[from_rows[:, None], from_columns]
    return detailed


def _block_ends(length: int, small: int) -> NDArray[np.int64]:
    """The first pixel of each block of ``BLOCK`` cells of the small image, and the end of the last."""
    cells = (np.arange(length) / (length / small)).astype(int).clip(max=small - 1)
    return np.searchsorted(cells // BLOCK, np.arange(-(-small // BLOCK) + 1))


def _places(hole: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top left corners of the blocks that touch the hole, and of known ones: ``(N, 2)`` rows and columns."""
    height, width = hole.shape
    blocks = np.argwhere(np.ones((-(-height // BLOCK), -(-width // BLOCK)))) * BLOCK
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((BLOCK, BLOCK), np.uint8), anchor=(0, 0)) > 0
    targets = blocks[touched[blocks[:, 0], blocks[:, 1]]]
    # A source is known with a margin: its enlarged pixels are not mixed with a fill's.
    reach = PATCH + 2
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    near[:PATCH] = near[-PATCH:] = near[:, :PATCH] = near[:, -PATCH:] = True
    sources = np.argwhere(~near)
    return targets, sources[:: max(1, -(-len(sources) // MOST_SOURCES))]


def _nearest(
    small: Colours, targets: NDArray[np.int64], sources: NDArray[np.int64], penalty: NDArray[np.float32]
) -> NDArray[np.int64]:
    """For each target the index of the source whose patch differs least, its penalty added."""
    before = (PATCH - BLOCK) // 2
    padded = np.pad(small, ((before, PATCH), (before, PATCH), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))

    def patches(places: NDArray[np.int64]) -> torch.Tensor:
        chosen = windows[places[:, 0], places[:, 1]].reshape(len(places), -1)
        return torch.from_numpy(np.ascontiguousarray(chosen))

    theirs = patches(sources)
    square = (theirs**2).sum(1) + torch.from_numpy(penalty)
    found = [
        (square - 2 * patches(part) @ theirs.T).argmin(1)
        for part in np.array_split(targets, -(-len(targets) // _AT_ONCE))
    ]
    return torch.cat(found).numpy()
