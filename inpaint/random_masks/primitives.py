"""What random masks consist of, drawn for many masks at once: lines, boxes and placed objects.

Everything here is a handful of numbers a mask, so that many masks are drawn at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from inpaint.random_masks.recipes import BoxRecipe, MaskRecipe, StrokeRecipe
from inpaint.random_masks.shapes import ObjectShapes

Size = tuple[int, int]  # (H, W)

_MAX_SEGMENTS = 5
_MAX_OBJECTS = 4


class Parts(NamedTuple):
    """Parts of several masks: tables of int64 with a row a part; the first column says of which mask."""

    lines: Tensor
    """``(N, 6)``: mask, x and y of one end, x and y of the other, width of the round brush."""
    boxes: Tensor
    """``(N, 5)``: mask, top, left, bottom, right; bottom and right are outside."""
    objects: Tensor
    """``(N, 9)``: mask, number within it, shape, top, left, height, width, mirrored in y, in x."""


def join_parts(*groups: Parts) -> Parts:
    """All parts of several groups."""
    return Parts(*(torch.cat(tables) for tables in zip(*groups, strict=True)))


def no_parts() -> Parts:
    """Nothing to paint."""
    return Parts(*(torch.zeros(0, columns, dtype=torch.int64) for columns in (6, 5, 9)))


def draw_recipe(
    recipe: MaskRecipe, count: int, size: Size, generator: Generator, scale: float = 1.0
) -> Parts:
    """LaMa's masks: each consists of boxes with the probability ``box_share``, else of lines."""
    masks = torch.arange(count)
    with_boxes = _uniform((count,), generator) < recipe.box_share
    with_lines = masks[~with_boxes]
    lines = draw_lines([recipe.strokes], torch.zeros_like(with_lines), with_lines, size, generator, scale)
    if recipe.boxes is None:
        return lines
    return join_parts(lines, draw_boxes(recipe.boxes, masks[with_boxes], size, generator, scale))


def draw_lines(
    recipes: Sequence[StrokeRecipe],
    which: Tensor,
    masks: Tensor,
    size: Size,
    generator: Generator,
    scale: float = 1.0,
) -> Parts:
    """LaMa's broken lines of changing width.

    Each of ``min_times`` to ``max_times + 1`` strokes starts anywhere and has one to five segments. The angle
    is 0.01 plus a whole number of radians below ``max_angle`` (mirrored in every other stroke), the length 10
    plus up to ``max_length``, the width 5 plus up to ``max_width``; all end at the image's border.

    Args:
        recipes: the numbers.
        which: ``(K,)`` int64, the recipe of each mask.
        masks: ``(K,)`` int64, the masks that get lines.
        size: (H, W) of the masks.
        generator: a CPU generator; it is advanced.
        scale: factor of lengths and widths.
    """
    height, width = size
    numbers = torch.tensor([astuple(recipe) for recipe in recipes], dtype=torch.float64)[which]
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
    return no_parts()._replace(lines=torch.stack(lines)[drawn].long())


def draw_boxes(
    recipe: BoxRecipe, masks: Tensor, size: Size, generator: Generator, scale: float = 1.0
) -> Parts:
    """LaMa's boxes, ``min_times`` to ``max_times`` a mask, sides from ``min_size`` to ``max_size``.

    There are none where the image leaves no room inside the margin. The arguments are those of
    :func:`draw_lines`.
    """
    height, width = size
    margin = round(recipe.margin * scale)
    smallest = max(1, round(recipe.min_size * scale))
    largest = min(round(recipe.max_size * scale), height - 2 * margin, width - 2 * margin)
    times = recipe.min_times + _below(recipe.max_times - recipe.min_times + 1, len(masks), generator)
    owner, _ = _spread(masks, times)
    along_h, along_w, along_y, along_x = _uniform((4, len(owner)), generator)
    if largest < 1:
        return no_parts()
    choices = max(1, largest - smallest + 1)
    box_height = (smallest + (along_h * choices).floor()).clamp(max=largest)
    box_width = (smallest + (along_w * choices).floor()).clamp(max=largest)
    top = margin + (along_y * (height - 2 * margin - box_height + 1)).floor()
    left = margin + (along_x * (width - 2 * margin - box_width + 1)).floor()
    boxes = torch.stack([owner, top, left, top + box_height, left + box_width], dim=1)
    return no_parts()._replace(boxes=boxes.long())


def draw_objects(shapes: ObjectShapes, masks: Tensor, size: Size, generator: Generator) -> Parts:
    """One to four object shapes a mask, scaled, stretched, mirrored and moved.

    A shape covers 2 to 27 % of the image, unless its box would then outgrow the image by more than a
    fifth. Its centre comes anywhere inside the image; what leaves it is cut off.
    """
    height, width = size
    owner, number = _spread(masks, 1 + _below(_MAX_OBJECTS, len(masks), generator))
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
    columns = [owner, number, shape, top, left, box_height, box_width, flip_y < 0.5, flip_x < 0.5]
    return no_parts()._replace(objects=torch.stack([column.long() for column in columns], dim=1))


def _spread(masks: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each mask ``times`` times: the mask of every part, and the part's number within it."""
    first = times.cumsum(0) - times
    owner = masks.repeat_interleave(times)
    return owner, torch.arange(len(owner)) - first.repeat_interleave(times)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _below(limit: int, count: int, generator: Generator) -> Tensor:
    return torch.randint(limit, (count,), generator=generator)
