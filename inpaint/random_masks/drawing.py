"""What random masks consist of: lines, boxes and placed objects, drawn for many masks at once.

The random numbers of all masks are drawn first, as tables, and then painted with OpenCV on a canvas, a
``(count, H, W)`` array of uint8 with 1 = hole. ``masks`` are the numbers ``(K,)`` int64 of those that get
something; ``generator`` is a CPU generator, which is advanced.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from inpaint.random_masks.shapes import SIDE, ObjectShapes

Canvas = NDArray[np.uint8]
_MAX_SEGMENTS = 5
_MAX_OBJECTS = 4


class StrokeRecipe(NamedTuple):
    """Numbers of the strokes, in pixels; see :func:`draw_lines`."""

    min_times: int
    max_times: int
    max_width: int
    max_length: int
    max_angle: int = 4


class BoxRecipe(NamedTuple):
    """Numbers of the boxes, in pixels; see :func:`draw_boxes`."""

    min_times: int
    max_times: int
    min_size: int
    max_size: int
    margin: int


class MaskRecipe(NamedTuple):
    """A mask consists of boxes with the probability ``box_share``, else of strokes."""

    strokes: StrokeRecipe
    boxes: BoxRecipe | None = None
    box_share: float = 0.0


def draw_recipe(canvas: Canvas, recipe: MaskRecipe, generator: Generator, scale: float = 1.0) -> None:
    """Draw LaMa's masks on a whole canvas."""
    masks = torch.arange(len(canvas))
    with_boxes = _uniform((len(canvas),), generator) < recipe.box_share
    which = torch.zeros_like(masks[~with_boxes])
    draw_lines(canvas, masks[~with_boxes], [recipe.strokes], which, generator, scale)
    if recipe.boxes is not None:
        draw_boxes(canvas, masks[with_boxes], recipe.boxes, generator, scale)


def draw_lines(
    canvas: Canvas,
    masks: Tensor,
    recipes: Sequence[StrokeRecipe],
    which: Tensor,
    generator: Generator,
    scale: float = 1.0,
) -> None:
    """LaMa's broken lines of changing width.

    Each of ``min_times`` to ``max_times + 1`` strokes starts anywhere and has one to five segments. The angle
    is 0.01 plus a whole number of radians below ``max_angle`` (mirrored in every other stroke), the length 10
    plus up to ``max_length``, the width 5 plus up to ``max_width``; all end at the image's border. ``which``
    is the recipe of each mask, ``scale`` a factor of lengths and widths.
    """
    height, width = canvas.shape[1:]
    numbers = torch.tensor(recipes, dtype=torch.float64)[which]
    fewest, most = numbers[:, 0], numbers[:, 1]
    times = fewest + (_uniform((len(masks),), generator) * (most - fewest + 2)).floor()
    owner, number = _spread(masks, times.long())
    max_width, max_length, max_angle = numbers[:, 2:].repeat_interleave(times.long(), dim=0).unbind(1)
    start_x, start_y, segments = _uniform((3, len(owner)), generator)
    turn, length, thickness = _uniform((3, _MAX_SEGMENTS, len(owner)), generator)
    angle = 0.01 + (turn * max_angle).floor()
    angle = torch.where(number % 2 == 0, 2 * math.pi - angle, angle)
    reach = scale * (10 + (length * max_length).floor())
    brush = (scale * (5 + (thickness * max_width).floor())).round().clamp(min=1)
    x, y = (start_x * width).floor(), (start_y * height).floor()
    lines = []
    for step_x, step_y, breadth in zip(reach * angle.sin(), reach * angle.cos(), brush, strict=True):
        end_x, end_y = (x + step_x).clamp(0, width).floor(), (y + step_y).clamp(0, height).floor()
        lines.append(torch.stack([owner, x, y, end_x, end_y, breadth], dim=1))
        x, y = end_x, end_y
    drawn = torch.arange(_MAX_SEGMENTS)[:, None] <= (segments * _MAX_SEGMENTS).floor()
    for mask, x1, y1, x2, y2, breadth in torch.stack(lines)[drawn].long().tolist():
        cv2.line(canvas[mask], (x1, y1), (x2, y2), 1, breadth)


