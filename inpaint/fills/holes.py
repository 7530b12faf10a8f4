"""From a mask with soft edges to the pixels that are filled, and the reasons to doubt a mask.

A *hole* is an ``(H, W)`` bool array of the image's size, True = hole; a *coverage* is the mask as
:func:`inpaint.images.mask_from_image` gives it, 0 (known) to 255 (hole).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaint.errors import ImageError, MaskError
from inpaint.framing import groups
from inpaint.images import HOLE, mask_from_image
from inpaint.images.depth import to_array
from inpaint.images.modes import Native, size_of

MODES = ("RGB", "RGBA", "L", "LA")
FAINTEST_RIM = 8
"""Coverage from which the soft rim of a hole belongs to it: below lie 3 % of what is removed."""
PIXELS_PER_GROWTH = 1500
"""The default dilation: one pixel for so many of the image's longer side, rounded."""
MOST_GROWTH = 4
LARGEST_SHARE = 0.8
"""Of the image: a mask above it is doubted."""

_CELL = 64  # side of the cells by which holes far from each other are looked at apart
_FAINT_REACH = 8  # pixels beyond the hole where coverage below FAINTEST_RIM is a rim's end, not noise
_THICKNESS_PER_GROWTH = 8  # a hole grows by default where it is at least so many times as thick
_LOOK_SIDE = 512  # an image and its mask are compared at about this size
_ALIKE = 0.7  # correlation of fine detail above which a grey mask is taken for an image

Hole = NDArray[np.bool_]
Coverage = NDArray[np.uint8]


def check_image(image: Native, mask: Native) -> None:
    """Raise ImageError unless an image can be filled, MaskError unless its mask has its size."""
    for given, refuse, what in ((image, ImageError, "image"), (mask, MaskError, "mask")):
        if not isinstance(given, Image.Image | np.ndarray):
            told = f"a Pillow image, as read_{what} gives, or a NumPy array (H, W) or (H, W, C)"
            raise refuse(f"got a {type(given).__name__} as {what}, expected {told}")
        shape = given.size if isinstance(given, Image.Image) else given.shape
        if len(shape) not in (2, 3) or 0 in shape or shape[2:] > (4,):
            raise refuse(f"got {what} of shape {shape}, expected (H, W) or (H, W, C), none 0, C at most 4")
    if isinstance(image, Image.Image) and image.mode not in MODES:
        raise ImageError(f"got mode {image.mode}, expected {', '.join(MODES)}; use inpaint.read_image")
    check_mask_size(mask, size_of(image))


def check_mask_size(mask: Native, size: tuple[int, int], image: str = "image") -> None:
    """Raise MaskError unless a mask has the ``(width, height)`` of its image, which is called ``image``."""
    width, height = size_of(mask)
    if (width, height) != size:
        turned = "; it seems to be turned: masks must be upright, as the photo is shown"
        raise MaskError(
            f"the mask is {width} x {height} pixels, the {image} {size[0]} x {size[1]}; "
            f"give a mask of the {image}'s size{turned * ((height, width) == size)}"
        )


def find_hole(mask: Image.Image | Coverage, dilate: int | None = None) -> Hole:
    """The pixels to fill.

    Pixels at least half covered are holes, and so is every rim pixel of ``FAINTEST_RIM`` or more that hangs
    together with them: it holds some of the colour that is to go.

    Args:
        mask: its coverage, or an image in any mode; white or opaque = hole, as in :mod:`inpaint.images`.
        dilate: grow the hole by so many pixels in the eight directions; 0 takes the mask as it is, its soft
            rim included. None grows by :func:`default_dilation`, but only where the hole is thick enough to
            hold a square of eight times that: dust and scratches keep their close surroundings.

    Raises:
        MaskError: the mask marks nothing, or ``dilate`` is negative or no whole number.
    """
    if dilate is not None and not (isinstance(dilate, int | np.integer) and dilate >= 0):
        raise MaskError(f"got dilate {dilate!r}, expected a whole number of pixels, 0 or more")
    coverage = to_array(mask_from_image(mask)) if isinstance(mask, Image.Image) else mask
    whole = np.zeros(coverage.shape, np.bool_)
    growth = default_dilation(whole.shape) if dilate is None else min(dilate, max(whole.shape))
    # With a known pixel on each side, but not beyond the border.
    for box, rim in groups(coverage >= FAINTEST_RIM, _CELL, 1, margin=growth + 1):
        hole = rim & (coverage[box.slices] >= HOLE)
        if not np.array_equal(hole, rim):  # with the parts of the rim that hang together with it
            _, labels = cv2.connectedComponents(rim.view(np.uint8), connectivity=8)
            hole = np.isin(labels, np.unique(labels[hole]))
        core, side = hole, 1
        if dilate is None and growth:
            side = _THICKNESS_PER_GROWTH * growth + 1
            core = _square(cv2.erode, hole, side)
        if core.any():
            hole = hole | _square(cv2.dilate, core, side + 2 * growth)
        whole[box.slices] |= hole
    if not whole.any():
        raise MaskError("the mask is empty: nothing is marked as a hole; paint white what should be filled")
    return whole


