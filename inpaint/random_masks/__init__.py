"""Seeded random masks, for training and evaluation: strokes, boxes, object shapes and their mixture.

    kind                  what it draws
    thin, medium, thick   LaMa's test masks: strokes, or boxes now and then
    train                 LaMa's training masks: strokes or boxes, half and half
    boxes                 one to four boxes
    objects               one to four object shapes
    mixed                 the training mixture: 40 % strokes, 40 % objects, 20 % both together

The numbers are LaMa's (WACV 2022, its configs of data generation and training) for a short side of 256 or
(thin, medium, thick) 512 pixels; at other sizes those of 256 are scaled.
"""

import numpy as np
import torch
from torch import Generator, Tensor

from inpaint.errors import ConfigError, ShapeError
from inpaint.random_masks import drawing
from inpaint.random_masks.drawing import BoxRecipe, Canvas, MaskRecipe, StrokeRecipe
from inpaint.random_masks.shapes import ObjectShapes as ObjectShapes
from inpaint.random_masks.shapes import read_shapes as read_shapes

DRAWING_VERSION = 1
"""To be raised with every change that makes a seed draw other masks."""

_DESIGN_SIZE = 256  # the short side whose numbers are scaled to other sizes
_TRAIN_BOXES = BoxRecipe(1, 4, 30, 150, 10)
_BOX_SHARE = 0.3 / 1.3  # published as weights 1 : 0.3
_LAMA_RECIPES = {  # by kind and short side
    "thin": {256: MaskRecipe(StrokeRecipe(4, 50, 10, 40)), 512: MaskRecipe(StrokeRecipe(4, 70, 20, 100))},
    "medium": {
        256: MaskRecipe(StrokeRecipe(4, 5, 50, 100), BoxRecipe(1, 5, 10, 50, 0), _BOX_SHARE),
        512: MaskRecipe(StrokeRecipe(4, 10, 100, 200), BoxRecipe(1, 5, 30, 150, 0), _BOX_SHARE),
    },
    "thick": {
        256: MaskRecipe(StrokeRecipe(1, 5, 100, 200), BoxRecipe(1, 3, 30, 150, 10), _BOX_SHARE),
        512: MaskRecipe(StrokeRecipe(1, 5, 250, 450), BoxRecipe(1, 4, 30, 300, 10), _BOX_SHARE),
    },
    "train": {256: MaskRecipe(StrokeRecipe(1, 5, 100, 200), _TRAIN_BOXES, 0.5)},
}
_MIXED_STROKES = [_LAMA_RECIPES[kind][_DESIGN_SIZE].strokes for kind in ("thin", "medium", "thick")]
MASK_KINDS = (*_LAMA_RECIPES, "boxes", "objects", "mixed")
_ATTEMPTS = 200


def default_limit(kind: str) -> float:
    """The hole ratio above which a mask of this kind is drawn again. ConfigError for an unknown kind."""
    if kind not in MASK_KINDS:
        raise ConfigError(f"got mask kind {kind!r}; expected one of {', '.join(MASK_KINDS)}")
    return 0.5 if kind in ("thin", "medium", "thick") else 0.75


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
    kind: str, count: int, height: int, width: int, generator: Generator, shapes: ObjectShapes | None = None
) -> Canvas:
    """Draw masks ``(count, height, width)`` uint8 as they come, before :func:`make_masks` refuses any."""
    default_limit(kind)  # checks the kind
    if height < 1 or width < 1 or height * width < 2:
        raise ShapeError(f"got masks of {height} x {width}; a hole and a known pixel need at least 2 pixels")
    if kind == "objects" and shapes is None:
        raise ConfigError("masks of kind 'objects' need object shapes: name a folder or a zip of them")
    canvas, short_side = np.zeros((count, height, width), np.uint8), min(height, width)
    masks, scale = torch.arange(count), short_side / _DESIGN_SIZE
    if kind in _LAMA_RECIPES:
        recipes = _LAMA_RECIPES[kind]
        if short_side in recipes:
            drawing.draw_recipe(canvas, recipes[short_side], generator)
        else:
            drawing.draw_recipe(canvas, recipes[_DESIGN_SIZE], generator, scale)
        return canvas
    with_objects = masks
    if kind == "mixed":
        draw = torch.rand(count, generator=generator)
        with_lines, with_objects = masks[(draw < 0.4) | (draw >= 0.8)], masks[draw >= 0.4]
        which = torch.randint(len(_MIXED_STROKES), (count,), generator=generator)[with_lines]
        drawing.draw_lines(canvas, with_lines, _MIXED_STROKES, which, generator, scale)
    if kind == "boxes" or shapes is None:
        drawing.draw_boxes(canvas, with_objects, _TRAIN_BOXES, generator, scale)
    else:
        drawing.draw_objects(canvas, with_objects, shapes, generator)
    return canvas
