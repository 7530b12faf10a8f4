"""Values of any depth as the network sees them, [0, 1], and back: 8 to 32 bits, signed, float, HDR."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaint.errors import ImageError

Pixels = NDArray[Any]
"""``(H, W)`` grey or ``(H, W, C)`` with C = 2 grey + alpha, 3 RGB, 4 RGB + alpha; integers or floats."""

_WHITES = (255, 1023, 4095, 16383, 65535)  # 8, 10, 12, 14 and 16 bits; sensors deliver these in 16-bit files
_SAMPLES = 1_000_000  # of large images, for the median and percentiles
_IMPLAUSIBLE = 1e30  # such as -3.4e38, which marks missing data in maps


@dataclass(frozen=True)
class ValueRange:
    """How values become [0, 1]: linear from ``low`` to ``high``, or logarithmic where ``scale`` is given.

    For HDR ``low`` is 0, and the network sees ``log(1 + v / scale) / log(1 + high / scale)``.
    """

    low: float
    high: float
    scale: float | None = None

    def to_unit(self, values: Pixels) -> NDArray[np.float32]:
        """Values of the image to float32 in [0, 1], clipped; NaN becomes 0."""
        unit = values.astype(np.float32)  # and from here in place: photos are large
        if self.low:
            unit -= np.float32(self.low)
        unit /= np.float32(self.high - self.low)
        if values.dtype.kind == "f" and not np.isfinite(unit).all():
            np.nan_to_num(unit, copy=False)
        np.clip(unit, 0, 1, out=unit)
        if self.scale is None:
            return unit
        ratio = self.high / self.scale
        return (np.log1p(unit * np.float32(ratio)) / np.float32(np.log1p(ratio))).astype(np.float32)

    def from_unit(self, unit: NDArray[np.float32], dtype: np.dtype) -> Pixels:
        """A fill in [0, 1] to values of the image: rounded for integers, clipped to the range."""
        deep = dtype.kind == "f" or dtype.itemsize > 2  # float32 holds more than 16 bits
        exact = np.clip(unit, 0, 1).astype(np.float64 if deep else np.float32, copy=False)
        if self.scale is not None:
            ratio = self.high / self.scale
            exact = np.expm1(exact * np.log1p(ratio)) / ratio
        exact *= self.high - self.low
        exact += self.low
        if dtype.kind in "iu":
            if deep:  # float64 cannot hold the last of 64 bits
                low, high = np.iinfo(dtype).min, np.nextafter(float(np.iinfo(dtype).max), 0)
                np.clip(exact, low, high, out=exact)
            np.rint(exact, out=exact)
        return exact.astype(dtype)


def find_range(image: Pixels, hole: NDArray[np.bool_] | None = None) -> ValueRange:
    """Find what the values of an image mean from its known pixels; alpha is not looked at.

    Integers end at the first of 255, 1023, 4095, 16383, 65535 that holds all; 8 bits always at 255. Floats up
    to 1 end at 1. Larger floats are display values up to 255 or 65535 where they fill such a range evenly,
    and otherwise light: HDR, whose logarithm the network sees. A range that reaches well below zero is
    linear.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``.
        hole: ``(H, W)``, True = hole, if any. Values there do not count, not even NaN.

    Raises:
        ImageError: NaN, infinity, complex numbers, or values far from all others; the range is told.
    """
    if image.dtype == np.uint8:
        return ValueRange(0, 255)
    if image.dtype.kind not in "uif":
        raise ImageError(f"got values of type {image.dtype}, expected integers or floats: convert the image")
    colours = image if image.ndim == 2 else image[..., : image.shape[2] - (image.shape[2] in (2, 4))]
    known = colours if hole is None else colours[~hole]
    if not known.size:
        known = np.zeros(1, image.dtype)
    low, high = float(known.min()), float(known.max())
    advice = "mark such pixels in the mask, or convert the image"
    if not np.isfinite([low, high]).all():
        count = int((~np.isfinite(known)).sum())
        raise ImageError(f"got {count} values that are NaN or infinite outside the mask: {advice}")
    few = known.reshape(-1)[:: max(1, known.size // _SAMPLES)].astype(np.float64)
    first, median, last = np.percentile(few, (1, 50, 99))
    if max(-low, high) > _IMPLAUSIBLE or (low < 0 and low < first - 20 * max(last - first, high - first)):
        raise ImageError(
            f"got values from {low:g} to {high:g}, nearly all from {first:g} to {last:g}; cannot tell what "
            f"they mean: {advice}"
        )
    least, far = float(few[few > low].min(initial=high)), 2 if low <= -999 else 20
    if low < 0 and least - low > far * max(abs(least), high, 1):  # however many pixels have that value
        others = f"{low:g} and others from {least:g} to {high:g}"
        raise ImageError(f"got values of {others}; the former seem to mark missing data: {advice}")
    is_float = image.dtype.kind == "f"
    ringing = 0.05 * abs(high) if is_float else 0  # a little below zero, where floats were resized
    if low < -ringing:
        return ValueRange(low, max(high, low + 1e-12))
    if is_float:
        return _float_range(high, float(median), few)
    largest = float(np.iinfo(image.dtype).max)
    return ValueRange(0, next((min(white, largest) for white in _WHITES if high <= white), high))


def _float_range(high: float, median: float, values: NDArray[np.float64]) -> ValueRange:
    """The range of floats that start at about 0."""
    if high <= 1:
        return ValueRange(0, 1 if high > 1 / 64 else high or 1)  # light measured in small units fills [0, 1]
    for white in (255, 65535):
        if white / 4 < high <= white and median > white / 50:
            return ValueRange(0, white)
    positive = values[values > 0]
    middle = float(np.median(positive)) if positive.size else high
    return ValueRange(0, high, scale=max(middle / 16, high * 1e-6))


def rescale(pixels: Pixels, white: int, new_white: int) -> Pixels:
    """Scale unsigned integers that end at ``white`` to ``new_white``, rounded; to more, one to one."""
    if white == new_white or pixels.dtype.kind != "u":
        return pixels
    table = np.rint(np.arange(white + 1) * (new_white / white)).astype(pixels.dtype)
    return table[np.minimum(pixels, white)]


def to_array(image: Image.Image, box: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """A new array, of a box (left, upper, right, lower) as Pillow has it, or of the whole image.

    It is made in strips that stay in the cache, which is four times as fast as whole.
    """
    left, upper, right, lower = box or (0, 0, *image.size)
    bands = len(image.getbands())
    pixels = np.empty((lower - upper, right - left, bands)[: 2 + (bands > 1)], np.uint8)
    for top in range(upper, lower, 64):
        bottom = min(top + 64, lower)
        pixels[top - upper : bottom - upper] = np.asarray(image.crop((left, top, right, bottom)))
    return pixels