def default_dilation(shape: tuple[int, ...]) -> int:
    """Pixels by which thick holes grow where nothing else is asked: 0 below 750 pixels, at most 4."""
    return min(MOST_GROWTH, round(max(shape) / PIXELS_PER_GROWTH))


def faint_rim(coverage: Coverage, hole: Hole) -> Hole:
    """Pixels beside the hole that the mask covers a little: not filled, but no evidence either."""
    beside, near = (coverage > 0) & ~hole, np.zeros(hole.shape, np.bool_)
    if not beside.any():
        return beside
    for box, part in groups(hole, _CELL, 1, margin=_FAINT_REACH):
        near[box.slices] |= _square(cv2.dilate, part, 2 * _FAINT_REACH + 1)
    return beside & near


def doubt_mask(image: Image.Image | NDArray[Any], coverage: Coverage, hole: Hole) -> str | None:
    """Say what is implausible about a mask, if anything; what to do is for who asks."""
    likeness = _likeness(image, coverage)
    share = np.count_nonzero(hole) / hole.size
    if abs(likeness) > _ALIKE:
        what = "a negative of the photo" if likeness < 0 else "the photo itself"
        return f"the mask looks like {what}: {share:.0%} of all pixels would be filled"
    if share > LARGEST_SHARE:
        return f"the mask marks {share:.0%} of the photo as hole, so nearly everything is replaced"
    return None


def _likeness(image: Image.Image | NDArray[Any], coverage: Coverage) -> float:
    """Correlation of fine detail between an image and a mask of many greys, from -1 to 1; 0 if it has few."""
    step = -(-max(coverage.shape) // _LOOK_SIDE)
    seen = coverage[::step, ::step].astype(np.float32)
    if np.mean((seen > 16) & (seen < 239)) < 0.2:
        return 0.0
    pixels = np.asarray(image)[::step, ::step].astype(np.float32)
    colours = pixels if pixels.ndim == 2 else pixels[..., : pixels.shape[2] - (pixels.shape[2] in (2, 4))]
    colours = np.nan_to_num(np.atleast_3d(colours))
    # Inside what is marked: the rim of a rubbed-out part is a step that the photo does not have.
    inside = cv2.erode((seen > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if inside.sum() < 64:
        return 0.0
    # A mask is the maximum of its colours, a negative's is the photo's minimum, a grey copy's their mean.
    kinds = [kind(colours, axis=-1) for kind in (np.max, np.mean, np.min)]
    fine = [(a - cv2.GaussianBlur(a, (0, 0), 4))[inside] for a in (seen, *kinds)]
    if min(float(part.std()) for part in fine) < 1e-3 * max(1.0, float(colours.max()) / 255):
        return 0.0
    return float(max(np.asarray(np.corrcoef(np.stack(fine)))[0, 1:], key=abs))


def _square(change: Any, hole: Hole, side: int) -> Hole:
    """Dilate or erode by a square of odd side, line by line; a hole goes on past the border."""
    if side <= 1:
        return hole
    line = np.ones((1, side), np.uint8)
    return change(change(hole.astype(np.uint8), line), line.T) > 0
