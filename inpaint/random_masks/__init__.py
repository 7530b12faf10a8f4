"""Seeded random masks, for training and evaluation: strokes, boxes, object shapes and their mixture.

    kind                  what it draws
    thin, medium, thick   LaMa's test masks: strokes, or boxes now and then
    train                 LaMa's training masks: strokes or boxes, half and half
    boxes                 one to four boxes
    objects               one to four object shapes
    mixed                 the training mixture: 40 % strokes, 40 % objects, 20 % both together

The numbers are LaMa's for a short side of 256 or (thin, medium, thick) 512 pixels; at other sizes those of
256 are scaled.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from inpaint.errors import ConfigError, ShapeError
from inpaint.random_masks.drawing import Canvas, draw_boxes, draw_lines, draw_objects, draw_recipe
from inpaint.random_masks.recipes import (
    DESIGN_SIZE,
    DRAWING_VERSION,
    LAMA_KINDS,
    LAMA_RECIPES,
    MASK_KINDS,
    MIXED_SHARES,
    MIXED_STROKES,
    TRAIN_BOXES,
    check_kind,
    default_limit,
)
from inpaint.random_masks.shapes import ObjectShapes, read_shapes

__all__ = [
    "DRAWING_VERSION", "MASK_KINDS", "ObjectShapes",
    "default_limit", "draw_candidates", "make_masks", "read_shapes",
]  # fmt: skip

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
    masks, refused = np.empty((count, height, width), np.uint8), np.arange(count)
    for _ in range(_ATTEMPTS + 1):
        masks[refused] = draw_candidates(kind, len(refused), height, width, generator, shapes=shapes)
        holes = np.array([np.count_nonzero(mask) for mask in masks[refused]])  # ten times faster than a sum
        refused = refused[(holes == 0) | (holes > most)]
        if len(refused) == 0:
            break
    if len(refused):  # in images of a few pixels, where every stroke covers everything
        masks[refused] = 0
        masks[refused, height // 2, width // 2] = 1
    return torch.from_numpy(masks).float()[:, None]


def draw_candidates(
    kind: str,
    count: int,
    height: int,
    width: int,
    generator: Generator,
    *,
    shapes: ObjectShapes | None = None,
) -> Canvas:
    """Draw masks ``(count, height, width)`` uint8 as they come, before :func:`make_masks` refuses any."""
    check_kind(kind)
    if height < 1 or width < 1 or height * width < 2:
        raise ShapeError(f"got masks of {height} x {width}; a hole and a known pixel need at least 2 pixels")
    canvas, short_side = np.zeros((count, height, width), np.uint8), min(height, width)
    masks, scale = torch.arange(count), short_side / DESIGN_SIZE
    if kind in LAMA_KINDS:
        # Sides of 256 and (except for train) 512 pixels have numbers of their own.
        own = LAMA_RECIPES.get(f"{kind}_{short_side}")
        draw_recipe(canvas, own or LAMA_RECIPES[f"{kind}_256"], generator, 1.0 if own else scale)
    elif kind == "boxes":
        draw_boxes(canvas, masks, TRAIN_BOXES, generator, scale)
    elif kind == "objects":
        if shapes is None:
            raise ConfigError("masks of kind 'objects' need object shapes: name a folder or a zip of them")
        draw_objects(canvas, masks, shapes, generator)
    else:
        draw = torch.rand(count, generator=generator)
        with_lines = (draw < MIXED_SHARES["irregular"]) | (draw >= 1 - MIXED_SHARES["both"])
        with_objects = masks[draw >= MIXED_SHARES["irregular"]]
        which = torch.randint(len(MIXED_STROKES), (count,), generator=generator)
        draw_lines(canvas, masks[with_lines], MIXED_STROKES, which[with_lines], generator, scale)
        if shapes is None:
            draw_boxes(canvas, with_objects, TRAIN_BOXES, generator, scale)
        else:
            draw_objects(canvas, with_objects, shapes, generator)
    return canvas
