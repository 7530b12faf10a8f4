"""Make a fill meet its surroundings: their colours, no step at the rim, and grain as strong as theirs.

Arrays are ``(H, W, 3)`` float32 RGB in [0, 1] and ``(H, W)`` bool.
"""

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.baselines import push_pull
from inpaint.fills.canvas import Bools, Colours, Floats, Ints
from inpaint.framing import tight_box

LARGEST_OFFSET = 8 / 255
"""A fill's colour is moved by at most so much at the rim: a larger step is the network's choice."""
FLAT = 3 / 255
"""Surroundings whose values differ by no more are flat, and so is the fill."""
LEAST_GRAIN, MOST_GRAIN = 0.75 / 255, 12 / 255
"""Standard deviation of grain: none is added below, and above it is texture."""
AROUND = 32
"""Pixels around the hole in which colours and grain are measured."""

_SPOT = 4  # side in pixels of the spots whose colours are compared, at the least
_MOST_SPOTS = 2**12  # of the fill, about
_ALIKE = 8  # known spots whose mean a spot of the fill takes
_BAND = 3  # width in pixels of each of the two bands on both sides of the rim
_ALONG = 29  # pixels of the average along the rim, whose weights fall off as a triangle's
_SMOOTH = 8 / 255  # deviation within the bands at which half of a step is corrected: texture hides steps
_PIECE = 64  # rows that are measured together, and side of the pieces that grain is added in
_MOST_MEASURED = 2**18  # pixels in which grain is measured
_MOST_MADE = 192  # side of the grain that is made; larger holes take pieces of it, from places by chance
_KERNEL = 9, 9  # of the blur that makes grain coarse
_BLOCK = 8  # side in pixels of the blocks in which grain is measured
_CALM = 0.25  # the share of blocks that is taken for free of texture
_FEWEST_BLOCKS = 12
_TEXTURE = 0.6  # correlation of neighbouring pixels above which calm blocks hold texture, not grain


