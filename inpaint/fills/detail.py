"""Detail for a fill that was made small, and texture for one that is too smooth: from where it looks alike.

Arrays are ``(H, W, 3)`` float32 RGB in [0, 1] and ``(H, W)`` bool.
"""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaint.fills.canvas import Bools, Canvas, Colours, Floats, Ints, shrink_hole
from inpaint.framing import Box, tight_box
from inpaint.images.depth import ValueRange

PATCH = 7
"""Side of the patches that are compared, in pixels of the small image."""
BLOCK = 4
"""Side of the blocks that take their detail from one place, in pixels of the small image."""
ENERGY = 0.25
"""Weight of a residual's energy against the difference of patches: of two alike the calmer one is taken."""
MOST_SOURCES, APART = 9216, 3
"""The most known places that may give detail; blocks less than so many blocks apart choose among different
ones, so each is compared with a ninth of them."""
ALIKE, WEAK = 16 / 255, 0.5
"""Texture comes from patches with a root mean square difference below the first, and goes where the fill's
own has less than the second of its energy."""
COHERENCE, STRAY = 5.0, 8.0
"""What another move than that of a block beside it costs, in median differences of patches; and how many
times the median energy of the blocks around it texture may have: a lone blade of grass is left out."""
_BEFORE = (PATCH - BLOCK) // 2  # cells of a patch above and to the left of its block
# Blocks that are compared, rows of pixels, and values: small enough to stay in the cache.
_AT_ONCE, _STRIP, _VALUES = 128, 64, 2**18


class Enlarged:
    """A small image at the size of a box: bicubic as OpenCV has it, computed where it is read.

    Args:
        small: ``(h, w, 3)``.
        box: what it shows of a larger image.
    """

    def __init__(self, small: Colours, box: Box) -> None:
        self.small, self.box = small, box
        padded = cv2.copyMakeBorder(small, 2, 2, 0, 0, cv2.BORDER_REPLICATE)
        wide = cv2.resize(padded, (box.shape[1], len(padded)), interpolation=cv2.INTER_CUBIC)
        self._wide = wide.reshape(len(wide), -1)
        at = (np.arange(box.shape[0]) + 0.5) * len(small) / box.shape[0] + 1.5
        self._taps = np.floor(at).astype(int)[:, None] + np.arange(-1, 3)
        far = np.abs(at[:, None] - self._taps).astype(np.float32)
        inner, outer = (1.25 * far - 2.25) * far**2 + 1, -0.75 * (((far - 5) * far + 8) * far - 4)
        self._weights = np.where(far < 1, inner, outer)

    def read(self, box: Box) -> Colours:
        """The colours of a part of the box."""
        colours = np.empty((1, *box.shape, 3), np.float32)
        for top in range(0, box.shape[0], _STRIP):
            strip = colours[:, top : top + _STRIP]
            corner = np.array([[box.top + top, box.left]])
            torch.bmm(*self._factors(corner, strip.shape[1:3]), out=torch.from_numpy(strip).flatten(2))
        return colours[0]

    def residuals(self, blocks: Colours, corners: Ints, step: int = 1) -> Colours:
        """What enlarging loses of blocks ``(N, H, W, 3)``, which hold every ``step``-th row; in place."""
        factors = self._factors(corners, blocks.shape[1:3], step)
        torch.from_numpy(blocks).flatten(2).baddbmm_(*factors, alpha=-1)
        return blocks

    def _factors(self, corners: Ints, shape: tuple[int, ...], step: int = 1) -> tuple[Tensor, Tensor]:
        """Matrices whose products, by torch's threads, not numpy's, are the rows of blocks of one shape."""
        top, left = (corners - (self.box.top, self.box.left)).T
        rows = top[:, None] + np.arange(0, step * shape[0], step)
        taps = self._taps[rows] - self._taps[top, :1, None]
        weights = np.zeros((*rows.shape, taps.max() + 1), np.float32)
        np.put_along_axis(weights, taps, self._weights[rows], 2)
        size = weights.shape[-1], 3 * shape[1]
        windows = np.lib.stride_tricks.sliding_window_view(self._wide, size)
        return torch.from_numpy(weights), torch.from_numpy(windows[self._taps[top, 0], 3 * left])


