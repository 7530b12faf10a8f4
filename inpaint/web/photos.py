"""Photos from outside: limits, checks before decoding, safe names, views at screen size."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from inpaint.errors import ImageError
from inpaint.images import WRITABLE_FORMATS, ImageFile, read_file
from inpaint.images.depth import Pixels, find_range

PREVIEW_SIDE = 2048
_LONGEST_NAME = 60
Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the photo; bottom and right are outside."""


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for: this protects the server, and the patience of who waits behind them."""

    file_bytes: int = 200 * 2**20
    pixels: int = 100_000_000
    waiting: int = 40
    """Jobs in the queue; further ones are turned away with a message."""
    keep_seconds: int = 3600
    """How long photos and results stay after they were last used."""
    visitor_bytes: int = 8 * 2**30
    """What one visitor (one address) may upload and store within that time."""
    visitor_jobs: int = 8


def read_upload(path: Path, limits: Limits, called: str) -> ImageFile:
    """Read an image file from outside; errors have the visitor's name of it, not the server's path."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{called} is no longer on the server; upload it again") from error
    if size > limits.file_bytes:
        most = limits.file_bytes / 2**20
        raise ImageError(f"{called} has {size / 2**20:.0f} MB, the limit is {most:.0f} MB")
    try:
        file = read_file(path, max_pixels=limits.pixels)
        file.load(0)  # decoded now: what is damaged shows
        return file
    except ImageError as error:
        raise ImageError(str(error).replace(repr(str(path)), called)) from error


def suffix_of(file: ImageFile) -> str:
    """Suffix of results in the photo's own format; ``.png`` where that cannot be written."""
    own = file.path.suffix.lower()
    if WRITABLE_FORMATS.get(own) == file.format:
        return own
    return next((suffix for suffix, name in WRITABLE_FORMATS.items() if name == file.format), ".png")


def safe_name(name: str) -> str:
    """A file name without folder, control characters or surprises; never empty, never hidden."""
    bare = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w.()\[\] +-]", "_", bare).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    if dot and f".{suffix.lower()}" in WRITABLE_FORMATS:
        return f"{stem[:_LONGEST_NAME] or 'photo'}.{suffix}"
    return kept[:_LONGEST_NAME] or "photo"


def preview_size(height: int, width: int, side: int = PREVIEW_SIDE) -> tuple[int, int]:
    """``(height, width)`` at most ``side`` large."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def view(pixels: Pixels, box: Box, size: tuple[int, int]) -> Image.Image:
    """A part of a photo of any depth as the screen shows it, RGB or RGBA; ``size`` is ``(height, width)``."""
    top, left, bottom, right = box
    part = pixels[top:bottom, left:right]
    if part.dtype != np.uint8:
        values = find_range(part, np.zeros(part.shape[:2], np.bool_))
        part = np.rint(values.to_unit(part) * 255).astype(np.uint8)
    height, width = size
    method = cv2.INTER_AREA if width <= part.shape[1] and height <= part.shape[0] else cv2.INTER_CUBIC
    small = part if part.shape[:2] == size else cv2.resize(part, (width, height), interpolation=method)
    shown = Image.fromarray(np.ascontiguousarray(small))
    return shown.convert("RGBA" if "A" in shown.getbands() else "RGB")


def encode_view(image: Image.Image) -> tuple[bytes, str]:
    """Bytes for the browser and their media type: JPEG, or PNG where there is alpha."""
    buffer = io.BytesIO()
    if image.mode == "RGBA":
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue(), "image/jpeg"
