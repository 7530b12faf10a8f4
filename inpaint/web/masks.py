"""From what was drawn to holes at the photo's full size: strokes, layers, growth.

The browser sends what was drawn as a list of operations in pixels of the photo, not as an image: a mask for
48 megapixels takes a few kilobytes, and is right at every size.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from inpaint.errors import MaskError
from inpaint.fills.holes import check_mask_size, doubt_mask, find_hole
from inpaint.images import mask_from_image, read_masks

MOST_GROWTH = 200
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
Holes = NDArray[np.bool_]
Placing = Literal["scale", "bottom-right", "top-left"]
Key = Annotated[str, Field(max_length=200)]
Coordinate = Annotated[float, Field(ge=-20_000, le=120_000, allow_inf_nan=False)]
Growth = Annotated[int, Field(ge=-MOST_GROWTH, le=MOST_GROWTH)]
"""Pixels by which holes grow, or shrink."""


class Strict(BaseModel):
    """What a request may hold: nothing unknown."""

    model_config = ConfigDict(extra="forbid")


class Stroke(Strict):
    """A line drawn with a round brush, which marks or, with ``erase``, unmarks."""

    kind: Literal["stroke"]
    points: list[tuple[Coordinate, Coordinate]] = Field(min_length=1, max_length=20_000)
    """``(x, y)``; the centre of the photo's first pixel is at (0.5, 0.5)."""
    radius: float = Field(ge=0.3, le=10_000)
    erase: bool = False


class Layer(Strict):
    """A mask that is on the server: of a file or a selection."""

    kind: Literal["layer"]
    id: Key
    erase: bool = False


class Invert(Strict):
    """Exchange marked and unmarked."""

    kind: Literal["invert"]


class Drawing(Strict):
    """All that was drawn, in order, and by how much it grows (or shrinks) before it is filled."""

    operations: list[Annotated[Stroke | Layer | Invert, Field(discriminator="kind")]] = Field(max_length=5000)
    grow: Growth | None = None
    """None: as the command line does where nothing else is asked."""


def draw(drawing: Drawing, height: int, width: int, read_layer: Callable[[str], Holes]) -> Holes:
    """Rasterise a drawing at the photo's full size, ``(H, W)`` bool, before it grows."""
    mask = np.zeros((height, width), np.uint8)
    for step in drawing.operations:
        if isinstance(step, Invert):
            mask ^= 1
            continue
        colour = 0 if step.erase else 1
        if isinstance(step, Layer):
            mask[read_layer(step.id)] = colour
            continue
        # OpenCV's integers are pixel centres.
        points = np.rint((np.array(step.points) - 0.5) * 2**_SHIFT).astype(np.int32)
        if len(points) > 1:
            thickness = max(1, round(2 * step.radius))
            cv2.polylines(mask, [points[:, None]], False, colour, thickness, cv2.LINE_8, _SHIFT)
        for point in (points[0], points[-1]):
            radius = max(1, round(step.radius * 2**_SHIFT))
            cv2.circle(mask, tuple(map(int, point)), radius, colour, -1, cv2.LINE_8, _SHIFT)
    return mask > 0


def grow(holes: Holes, pixels: int | None) -> Holes:
    """Grow holes by so many pixels, as ``inpaint run --dilate`` does; None is its default, for thick holes.

    Negative numbers shrink, but not from the photo's edge: a hole goes on beyond it.
    """
    if pixels is None or pixels > 0:
        return find_hole(mask_image(holes), pixels) if holes.any() else holes
    kernel = np.ones((1 - 2 * pixels, 1), np.uint8)
    return cv2.erode(cv2.erode(holes.astype(np.uint8), kernel), kernel.T) > 0 if pixels else holes


def require_holes(holes: Holes) -> Holes:
    """Give the holes back, or raise MaskError if nothing is marked, or everything."""
    if not holes.any():
        raise MaskError("nothing is marked yet: paint over what should go, then press Erase")
    if holes.all():
        raise MaskError("the whole photo is marked: leave something to fill the hole from")
    return holes


def mask_image(holes: Holes) -> Image.Image:
    """Mode ``L``, white = hole: what the pipeline takes and what is downloaded."""
    return Image.fromarray(holes.astype(np.uint8) * 255)


def read_masks_of(path: Path, size: tuple[int, int], max_pixels: int) -> list[Image.Image]:
    """Read a mask file of a photo's ``(width, height)``, with its soft edges: one for each page."""
    try:
        masks = read_masks(path, max_pixels=max_pixels)
    except MaskError as error:
        raise MaskError(str(error).replace(repr(str(path)), "it")) from error
    for mask in masks:
        check_mask_size(mask, size, "photo")
    return masks


def tell_doubt(image: NDArray[np.generic], mask: Image.Image, holes: Holes) -> str:
    """What is implausible about a mask, and what to do about it on the page; empty if nothing is."""
    doubt = doubt_mask(image, np.asarray(mask_from_image(mask)), holes)
    return f"{doubt}; if its white is what should stay, invert it" if doubt else ""


def place(holes: Holes, height: int, width: int, placing: Placing) -> Holes:
    """Bring a mask that was drawn on one photo to another of any size.

    ``scale`` stretches it; the others keep its size and its distance to a corner, as a date stamp has.
    """
    if holes.shape == (height, width):
        return holes
    if placing == "scale":
        size = (width, height)
        return cv2.resize(holes.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    placed = np.zeros((height, width), np.bool_)
    turn = np.s_[:, :] if placing == "top-left" else np.s_[::-1, ::-1]  # from the corner that counts
    rows, columns = min(height, holes.shape[0]), min(width, holes.shape[1])
    placed[turn][:rows, :columns] = holes[turn][:rows, :columns]
    return placed
