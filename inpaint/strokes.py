"""Seeded random holes, for training and evaluation: strokes, boxes, object shapes and their mixture.

Every mask is float32 with 1 = hole, has at least one hole pixel and one known pixel, and its hole ratio is
capped by drawing again. The same generator state gives the same masks.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from inpaint.errors import ConfigError, DataError, ShapeError

Canvas = NDArray[np.uint8]  # (H, W), 1 = hole
Size = tuple[int, int]  # (H, W)

MAX_HOLE_RATIO = 0.75
_ATTEMPTS = 200
_MAX_SEGMENTS = 5
_DESIGN_SIZE = 256  # the mixed masks' numbers are pixels at this short side, and scale with it


@dataclass(frozen=True)
class StrokeRecipe:
    """Numbers of the irregular strokes, in pixels; how they are used: ``_draw_strokes``."""

    min_times: int
    max_times: int
    max_width: int
    max_length: int
    max_angle: int = 4


@dataclass(frozen=True)
class BoxRecipe:
    """Numbers of the boxes, in pixels."""

    min_times: int
    max_times: int
    min_size: int
    max_size: int
    margin: int


@dataclass(frozen=True)
class MaskRecipe:
    """Strokes or boxes by chance: a mask consists of boxes with probability ``box_share``."""

    strokes: StrokeRecipe
    boxes: BoxRecipe | None = None
    box_share: float = 0.0
    max_hole_ratio: float = 0.5


_TRAIN_BOXES = BoxRecipe(1, 4, 30, 150, 10)
_LAMA_BOX_SHARE = 0.3 / 1.3  # published as weights 1 : 0.3
# LaMa (WACV 2022), configs/data_gen and its training configuration.
LAMA_RECIPES: dict[str, MaskRecipe] = {
    "train_256": MaskRecipe(StrokeRecipe(1, 5, 100, 200), _TRAIN_BOXES, 0.5, MAX_HOLE_RATIO),
    "thin_256": MaskRecipe(StrokeRecipe(4, 50, 10, 40)),
    "medium_256": MaskRecipe(StrokeRecipe(4, 5, 50, 100), BoxRecipe(1, 5, 10, 50, 0), _LAMA_BOX_SHARE),
    "thick_256": MaskRecipe(StrokeRecipe(1, 5, 100, 200), BoxRecipe(1, 3, 30, 150, 10), _LAMA_BOX_SHARE),
    "thin_512": MaskRecipe(StrokeRecipe(4, 70, 20, 100)),
    "medium_512": MaskRecipe(StrokeRecipe(4, 10, 100, 200), BoxRecipe(1, 5, 30, 150, 0), _LAMA_BOX_SHARE),
    "thick_512": MaskRecipe(StrokeRecipe(1, 5, 250, 450), BoxRecipe(1, 4, 30, 300, 10), _LAMA_BOX_SHARE),
}
_MIXED_STROKES = tuple(LAMA_RECIPES[name].strokes for name in ("thin_256", "medium_256", "thick_256"))


class ObjectShapes:
    """Silhouettes to cut object-shaped holes with, each cropped to its own box and kept as bits."""

    def __init__(self, pictures: Iterable[NDArray]) -> None:
        """Take 2-D arrays, non-zero = object; empty ones are skipped. DataError if none is left."""
        self._packed: list[tuple[tuple[int, int], Canvas]] = []
        for picture in pictures:
            rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
            if len(rows):
                shape = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] != 0
                self._packed.append((shape.shape, np.packbits(shape)))
        if not self._packed:
            raise DataError("got no object shape; expected PNG pictures with the object in white")

    @classmethod
    def from_zip(cls, path: str | Path) -> ObjectShapes:
        """Read every PNG of a zip file, white = object; DataError if it is missing, not a zip, or empty."""
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(name for name in archive.namelist() if name.lower().endswith(".png"))
                return cls(_read_shape(io.BytesIO(archive.read(name))) for name in names)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"cannot read object shapes from {path} ({error}); expected a zip of PNGs"
            ) from error

    @classmethod
    def from_folder(cls, path: str | Path) -> ObjectShapes:
        """Read every PNG of a folder, white = object; DataError if one is unreadable or there is none."""
        try:
            return cls(_read_shape(file) for file in sorted(Path(path).glob("*.png")))
        except OSError as error:
            raise DataError(f"cannot read object shapes from {path} ({error}); expected PNGs") from error

    def __len__(self) -> int:
        """Number of shapes."""
        return len(self._packed)

    def __getitem__(self, index: int) -> Canvas:
        """One shape, ``(h, w)`` uint8, 1 = object, without empty border."""
        (height, width), bits = self._packed[index]
        return np.unpackbits(bits, count=height * width).reshape(height, width)


def lama_masks(
    kind: str, count: int, height: int, width: int, generator: Generator, max_hole_ratio: float | None = None
) -> Tensor:
    """Make masks with LaMa's published numbers.

    Args:
        kind: a key of ``LAMA_RECIPES``: thin, medium or thick for 256 or 512 pixels, or train_256.
        count: number of masks.
        height: pixels; the numbers are meant for squares of the size in the name.
        width: pixels.
        generator: a CPU generator; it is advanced.
        max_hole_ratio: masks above it are drawn again; by default the published 0.5 (for training, 0.75).

    Returns:
        ``(count, 1, height, width)`` float32, 1 = hole.

    Raises:
        ConfigError: an unknown kind.
        ShapeError: fewer than two pixels.
    """
    if kind not in LAMA_RECIPES:
        raise ConfigError(f"got mask kind {kind!r}; expected one of {', '.join(LAMA_RECIPES)}")
    recipe = LAMA_RECIPES[kind]
    cap = recipe.max_hole_ratio if max_hole_ratio is None else max_hole_ratio

    def draw() -> Canvas:
        if recipe.boxes is not None and _uniform(generator) < recipe.box_share:
            return _draw_boxes(recipe.boxes, (height, width), generator)
        return _draw_strokes(recipe.strokes, (height, width), generator)

    return _make(draw, count, (height, width), cap)


def make_object_masks(
    count: int, height: int, width: int, generator: Generator, shapes: ObjectShapes
) -> Tensor:
    """Make masks of one to four object shapes each, by chance; all else as in ``make_mixed_masks``."""
    size = (height, width)
    return _make(lambda: _draw_objects(shapes, size, generator), count, size, MAX_HOLE_RATIO)


def make_mixed_masks(
    count: int, height: int, width: int, generator: Generator, shapes: ObjectShapes | None = None
) -> Tensor:
    """Make the training mixture: 40 % irregular strokes, 40 % objects, 20 % both together.

    Strokes are thin, medium or thick with equal chance and scale with the short side.

    Args:
        count: number of masks.
        height: pixels.
        width: pixels.
        generator: a CPU generator; it is advanced.
        shapes: object shapes to draw from; without them, boxes stand in.

    Returns:
        ``(count, 1, height, width)`` float32, 1 = hole, hole ratio at most 0.75.

    Raises:
        ShapeError: fewer than two pixels.
    """
    scale = min(height, width) / _DESIGN_SIZE

    def draw_irregular() -> Canvas:
        recipe = _MIXED_STROKES[_below(len(_MIXED_STROKES), generator)]
        return _draw_strokes(recipe, (height, width), generator, scale)

    def draw_object() -> Canvas:
        if shapes is not None:
            return _draw_objects(shapes, (height, width), generator)
        return _draw_boxes(_TRAIN_BOXES, (height, width), generator, scale)

    def draw() -> Canvas:
        kind = _uniform(generator)
        if kind < 0.4:
            return draw_irregular()
        return draw_object() if kind < 0.8 else draw_irregular() | draw_object()

    return _make(draw, count, (height, width), MAX_HOLE_RATIO)


def _draw_strokes(recipe: StrokeRecipe, size: Size, generator: Generator, scale: float = 1.0) -> Canvas:
    """LaMa's broken lines of changing width.

    Each of ``min_times`` to ``max_times + 1`` strokes starts anywhere and has one to five segments. The angle
    is 0.01 plus a whole number of radians below ``max_angle`` (mirrored in every other stroke), the length 10
    plus up to ``max_length``, the width 5 plus up to ``max_width``; all end at the picture's border.
    """
    height, width = size
    canvas = np.zeros(size, np.uint8)
    times = recipe.min_times + _below(recipe.max_times - recipe.min_times + 2, generator)
    # One draw for the whole mask: x, y, number of segments, then angle, length and width of each segment.
    numbers = torch.rand(times, 3 + 3 * _MAX_SEGMENTS, generator=generator, dtype=torch.float64).tolist()
    for stroke, (along_x, along_y, segments, *rest) in enumerate(numbers):
        x, y = int(along_x * width), int(along_y * height)
        for segment in range(1 + int(segments * _MAX_SEGMENTS)):
            turn, length, breadth = rest[3 * segment : 3 * segment + 3]
            angle = 0.01 + int(turn * recipe.max_angle)
            angle = 2 * math.pi - angle if stroke % 2 == 0 else angle
            reach = scale * (10 + int(length * recipe.max_length))
            thickness = max(1, round(scale * (5 + int(breadth * recipe.max_width))))
            end_x = int(min(max(x + reach * math.sin(angle), 0), width))
            end_y = int(min(max(y + reach * math.cos(angle), 0), height))
            cv2.line(canvas, (x, y), (end_x, end_y), 1, thickness)
            x, y = end_x, end_y
    return canvas


def _draw_boxes(recipe: BoxRecipe, size: Size, generator: Generator, scale: float = 1.0) -> Canvas:
    """LaMa's boxes, up to ``max_times``; none where the picture leaves no room inside the margin."""
    height, width = size
    canvas = np.zeros(size, np.uint8)
    margin = round(recipe.margin * scale)
    smallest = max(1, round(recipe.min_size * scale))
    largest = min(round(recipe.max_size * scale), height - 2 * margin, width - 2 * margin)
    times = recipe.min_times + _below(recipe.max_times - recipe.min_times + 1, generator)
    for along_h, along_w, along_y, along_x in torch.rand(times, 4, generator=generator).tolist():
        if largest < 1:
            break
        box_height = min(largest, smallest + int(along_h * max(1, largest - smallest)))
        box_width = min(largest, smallest + int(along_w * max(1, largest - smallest)))
        top = margin + int(along_y * (height - 2 * margin - box_height + 1))
        left = margin + int(along_x * (width - 2 * margin - box_width + 1))
        canvas[top : top + box_height, left : left + box_width] = 1
    return canvas


