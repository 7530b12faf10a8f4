"""Small photos whose classes a child could tell: red, green, and striped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("green", "red", "striped")


def write_picture(path: Path, kind: str, seed: int, side: int = 40) -> Path:
    """A noisy image of one class, told by its seed."""
    generator = np.random.default_rng(seed)
    colours = {"red": (200, 40, 40), "green": (40, 200, 40), "striped": (120, 120, 120)}
    pixels = np.tile(np.array(colours[kind], np.int64), (side, side, 1))
    if kind == "striped":
        pixels[:, (np.arange(side) // 4) % 2 == 0] += 100
    pixels += generator.integers(-30, 31, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_classes(folder: Path, count: int = 9, classes: Sequence[str] = CLASSES) -> Path:
    """A folder with one sub-folder per class."""
    for number, kind in enumerate(classes):
        for index in range(count):
            write_picture(folder / kind / f"{index}.png", kind, 1000 * number + index)
    return folder


def write_list(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A CSV file of rows with equal columns."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
