"""A fill without a network, and images to try it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from inpaint.errors import ImageError
from inpaint.images import hole_from_mask, read_file, write_file
from inpaint.images.depth import find_range

COLOUR = (0.2, 0.6, 0.4)


def paint(image: Any, mask: Image.Image) -> Any:
    """Fill holes with one colour, as a pipeline does it: known pixels and alpha stay."""
    pixels, hole = np.array(image), hole_from_mask(mask)
    assert pixels.shape[:2] == hole.shape, "the mask is upright, and so is the image"
    found = find_range(pixels, hole)
    colour = found.from_unit(np.array(COLOUR, np.float32), pixels.dtype)
    if pixels.ndim == 2 or pixels.shape[2] == 2:
        (pixels if pixels.ndim == 2 else pixels[..., 0])[hole] = colour[1]
    else:
        pixels[..., :3][hole] = colour
    return Image.fromarray(pixels) if isinstance(image, Image.Image) else pixels


def scene(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    """``(H, W, 3)`` uint8: smooth shapes and some noise, different everywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.stack([128 + 80 * np.sin(x / 17 + c + seed) * np.cos(y / 13 + c) for c in range(3)], -1)
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 1))
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def mask_of(height: int, width: int, top: int = 10, left: int = 20, side: int = 15) -> Image.Image:
    """A square hole away from the middle, so that every turn of it is another mask."""
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return Image.fromarray(mask)


def opened(path: Path) -> Any:
    """A Pillow image with what only some formats have: frames, quantisation."""
    return Image.open(path)


def cv_read(path: Path) -> np.ndarray:
    """What OpenCV reads, in any depth, blue first."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def fill_file(source: Path, target: Path, *masks: Image.Image, **options: Any) -> list[str]:
    """Read, fill and write one file; the notes come back."""
    file = read_file(source)
    width, height = file.size
    file.fill(paint, masks or [mask_of(height, width)])
    return write_file(file, target, **options)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Random bytes of this shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    """Save an image under a name; gives its path."""
    path = tmp_path / name
    image.save(path, **options)
    return path


def one_line(call: Callable[[], object], error: type[Exception] = ImageError) -> str:
    """The message of the error that a call must raise: one line, of exactly this class."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert message and "\n" not in message
    return message
