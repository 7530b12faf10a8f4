"""Parameters of random masks: LaMa's published ones, and those of the training mixture."""

from __future__ import annotations

from typing import NamedTuple

from inpaint.errors import ConfigError

DRAWING_VERSION = 1
"""To be raised with every change that makes a seed draw other masks."""

MAX_HOLE_RATIO = 0.75
DESIGN_SIZE = 256
"""The mixture's numbers are pixels at this short side, and scale with it."""


class StrokeRecipe(NamedTuple):
    """Numbers of the strokes, in pixels; see ``drawing.draw_lines``."""

    min_times: int
    max_times: int
    max_width: int
    max_length: int
    max_angle: int = 4


class BoxRecipe(NamedTuple):
    """Numbers of the boxes, in pixels; see ``drawing.draw_boxes``."""

    min_times: int
    max_times: int
    min_size: int
    max_size: int
    margin: int


class MaskRecipe(NamedTuple):
    """Strokes or boxes at random: a mask consists of boxes with probability ``box_share``."""

    strokes: StrokeRecipe
    boxes: BoxRecipe | None = None
    box_share: float = 0.0
    max_hole_ratio: float = 0.5


TRAIN_BOXES = BoxRecipe(1, 4, 30, 150, 10)
_LAMA_BOX_SHARE = 0.3 / 1.3  # published as weights 1 : 0.3
# LaMa (WACV 2022), configs/data_gen and its training configuration.
LAMA_RECIPES: dict[str, MaskRecipe] = {
    "train_256": MaskRecipe(StrokeRecipe(1, 5, 100, 200), TRAIN_BOXES, 0.5, MAX_HOLE_RATIO),
    "thin_256": MaskRecipe(StrokeRecipe(4, 50, 10, 40)),
    "medium_256": MaskRecipe(StrokeRecipe(4, 5, 50, 100), BoxRecipe(1, 5, 10, 50, 0), _LAMA_BOX_SHARE),
    "thick_256": MaskRecipe(StrokeRecipe(1, 5, 100, 200), BoxRecipe(1, 3, 30, 150, 10), _LAMA_BOX_SHARE),
    "thin_512": MaskRecipe(StrokeRecipe(4, 70, 20, 100)),
    "medium_512": MaskRecipe(StrokeRecipe(4, 10, 100, 200), BoxRecipe(1, 5, 30, 150, 0), _LAMA_BOX_SHARE),
    "thick_512": MaskRecipe(StrokeRecipe(1, 5, 250, 450), BoxRecipe(1, 4, 30, 300, 10), _LAMA_BOX_SHARE),
}
MIXED_STROKES = tuple(LAMA_RECIPES[name].strokes for name in ("thin_256", "medium_256", "thick_256"))
MIXED_SHARES = {"irregular": 0.4, "objects": 0.4, "both": 0.2}
LAMA_KINDS = ("thin", "medium", "thick", "train")
MASK_KINDS = (*LAMA_KINDS, "boxes", "objects", "mixed")


def default_limit(kind: str) -> float:
    """The hole ratio above which a mask of this kind is drawn again. ConfigError for an unknown kind."""
    check_kind(kind)
    return LAMA_RECIPES[f"{kind}_256"].max_hole_ratio if kind in LAMA_KINDS else MAX_HOLE_RATIO


def check_kind(kind: str) -> None:
    """Raise ConfigError unless this is a kind of masks."""
    if kind not in MASK_KINDS:
        raise ConfigError(f"got mask kind {kind!r}; expected one of {', '.join(MASK_KINDS)}")
