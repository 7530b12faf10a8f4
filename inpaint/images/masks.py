"""Masks from images of any kind: *white or opaque is hole*.

``coverage = max(R, G, B) * alpha``, from 0 (known) to 255 (hole). So white, red or yellow strokes on black
or on transparency work, and transparent white is no hole. Where alpha varies and all that is visible is dark,
the mask was drawn in black on transparency, and alpha alone is the coverage. In a mask of only two values the
hole is the higher one, whatever they are (0 and 1, two greys). Soft edges are kept: who needs yes or no takes
a coverage of at least 128 as a hole (``hole_from_mask``); the pipeline reads the grey rim, too.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inpaint.errors import MaskError
from inpaint.images.depth import Pixels
from inpaint.images.modes import Native, to_8_bit, to_plain

HOLE = 128
"""Coverage of a mask's pixel from which it is a hole for who needs yes or no."""
COMPRESSION_NOISE = 32


def mask_from_image(image: Native, *, invert: bool = False) -> Image.Image:
    """Make a mask (``L``, 0 = known to 255 = hole) from an image of any mode or depth by the rule at the top.

    The image is taken as it stands (EXIF orientation is not looked at); ``invert`` exchanges hole and known.
    MaskError for many values, all below half of the range: nothing tells what they mean.
    """
    if isinstance(image, Image.Image) and image.mode != "F" and not image.mode.startswith("I"):
        image = to_plain(image)
        if image.mode == "L" and image.getextrema() == (0, 255):  # a coverage already, as most masks are
            return ImageOps.invert(image) if invert else image
    coverage = _coverage(np.asarray(image))
    return Image.fromarray(255 - coverage if invert else coverage)


def denoised(mask: Image.Image) -> Image.Image:
    """A mask from lossy compression: levels within ``COMPRESSION_NOISE`` of black and white become that."""
    last = 255 - COMPRESSION_NOISE
    return mask.point([0 if v <= COMPRESSION_NOISE else 255 if v >= last else v for v in range(256)])


def hole_from_mask(mask: Image.Image) -> NDArray[np.bool_]:
    """Take a mask of any mode as yes or no: ``(H, W)`` bool, True where its coverage is 128 or more."""
    return np.asarray(mask_from_image(mask)) >= HOLE


def has_hole(mask: Image.Image) -> bool:
    """Whether a coverage (``L``) marks any pixel as hole."""
    return bool(np.max(mask.getextrema()) >= HOLE)


def count_invisible(filled: Native, mask: Image.Image) -> int:
    """Pixels that a coverage (``L``) marks as hole and alpha hides."""
    if isinstance(filled, Image.Image) and not filled.has_transparency_data:
        return 0
    pixels = np.asarray(to_plain(filled) if isinstance(filled, Image.Image) else filled)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return 0
    return int(np.count_nonzero((np.asarray(mask) >= HOLE) & (pixels[..., -1] == 0)))


def _coverage(pixels: Pixels) -> NDArray[np.uint8]:
    """Coverage 0 to 255 of ``(H, W)`` or ``(H, W, C)``, C up to 4, of any depth, or of bools."""
    pixels = np.where(pixels, 255, 0).astype(np.uint8) if pixels.dtype == np.bool_ else pixels
    pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    values = pixels if pixels.ndim == 2 else _strength(np.asarray(to_8_bit(pixels)))
    low, high = values.min(), values.max()
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    if low < high and np.all((values == low) | (values == high)):
        return np.where(values == high, 255, 0).astype(np.uint8)
    coverage = np.asarray(to_8_bit(values))
    if low < high and coverage.max() < HOLE:
        raise MaskError(
            f"the mask has many values, from {low:g} to {high:g}, all nearer to black than to white; "
            "expected two values, or white for the holes"
        )
    return coverage


def _strength(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightest channel times alpha, or alpha alone where the mask was drawn in black."""
    if pixels.shape[2] == 3:
        return pixels.max(axis=-1)
    brightness, alpha = pixels[..., :-1].max(axis=-1), pixels[..., -1]
    drawn_in_black = alpha.min() != alpha.max() and not np.any((alpha >= HOLE) & (brightness >= HOLE))
    product = (255 if drawn_in_black else brightness.astype(np.uint16)) * alpha.astype(np.uint16)
    return (product // 255).astype(np.uint8)