def draw_boxes(
    canvas: Canvas, masks: Tensor, recipe: BoxRecipe, generator: Generator, scale: float = 1.0
) -> None:
    """LaMa's boxes, ``min_times`` to ``max_times`` a mask, sides from ``min_size`` to ``max_size``.

    There are none where the image leaves no room inside the margin.
    """
    height, width = canvas.shape[1:]
    margin = round(recipe.margin * scale)
    smallest = max(1, round(recipe.min_size * scale))
    largest = min(round(recipe.max_size * scale), height - 2 * margin, width - 2 * margin)
    times = recipe.min_times + _below(recipe.max_times - recipe.min_times + 1, len(masks), generator)
    owner, _ = _spread(masks, times)
    along_h, along_w, along_y, along_x = _uniform((4, len(owner)), generator)
    if largest < 1:
        return
    choices = max(1, largest - smallest + 1)
    box_height = (smallest + (along_h * choices).floor()).clamp(max=largest)
    box_width = (smallest + (along_w * choices).floor()).clamp(max=largest)
    top = margin + (along_y * (height - 2 * margin - box_height + 1)).floor()
    left = margin + (along_x * (width - 2 * margin - box_width + 1)).floor()
    boxes = torch.stack([owner, top, left, top + box_height, left + box_width], dim=1)
    for mask, begin_y, begin_x, end_y, end_x in boxes.long().tolist():
        canvas[mask, begin_y:end_y, begin_x:end_x] = 1


def draw_objects(canvas: Canvas, masks: Tensor, shapes: ObjectShapes, generator: Generator) -> None:
    """One to four object shapes a mask, scaled, stretched, mirrored and moved.

    A shape covers 2 to 27 % of the image, unless its box would then outgrow the image by more than a
    fifth. Its centre comes anywhere inside the image; what leaves it is cut off.
    """
    height, width = canvas.shape[1:]
    owner, _ = _spread(masks, 1 + _below(_MAX_OBJECTS, len(masks), generator))
    which, area, stretch, flip_y, flip_x, along_y, along_x = _uniform((7, len(owner)), generator)
    shape = (which * len(shapes)).long()
    shape_height, shape_width = shapes.sizes[shape].double().unbind(1)
    pixels = shapes.areas[shape] * shape_height * shape_width
    scale = ((0.02 + 0.25 * area) * height * width / pixels).sqrt()
    stretch = (0.3 * (2 * stretch - 1)).exp()
    box_height = (scale / stretch * shape_height).clamp(max=1.2 * height).round().clamp(min=1)
    box_width = (scale * stretch * shape_width).clamp(max=1.2 * width).round().clamp(min=1)
    top = (along_y * height - box_height / 2).floor()
    left = (along_x * width - box_width / 2).floor()
    columns = torch.stack([owner, shape, top, left, box_height, box_width, flip_y < 0.5, flip_x < 0.5], dim=1)
    for mask, number, *place in columns.long().tolist():
        stamp(canvas[mask], shapes.bits[number].numpy(), *place)


def stamp(
    mask: Canvas, bits: Canvas, top: int, left: int, height: int, width: int, flip_y: int, flip_x: int
) -> None:
    """Paint one shape, stretched to a box that may leave the mask, by nearest pixels."""
    rows, y = _source(mask.shape[0], top, height, flip_y)
    columns, x = _source(mask.shape[1], left, width, flip_x)
    mask[y, x] |= np.unpackbits(bits, axis=1).take(rows, axis=0).take(columns, axis=1)


def _source(length: int, start: int, extent: int, flip: int) -> tuple[np.ndarray, slice]:
    """Rows (columns) of the stretched shape that lie on a mask of so many, and where they lie."""
    begin, end = max(start, 0), min(start + extent, length)
    place = np.arange(begin, max(begin, end)) - start
    source = (2 * place + 1) * SIDE // (2 * extent)
    return SIDE - 1 - source if flip else source, slice(begin, max(begin, end))


def _spread(masks: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each mask ``times`` times: the mask of every part, and the part's number within it."""
    first = times.cumsum(0) - times
    owner = masks.repeat_interleave(times)
    return owner, torch.arange(len(owner)) - first.repeat_interleave(times)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _below(limit: int, count: int, generator: Generator) -> Tensor:
    return torch.randint(limit, (count,), generator=generator)
