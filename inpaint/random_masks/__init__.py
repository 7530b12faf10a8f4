"""Seeded random masks, for training and evaluation: strokes, boxes, object shapes and their mixture.

    kind                  what it draws
    thin, medium, thick   LaMa's test masks: strokes, or boxes now and then
    train                 LaMa's training masks: strokes or boxes, half and half
    boxes                 one to four boxes
    objects               one to four object shapes
    mixed                 the training mixture: 40 % strokes, 40 % objects, 20 % both together

The numbers are LaMa's for a short side of 256 or (thin, medium, thick) 512 pixels; at other sizes those of
256 are scaled. What a mask consists of is drawn in tables (``primitives``) and then painted (``painting``).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from inpaint.errors import ConfigError, ShapeError
from inpaint.random_masks.painting import count_holes, paint
from inpaint.random_masks.primitives import (
    Parts,
    Size,
    draw_boxes,
    draw_lines,
    draw_objects,
    draw_recipe,
    join_parts,
)
from inpaint.random_masks.recipes import (
    DESIGN_SIZE,
    DRAWING_VERSION,
    LAMA_KINDS,
    LAMA_RECIPES,
    MASK_KINDS,
    MAX_HOLE_RATIO,
    MIXED_SHARES,
    MIXED_STROKES,
    TRAIN_BOXES,
    check_kind,
    default_limit,
    find_recipe,
)
from inpaint.random_masks.shapes import ObjectShapes, read_shapes

__all__ = [
    "DRAWING_VERSION",
    "LAMA_RECIPES",
    "MASK_KINDS",
    "MAX_HOLE_RATIO",
    "ObjectShapes",
    "default_limit",
    "draw_candidates",
    "draw_parts",
    "make_masks",
    "read_shapes",
]

_ATTEMPTS = 200


def make_masks(
    kind: str,
    count: int,
    height: int,
    width: int,
    generator: Generator,
    *,
    shapes: ObjectShapes | None = None,
    max_hole_ratio: float | None = None,
) -> Tensor:
    """Make masks of one kind; each has at least one hole pixel and one known pixel.

    Args:
        kind: one of ``MASK_KINDS``, the table above.
        count: number of masks; the same generator state and count give the same masks.
        height: pixels.
        width: pixels.
        generator: a CPU generator; it is advanced.
        shapes: object shapes; for "mixed", boxes stand in where there are none.
        max_hole_ratio: masks with a larger share of holes are drawn again; by default 0.5 for LaMa's test
            masks, as published, and 0.75 for the others.

    Returns:
        ``(count, 1, height, width)`` float32, 1 = hole.

    Raises:
        ConfigError: an unknown kind, or objects without shapes.
        ShapeError: fewer than two pixels.
    """
    limit = default_limit(kind) if max_hole_ratio is None else max_hole_ratio
    most = min(limit * height * width, height * width - 1)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        drawn = draw_candidates(kind, number, height, width, generator, shapes=shapes)
        holes = count_holes(drawn)
        return drawn.view(torch.uint8).float(), (holes == 0) | (holes > most)  # bool().float() is slow

    masks, is_refused = draw(count)
    refused = is_refused.nonzero()[:, 0]
    for _ in range(_ATTEMPTS):
        if len(refused) == 0:
            break
        masks[refused], is_refused = draw(len(refused))
        refused = refused[is_refused]
    if len(refused):  # in images of a few pixels, where every stroke covers everything
        masks[refused] = 0
        masks[refused, height // 2, width // 2] = 1
    return masks[:, None]


def draw_candidates(
    kind: str,
    count: int,
    height: int,
    width: int,
    generator: Generator,
    *,
    shapes: ObjectShapes | None = None,
) -> Tensor:
    """Draw masks as they come, before any is refused: they may be empty or full.

    Returns:
        ``(count, height, width)`` bool, True = hole. All else is as in :func:`make_masks`.
    """
    if height < 1 or width < 1 or height * width < 2:
        raise ShapeError(f"got masks of {height} x {width}; a hole and a known pixel need at least 2 pixels")
    parts = draw_parts(kind, count, (height, width), generator, shapes)
    return paint(parts, count, (height, width), shapes)


def draw_parts(kind: str, count: int, size: Size, generator: Generator, shapes: ObjectShapes | None) -> Parts:
    """Draw what ``count`` masks of a kind consist of; arguments as in :func:`make_masks`."""
    check_kind(kind)
    masks, scale = torch.arange(count), min(size) / DESIGN_SIZE
    if kind in LAMA_KINDS:
        recipe, scale = find_recipe(kind, min(size))
        return draw_recipe(recipe, count, size, generator, scale)
    if kind == "boxes":
        return draw_boxes(TRAIN_BOXES, masks, size, generator, scale)
    if kind == "objects":
        if shapes is None:
            raise ConfigError("masks of kind 'objects' need object shapes: name a folder or a zip of them")
        return draw_objects(shapes, masks, size, generator)
    draw = torch.rand(count, generator=generator)
    with_lines = (draw < MIXED_SHARES["irregular"]) | (draw >= 1 - MIXED_SHARES["both"])
    with_objects = masks[draw >= MIXED_SHARES["irregular"]]
    which = torch.randint(len(MIXED_STROKES), (count,), generator=generator)
    lines = draw_lines(MIXED_STROKES, which[with_lines], masks[with_lines], size, generator, scale)
    if shapes is None:
        return join_parts(lines, draw_boxes(TRAIN_BOXES, with_objects, size, generator, scale))
    return join_parts(lines, draw_objects(shapes, with_objects, size, generator))