def _draw_objects(shapes: ObjectShapes, size: Size, generator: Generator) -> Canvas:
    height, width = size
    canvas = np.zeros(size, np.uint8)
    numbers = torch.rand(1 + _below(4, generator), 7, generator=generator, dtype=torch.float64).tolist()
    for which, area, stretch, flip_x, flip_y, along_x, along_y in numbers:
        shape = shapes[int(which * len(shapes))]
        # The shape covers 2 to 27 % of the picture, unless its box would then outgrow the picture.
        scale = math.sqrt((0.02 + 0.25 * area) * height * width / int(shape.sum()))
        stretch = math.exp(0.3 * (2 * stretch - 1))
        scale_x = min(scale * stretch, 1.2 * width / shape.shape[1]) * (-1 if flip_x < 0.5 else 1)
        scale_y = min(scale / stretch, 1.2 * height / shape.shape[0]) * (-1 if flip_y < 0.5 else 1)
        # The shape's centre comes anywhere inside the picture; what leaves it is cut off.
        shift_x = along_x * width - scale_x * (shape.shape[1] - 1) / 2
        shift_y = along_y * height - scale_y * (shape.shape[0] - 1) / 2
        matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
        drawn = cv2.warpAffine(shape * np.uint8(255), matrix, (width, height))
        canvas = np.maximum(canvas, (drawn > 127).astype(np.uint8))
    return canvas


def _make(draw: Callable[[], Canvas], count: int, size: Size, max_hole_ratio: float) -> Tensor:
    height, width = size
    if height < 1 or width < 1 or height * width < 2:
        raise ShapeError(f"got masks of {height} x {width}; a hole and a known pixel need at least 2 pixels")
    most = min(max_hole_ratio * height * width, height * width - 1)
    masks = np.zeros((count, 1, height, width), np.float32)
    for mask in masks:
        for _ in range(_ATTEMPTS):
            canvas = draw()
            if 0 < cv2.countNonZero(canvas) <= most:
                mask[0] = canvas
                break
        else:  # only in pictures of a few pixels, where every stroke covers everything
            mask[0, height // 2, width // 2] = 1
    return torch.from_numpy(masks)


def _read_shape(source: Path | io.BytesIO) -> NDArray:
    with Image.open(source) as picture:
        return np.asarray(picture.convert("L")) > 127


def _uniform(generator: Generator) -> float:
    return torch.rand((), generator=generator, dtype=torch.float64).item()


def _below(limit: int, generator: Generator) -> int:
    return int(torch.randint(limit, (), generator=generator).item())
