"""Small photo files, and the config of a run over them."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaint.data.batches import Batch, Batches
from inpaint.data.config import DataConfig


def write_photo(path: Path, seed: int, width: int = 20, height: int = 16) -> Path:
    """A photo of noise, told by its seed; lossless unless it is a JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, lossless=True)
    return path


def write_photos(folder: Path, count: int, **size: int) -> list[Path]:
    """Photos 0.png, 1.png, ... of noise."""
    return [write_photo(folder / f"{number}.png", number, **size) for number in range(count)]


def write_shard(path: Path, photos: Sequence[Path], mode: str = "w") -> Path:
    """A tar file of photos."""
    with tarfile.open(path, mode) as shard:  # type: ignore[call-overload]
        for photo in photos:
            shard.add(photo, arcname=photo.name)
    return path


def data_config(photos: Path | Sequence[Path], out: Path, **changes) -> DataConfig:
    """A run of ten batches of four small pictures."""
    sources = (photos,) if isinstance(photos, Path) else tuple(photos)
    settings = {"photos": sources, "out": out, "batch_size": 4, "images": 40, "size": 32, "photo_size": 40}
    if changes.get("keep") == "disk":
        settings |= {"photo_size": None, "workers": 0}
    return DataConfig(**(settings | changes))


def open_batches(config: DataConfig, rows: slice | None = None, on_problem=None) -> Batches:
    """The batches of a run on the processor; a problem fails the test unless it is expected."""

    def unexpected(line: str) -> None:
        raise AssertionError(line)

    return Batches(config, torch.device("cpu"), on_problem or unexpected, rows)


def same(first: Batch, second: Batch) -> bool:
    """Are two batches equal to the last bit?"""
    return torch.equal(first.image, second.image) and torch.equal(first.mask, second.mask)