def add_texture(fill: Colours, image: Colours, unknown: Bools, core: Bools, coarser: int) -> None:
    """Give a fill, in place, the texture of known surroundings where its own is too weak: blur, or a lattice.

    What is there when both are made ``coarser`` times smaller stays, see :func:`add_detail`. The image is
    read where it is not ``unknown``, the fill is changed in the ``core``.
    """
    if (where := tight_box(core)) is None:
        return
    merged, (height, width) = np.where(unknown[..., None], fill, image), unknown.shape
    shape = max(1, round(height / coarser)), max(1, round(width / coarser))
    small = np.asarray(cv2.resize(merged, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    canvas = Canvas(merged, unknown, ValueRange(0, 1))
    enlarged = Enlarged(small, Box(0, 0, height, width))
    textured = add_detail(enlarged, shrink_hole(unknown, shape), canvas, where, own=merged[where.slices])
    np.copyto(fill[where.slices], textured, where=core[where.slices][..., None])


def add_detail(
    enlarged: Enlarged, small_unknown: Bools, canvas: Canvas, where: Box, own: Colours | None = None
) -> Colours:
    """An enlarged fill with the detail that known surroundings have beyond the small image.

    What enlarging loses of the known pixels is their residual; every block of the hole takes the residual of
    the known block that is most like it in the small, filled image. The coarse fill decides what is there,
    the residual its texture, in all octaves between the two sizes. Without a source the fill stays as it was.

    Args:
        enlarged: the filled image.
        small_unknown: its cells that were filled or unknown, ``(h, w)``.
        canvas: gives the known pixels.
        where: the part of the box that is wanted.
        own: a fill of ``where`` that stays where no known block is alike or its own residual is not weak.

    Returns:
        Colours ``(H, W, 3)`` of ``where``.

    Source:
        Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (CVPR 2020),
        with patch distances in the place of attention.
    """
    fill, box = enlarged.read(where), enlarged.box
    result = fill if own is None else own.copy()
    height, width = small_unknown.shape
    targets, sources, usable = _places(small_unknown)
    rows, columns = targets.T // BLOCK
    row_ends = (box.top + _block_ends(box.shape[0], height)).clip(where.top, where.bottom)
    column_ends = (box.left + _block_ends(box.shape[1], width)).clip(where.left, where.right)
    blocks = np.stack([row_ends[rows], column_ends[columns], row_ends[rows + 1], column_ends[columns + 1]], 1)
    wanted = (blocks[:, :2] < blocks[:, 2:]).all(1)
    targets, blocks = targets[wanted], blocks[wanted]
    if not len(targets) or not len(sources):
        return result
    energy = _residual_energy(enlarged, canvas)
    nearest, differences = _nearest(enlarged.small, targets, sources, energy[sources[:, 0], sources[:, 1]])
    moves = sources[nearest] - targets
    if own is not None:
        alike = differences < 3 * (PATCH * ALIKE) ** 2
        if not alike.any():
            return result
        targets, moves, blocks = targets[alike], moves[alike], blocks[alike]
        moves = _coherent_moves(enlarged.small, targets, moves, energy, usable)
        grid, cells = np.ascontiguousarray(energy[::BLOCK, ::BLOCK]), tuple(targets.T // BLOCK)
        grid[cells] = taken = energy[tuple((targets + moves).T)]
        calm = taken <= STRAY * cv2.medianBlur(grid, 5)[cells]
        targets, moves, blocks = targets[calm], moves[calm], blocks[calm]
    moves = np.rint(moves * (box.shape[0] / height, box.shape[1] / width)).astype(int)
    shape = tuple((blocks[:, 2:] - blocks[:, :2]).max(0, initial=1).tolist())
    together = max(1, _VALUES // (3 * shape[0] * shape[1]))
    for first in range(0, len(blocks), together):
        some = slice(first, first + together)
        corners = blocks[some, :2] + moves[some]
        residuals = enlarged.residuals(canvas.read_blocks(corners, shape), corners)
        inside = blocks[some] - (2 * (where.top, where.left))
        for (top, left, bottom, right), residual in zip(inside.tolist(), residuals, strict=True):
            piece, residual = fill[top:bottom, left:right], residual[: bottom - top, : right - left]
            if own is not None:
                hole = canvas.unknown[where.slices][top:bottom, left:right]
                kept = np.square(own[top:bottom, left:right] - piece)[hole]
                if not kept.size or kept.mean() >= WEAK * np.square(residual).mean():
                    continue
            np.add(piece, residual, out=result[top:bottom, left:right])
    return result


def _residual_energy(enlarged: Enlarged, canvas: Canvas) -> Floats:
    """Squares of what enlarging loses, averaged over the block of cells that begins at each ``(h, w)``."""
    box, (height, width) = enlarged.box, enlarged.small.shape[:2]
    step = max(1, 2 * box.shape[0] // height)  # a row of every second cell is enough
    strips = []
    for top in range(box.top, box.bottom, _STRIP * step):
        strip = Box(top, box.left, min(top + _STRIP * step, box.bottom), box.right)
        residual = enlarged.residuals(canvas.read(strip, step)[None], np.array([[top, box.left]]), step)[0]
        energy = cv2.transform(np.square(residual, out=residual), np.ones((1, 3)))
        strips.append(cv2.resize(energy, (width, len(energy)), interpolation=cv2.INTER_AREA))
    energy = cv2.resize(np.concatenate(strips), (width, height), interpolation=cv2.INTER_AREA)
    energy = cv2.boxFilter(energy, -1, (BLOCK, BLOCK), anchor=(0, 0)) * (ENERGY * PATCH**2)
    return np.asarray(energy, np.float32)


def _block_ends(length: int, small: int) -> Ints:
    """The first pixel of each block of ``BLOCK`` cells of the small image, and the end of the last."""
    cells = (np.arange(length) / (length / small)).astype(int).clip(max=small - 1)
    return np.searchsorted(cells // BLOCK, np.arange(-(-small // BLOCK) + 1))


def _places(hole: Bools) -> tuple[Ints, Ints, Bools]:
    """Corners ``(N, 2)`` of blocks that touch the hole and of some known ones, and where all known lie."""
    height, width = hole.shape
    blocks = np.argwhere(np.ones((-(-height // BLOCK), -(-width // BLOCK)))) * BLOCK
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((BLOCK, BLOCK), np.uint8), anchor=(0, 0)) > 0
    targets = blocks[touched[blocks[:, 0], blocks[:, 1]]]
    # A source is known with a margin: its enlarged pixels are not mixed with a fill's.
    reach = np.ones((PATCH + 4,) * 2, np.uint8)
    usable = cv2.dilate(hole.astype(np.uint8), reach, anchor=(_BEFORE + 2,) * 2) == 0
    usable[:_BEFORE] = usable[:, :_BEFORE] = usable[-PATCH:] = usable[:, -PATCH:] = False
    sources = np.argwhere(usable)
    return targets, sources[:: max(1, -(-len(sources) // MOST_SOURCES))], usable


def _windows(small: Colours) -> Colours:
    """The patch of the block at each corner, ``(h, w, PATCH, 3 PATCH)`` and a few more."""
    rows = np.pad(small, ((_BEFORE, PATCH), (_BEFORE, PATCH), (0, 0)), mode="reflect")
    rows = rows.reshape(len(rows), -1)
    return np.lib.stride_tricks.sliding_window_view(rows, (PATCH, 3 * PATCH))[:, ::3]


def _coherent_moves(small: Colours, targets: Ints, nearest: Ints, penalty: Any, usable: Bools) -> Ints:
    """Moves to sources nearly as good as the nearest, alike for blocks side by side: so pieces stay whole.

    The colours of a chessboard take turns: a block takes its nearest source, or the move of one beside it.
    """
    windows, cells = _windows(small), targets // BLOCK + 1
    index = np.full(cells.max(0) + 2, -1)
    index[tuple(cells.T)] = np.arange(len(cells))
    beside = np.stack([index[tuple((cells + step).T)] for step in ((-1, 0), (1, 0), (0, -1), (0, 1))])

    def difference(some: Any, moves: Ints) -> Floats:
        places = targets[some] + moves
        inside = np.all((places >= 0) & (places < usable.shape), axis=1)
        y, x = (places * inside[:, None]).T
        apart = np.square(windows[y, x] - windows[tuple(targets[some].T)]).sum((1, 2)) + penalty[y, x]
        return np.where(inside & usable[y, x], apart, np.inf)

    moves, price = nearest.copy(), COHERENCE * np.median(difference(slice(None), nearest))
    for colour in (0, 1) * 4:
        some = np.flatnonzero(cells.sum(1) % 2 == colour)
        others = beside[:, some]  # -1, where there is none, offers the last move
        choices = np.stack([nearest[some], *moves[others]])
        unlike = (moves[others] != choices[:, None]).any(3) & (others >= 0)
        costs = [difference(some, choice) for choice in choices] + price * unlike.sum(1)
        moves[some] = choices[np.argmin(costs, 0), np.arange(len(some))]
    return moves


def _nearest(small: Colours, targets: Ints, sources: Ints, penalty: Floats) -> tuple[Ints, Floats]:
    """For each target the source whose patch differs least, its penalty added: index, and what that is.

    Blocks less than ``APART`` from each other choose among different sources: one source for all of them
    would draw a lattice.
    """
    windows = _windows(small)

    def patches(places: Ints) -> Tensor:
        chosen = windows[places[:, 0], places[:, 1]].reshape(len(places), -1)
        return torch.from_numpy(np.ascontiguousarray(chosen))

    ours, count = patches(targets), min(APART**2, len(sources))
    groups = targets // BLOCK % APART @ (APART, 1) % count
    found, differences = np.zeros(len(targets), np.int64), np.zeros(len(targets), np.float32)
    for number in range(count):
        some, theirs = np.flatnonzero(groups == number), patches(sources[number::count])
        square = (theirs**2).sum(1) + torch.from_numpy(penalty[number::count])
        for part in np.split(some, range(_AT_ONCE, len(some), _AT_ONCE)):
            distances = torch.addmm(square, ours[part], theirs.T, alpha=-2).numpy()
            best = distances.argmin(1)  # ten times as fast as torch's
            found[part] = best * count + number
            differences[part] = distances[np.arange(len(part)), best] + (ours[part] ** 2).sum(1).numpy()
    return found, differences