def match_colours(fill: Colours, image: Colours, known: Bools, hole: Bools) -> None:
    """Give a fill, in place, colours that are around it; arguments as for :func:`remove_step`.

    A network that cannot decide mixes, and what it gives between a white cloud and the sky may be bluer than
    both. Each spot of the fill takes the mean of the known colours that are most like its own.
    """
    if (box := tight_box(hole)) is None:
        return
    window = box.grown(AROUND, hole.shape).slices
    fill, known, hole = fill[window], known[window], hole[window]
    merged = cv2.copyTo(image[window], known.view(np.uint8), fill.copy())
    side = max(_SPOT, math.isqrt(np.count_nonzero(hole) // _MOST_SPOTS))
    size = tuple(-(-length // side) for length in hole.shape[::-1])
    layers = (merged, known.astype(np.float32), hole.astype(np.float32))
    spots, outside, inside = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in layers)
    ours, theirs = inside > 0.5, spots[outside == 1]
    if not ours.any() or len(theirs) < _ALIKE:
        return
    nearest: Any = cv2.flann.Index(theirs, {"algorithm": 4})  # one exact k-d tree
    alike, _ = nearest.knnSearch(spots[ours], _ALIKE, params={})
    shift, weight = np.zeros_like(spots), cv2.GaussianBlur(ours.astype(np.float32), (0, 0), 1)
    shift[ours] = theirs[alike].mean(1) - spots[ours]
    shift = cv2.GaussianBlur(shift, (0, 0), 1) / np.maximum(weight, 1e-3)[..., None]
    fill += cv2.copyTo(cv2.resize(shift, hole.shape[::-1]), hole.view(np.uint8))


def remove_step(fill: Colours, image: Colours, known: Bools, hole: Bools) -> None:
    """Move the colours of a fill, in place, so that they go on at the rim as the known pixels end.

    The step is the difference of both sides' colours, each extrapolated to the rim from two narrow bands and
    averaged along it. Where the bands are smooth the fill is moved by it, less where they are textured; a
    smooth membrane carries the correction into the hole. In flat surroundings the fill is flat.

    Args:
        fill: prediction; read and changed in the hole alone.
        image: read where ``known``.
        known: pixels of evidence.
        hole: pixels that the fill is for, apart from the known ones.
    """
    box = tight_box(hole)
    if box is None or not known.any():
        return
    window = box.grown(AROUND, hole.shape)  # nothing further away counts
    fill, image = fill[window.slices], image[window.slices]
    known, hole = known[window.slices], hole[window.slices]
    near = image[_near(known, hole)].T.copy()
    if near.size and np.ptp(near, axis=1).max() <= FLAT:  # a network's faint pattern would show
        np.copyto(fill, _fill_smoothly(image, known), where=hole[..., None])
        return
    outside, spread_outside, at_outside = _at_rim(image, known, ~hole)
    inside, spread_inside, at_inside = _at_rim(fill, hole, ~known)
    rim = hole & cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rim &= at_outside & at_inside
    if not rim.any():
        return
    variance = np.maximum(spread_outside, spread_inside) ** 2
    trust = _SMOOTH**2 / (_SMOOTH**2 + variance)
    step = (outside - inside) * trust[..., None]
    step, inner = step.clip(-LARGEST_OFFSET, LARGEST_OFFSET), box.within(window)
    membrane = cv2.GaussianBlur(_fill_smoothly(step[inner], rim[inner]), (0, 0), 2)
    fill[inner] += cv2.copyTo(membrane, hole[inner].astype(np.uint8))


def add_grain(fill: Colours, image: Colours, known: Bools, hole: Bools, *, seed: int = 0) -> None:
    """Add grain, in place, to a fill smoother than the known pixels near the hole; arguments as above.

    Grain is measured in the calmest blocks on both sides, so that texture does not count; what is added makes
    up the difference of the variances and has the same correlations between neighbouring pixels and between
    channels. The same seed gives the same grain.
    """
    if (box := tight_box(hole)) is None:
        return
    # Where the hole is and what is measured: strips of a large window, and nothing of the photo around it.
    window = box.grown(AROUND, hole.shape).slices
    image, known, inside = image[window], known[window], hole[window]
    apart = _PIECE * max(1, inside.size // _MOST_MEASURED)
    strips = [slice(top, top + _PIECE) for top in range(0, len(inside), apart)]
    merged = (cv2.copyTo(image[s], known[s].view(np.uint8), fill[window][s].copy()) for s in strips)
    fine = np.concatenate([fine_part(strip) for strip in merged])
    near, inside = (np.concatenate([part[s] for s in strips]) for part in (_near(known, inside), inside))
    theirs, calm = measure_grain(fine, near)
    if not LEAST_GRAIN < theirs.mean() < MOST_GRAIN:
        return
    channels, correlation = correlations(fine, calm)
    if correlation > _TEXTURE:
        return
    ours, _ = measure_grain(fine, inside)
    generator, side = torch.Generator().manual_seed(seed), _PIECE + min(max(box.shape), _MOST_MADE)
    noise = torch.randn(side, side, 3, generator=generator).numpy()
    noise = cv2.transform(noise, np.linalg.cholesky(channels + 1e-4 * np.eye(3)))
    grain = cv2.GaussianBlur(noise, _KERNEL, float(np.interp(correlation, *_widths())))
    # Blurred and measured in calm blocks, as theirs was, it seems weaker than it is.
    strength, _ = measure_grain(fine_part(grain), np.ones((side, side), np.bool_))
    grain *= np.sqrt(np.maximum(theirs**2 - ours**2, 0)) / strength
    corners = np.mgrid[box.top : box.bottom : _PIECE, box.left : box.right : _PIECE].reshape(2, -1).T
    places = torch.randint(side - _PIECE + 1, corners.shape, generator=generator)
    for (top, left), (y, x) in zip(corners.tolist(), places.tolist(), strict=True):
        place = slice(top, min(top + _PIECE, box.bottom)), slice(left, min(left + _PIECE, box.right))
        piece, where = fill[place], hole[place]
        added = grain[y : y + where.shape[0], x : x + where.shape[1]]
        piece += added if where.all() else cv2.copyTo(added, where.view(np.uint8))


def measure_grain(fine: Colours, where: Bools) -> tuple[Floats, Ints]:
    """Standard deviation of an image's grain per channel, and the corners ``(N, 2)`` of its calm blocks.

    It is the median over the calmest blocks of its :func:`fine_part` that lie wholly in ``where``, and zero
    where there are too few.
    """
    rows, columns = (side // _BLOCK for side in where.shape)
    if rows * columns < _FEWEST_BLOCKS:
        return np.zeros(3, np.float32), np.empty((0, 2), np.int64)
    inner = cv2.erode(where.astype(np.uint8) * 255, np.ones((5, 5), np.uint8))
    # What is left over at the edges is cut off.
    inner, square = (one[: rows * _BLOCK, : columns * _BLOCK] for one in (inner, np.square(fine)))
    inner, power = (cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA) for one in (inner, square))
    whole = np.argwhere(inner == 255)
    if len(whole) < _FEWEST_BLOCKS:
        return np.zeros(3, np.float32), whole
    power = power[whole[:, 0], whole[:, 1]]
    calm = np.argsort(power.sum(-1))[: max(_FEWEST_BLOCKS, int(_CALM * len(power)))]
    return np.sqrt(np.median(power[calm], axis=0)).astype(np.float32), whole[calm] * _BLOCK


def correlations(fine: Colours, calm: Ints) -> tuple[NDArray[np.float64], float]:
    """Correlations of channels ``(3, 3)``, and of neighbouring pixels, in the blocks at these corners."""
    blocks = np.lib.stride_tricks.sliding_window_view(fine, (_BLOCK, _BLOCK), axis=(0, 1))
    blocks = blocks[calm[:, 0], calm[:, 1]]
    products = np.einsum("ncij,ndij->cd", blocks, blocks, dtype=np.float64)
    channels = products / np.sqrt(np.outer(products.diagonal(), products.diagonal())).clip(1e-12)
    grey = blocks.mean(1)
    beside = (grey[:, :, 1:] * grey[:, :, :-1]).mean((1, 2)) / np.maximum((grey**2).mean((1, 2)), 1e-12)
    return channels, float(np.median(beside))


@cache
def _widths() -> tuple[list[float], NDArray[np.float64]]:
    """Correlations of neighbours in the fine part of noise, and the deviation of the blur that gives them."""
    widths, dot = np.linspace(0.3, 1.5, 25), np.zeros((65, 65), np.float32)
    dot[32, 32] = 1
    ones = [fine_part(cv2.GaussianBlur(dot, _KERNEL, float(width))) for width in widths]
    return [float((one[:, 1:] * one[:, :-1]).sum() / (one**2).sum()) for one in ones], widths


def fine_part(image: Any) -> Any:
    """What a small blur takes away."""
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    return np.subtract(image, blurred, out=blurred)


def _mean(image: Colours) -> NDArray[np.float32]:
    """Of the channels: ten times as fast as numpy's."""
    return np.asarray(cv2.transform(image, np.full((1, 3), 1 / 3)), np.float32)


def _near(known: Bools, hole: Bools) -> Bools:
    """Known pixels around the hole."""
    line = np.ones((1, 2 * AROUND + 1), np.uint8)
    return known & (cv2.dilate(cv2.dilate(hole.astype(np.uint8), line), line.T) > 0)


def _fill_smoothly(image: Colours, known: Bools) -> Colours:
    pixels, unknown = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(~known).float()
    return push_pull(pixels[None], unknown[None, None])[0].permute(1, 2, 0).numpy()


def _at_rim(image: Colours, where: Bools, side: Bools) -> tuple[Colours, NDArray[np.float32], Bools]:
    """Colours of a side, known ``where``, extrapolated to its rim: averages, spreads, and where they hold."""
    distance = cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
    averages, spreads, seen = [], [], []
    for low, high in ((0, _BAND), (_BAND, 2 * _BAND)):
        band = where & (distance > low) & (distance <= high)
        colours = cv2.copyTo(image, band.view(np.uint8))
        weight, square = band.astype(np.float32), _mean(np.square(colours))
        weight, square, mean = (cv2.stackBlur(one, (_ALONG, _ALONG)) for one in (weight, square, colours))
        inside = np.maximum(weight, 1e-6)
        mean /= inside[..., None]
        averages.append(mean)
        spreads.append(np.sqrt(np.maximum(square / inside - _mean(np.square(mean)), 0)))
        seen.append(weight > 1e-3)
    near, far = averages
    return 1.5 * near - 0.5 * far, spreads[0], seen[0] & seen[1]
