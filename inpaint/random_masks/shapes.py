"""Silhouettes to cut object-shaped holes with, from a folder or a zip of images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaint.errors import DataError

SIDE = 256
"""Every silhouette is kept stretched to a square of so many pixels, which smooths those that are smaller."""


@dataclass(frozen=True)
class ObjectShapes:
    """Object silhouettes, each cropped to its own box; 8 kB apiece."""

    # `(N, SIDE, SIDE / 8)` uint8, eight pixels a byte, the leftmost in the highest bit, 1 = object
    bits: Tensor
    sizes: Tensor  # `(N, 2)` int64, the true (height, width) in pixels
    areas: Tensor  # `(N,)` float64, the part of its box that each covers, in (0, 1]

    @classmethod
    def from_images(cls, images: Iterable[NDArray]) -> ObjectShapes:
        """Take 2-D arrays, non-zero = object; empty ones are skipped. DataError if none is left."""
        squares, sizes, areas = [], [], []
        for image in images:
            rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
            if len(rows) == 0:
                continue
            box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] != 0
            # The bit-exact variant: a seed shall draw the same holes on every machine.
            square = cv2.resize(box * np.uint8(255), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR_EXACT) > 127
            squares.append(np.packbits(square, axis=1))
            sizes.append(box.shape)
            areas.append(max(square.mean(), 1 / square.size))
        if not squares:
            raise DataError("got no object shape; expected PNG images with the object in white")
        bits = torch.from_numpy(np.stack(squares))
        return cls(bits, torch.tensor(sizes), torch.tensor(areas, dtype=torch.float64))

    def __len__(self) -> int:
        """Number of shapes."""
        return len(self.bits)


def read_shapes(path: str | Path) -> ObjectShapes:
    """Read object shapes from every PNG of a folder or of a zip file, white = object.

    DataError if the path is missing, neither folder nor zip, holds no shape, or an image cannot be read.
    """
    path = Path(path)
    try:
        return ObjectShapes.from_images(_read_images(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, zipfile.BadZipFile) as error:
        told = f"cannot read object shapes from {path} ({error}); expected a folder or a zip of PNGs"
        raise DataError(told) from error


def _read_images(path: Path) -> Iterator[NDArray]:
    if path.is_dir():
        yield from (_read_image(file) for file in sorted(path.glob("*.png")))
        return
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.lower().endswith(".png"):
                yield _read_image(io.BytesIO(archive.read(name)))


def _read_image(source: Path | io.BytesIO) -> NDArray:
    with Image.open(source) as image:
        return np.asarray(image.convert("L")) > 127
