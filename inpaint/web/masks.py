"""From what was drawn to holes at the photo's full size: strokes, mask files, selections, growth.

The browser sends what was drawn as a list of operations in pixels of the photo, not as an image: a mask for
48 megapixels takes a few kilobytes, and is right at every size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from inpaint.errors import MaskError
from inpaint.images import hole_from_mask, read_masks
from inpaint.web.photos import Limits

MOST_GROWTH = 200
_SELECT_SIDE = 480  # GrabCut's time grows with the pixels it sees
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
Holes = NDArray[np.bool_]
Placing = Literal["scale", "bottom-right", "top-left"]
Key = Annotated[str, Field(max_length=200)]
Coordinate = Annotated[float, Field(ge=-20_000, le=120_000, allow_inf_nan=False)]


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
    grow: int = Field(default=0, ge=-MOST_GROWTH, le=MOST_GROWTH)


def draw(drawing: Drawing, height: int, width: int, read_layer: Callable[[str], Holes]) -> Holes:
    """Rasterise a drawing at the photo's full size, ``(H, W)`` bool, grown as asked.

    Raises:
        MaskError: a layer is unknown.
    """
    mask = np.zeros((height, width), np.uint8)
    for operation in drawing.operations:
        if isinstance(operation, Stroke):
            _draw_stroke(mask, operation)
        elif isinstance(operation, Layer):
            mask[read_layer(operation.id)] = 0 if operation.erase else 1
        else:
            mask ^= 1
    return grow(mask > 0, drawing.grow)


def _draw_stroke(mask: NDArray[np.uint8], stroke: Stroke) -> None:
    colour = 0 if stroke.erase else 1
    # OpenCV's integers are pixel centres.
    points = np.rint((np.array(stroke.points) - 0.5) * 2**_SHIFT).astype(np.int32)
    radius = max(1, round(stroke.radius * 2**_SHIFT))
    if len(points) > 1:
        thickness = max(1, round(2 * stroke.radius))
        cv2.polylines(mask, [points[:, None]], False, colour, thickness, cv2.LINE_8, _SHIFT)
    for point in (points[0], points[-1]):
        cv2.circle(mask, tuple(map(int, point)), radius, colour, -1, cv2.LINE_8, _SHIFT)


def grow(holes: Holes, pixels: int) -> Holes:
    """Grow the holes by so many pixels in every direction, or shrink them where it is negative.

    A hole that touches the photo's edge goes on beyond it: shrinking does not eat it from there.
    """
    if not pixels or not holes.any() or holes.all():
        return holes
    box = bounding_box(holes)
    reach = abs(pixels) + 1
    window = (slice(max(0, box[0] - reach), box[2] + reach), slice(max(0, box[1] - reach), box[3] + reach))
    part = holes[window]
    inside = (~part if pixels > 0 else part).astype(np.uint8)
    apart = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = np.zeros_like(holes)
    grown[window] = apart <= pixels if pixels > 0 else apart > -pixels
    return grown


def bounding_box(holes: Holes) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of all that is marked; something must be."""
    rows, columns = np.flatnonzero(holes.any(axis=1)), np.flatnonzero(holes.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def require_holes(holes: Holes) -> Holes:
    """Give the holes back, if there are any and something is left around them.

    Raises:
        MaskError: nothing is marked, or everything.
    """
    if not holes.any():
        raise MaskError("nothing is marked yet: paint over what should go, then press Erase")
    if holes.all():
        raise MaskError("the whole photo is marked: leave something to fill the hole from")
    return holes


def mask_image(holes: Holes) -> Image.Image:
    """Mode ``L``, white = hole: what the pipeline takes and what is downloaded."""
    return Image.fromarray(holes.astype(np.uint8) * 255)


def read_mask_file(path: Path, height: int, width: int, limits: Limits) -> Holes:
    """Read a mask file of the photo's size: white or opaque is a hole, as in :mod:`inpaint.images`.

    Raises:
        MaskError: unreadable, or of another size.
    """
    try:
        holes = hole_from_mask(read_masks(path, max_pixels=limits.pixels)[0])
    except MaskError as error:
        raise MaskError(str(error).replace(repr(str(path)), "it")) from error
    if holes.shape != (height, width):
        raise MaskError(
            f"the mask is {holes.shape[1]} x {holes.shape[0]} pixels, the photo {width} x {height}; "
            "give a mask of the photo's size"
        )
    return holes


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


class Rough(Strict):
    """A rough hint at an object: a box around it, or a scribble over it."""

    kind: Literal["box", "scribble"]
    points: list[tuple[Coordinate, Coordinate]] = Field(min_length=2, max_length=20_000)
    """Two opposite corners, or a line."""
    radius: float = Field(default=1, ge=0.3, le=10_000)
    """Of the scribble's brush."""


def select_object(pixels: NDArray[np.uint8], rough: Rough) -> Holes:
    """Cut an object out of the photo ``(H, W, 3)`` by a rough hint: ``(H, W)`` bool.

    Raises:
        MaskError: the hint lies outside the photo, is too small, or nothing stands out there.

    Source:
        Rother et al., *GrabCut* (SIGGRAPH 2004), as in OpenCV.
    """
    height, width = pixels.shape[:2]
    corners = np.array(rough.points)
    reach = 0.0 if rough.kind == "box" else rough.radius
    (left, top), (right, bottom) = corners.min(axis=0) - reach, corners.max(axis=0) + reach
    left, right = max(0, int(left)), min(width, int(np.ceil(right)))
    top, bottom = max(0, int(top)), min(height, int(np.ceil(bottom)))
    if right - left < 4 or bottom - top < 4:
        raise MaskError("the selection is too small: draw a box around the object, or a longer line over it")
    # Background is learned from a frame around the box; a scribble may be much smaller than its object.
    margin = max(8, int(max(right - left, bottom - top) * (0.25 if rough.kind == "box" else 0.8)))
    y0, x0 = max(0, top - margin), max(0, left - margin)
    part = pixels[y0 : min(height, bottom + margin), x0 : min(width, right + margin)]
    scale = min(1.0, _SELECT_SIDE / max(part.shape[:2]))
    size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    hint = _hint(rough, (corners - (x0, y0)) * scale, size, scale)
    if (hint & 1).all() or not (hint & 1).any():
        raise MaskError("the selection covers the whole photo: draw it closer to the object")
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(small), hint, None, *models, 5, cv2.GC_INIT_WITH_MASK)  # type: ignore
    cut = _tidy((hint & 1).astype(np.uint8))
    if not cut.any():
        raise MaskError("nothing stands out from its surroundings here: paint over it instead")
    large = cv2.resize(cut.astype(np.float32), part.shape[1::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
    found = np.zeros((height, width), np.bool_)
    found[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = large
    return found


def _hint(rough: Rough, points: NDArray[np.float64], size: tuple[int, int], scale: float) -> Any:
    """GrabCut's starting labels: sure background at the rim, sure foreground under a scribble."""
    hint = np.full(size[::-1], cv2.GC_BGD, np.uint8)
    corners = np.rint(points).astype(np.int32)
    if rough.kind == "box":
        cv2.rectangle(hint, corners.min(axis=0).tolist(), corners.max(axis=0).tolist(), cv2.GC_PR_FGD, -1)
        return hint
    rim = max(2, min(size) // 40)
    hint[rim:-rim, rim:-rim] = cv2.GC_PR_BGD
    thickness = max(2, round(2 * rough.radius * scale))
    hull = cv2.convexHull(corners[:, None])
    cv2.polylines(hint, [hull], True, cv2.GC_PR_FGD, 3 * thickness)
    cv2.fillPoly(hint, [hull], cv2.GC_PR_FGD)
    cv2.polylines(hint, [corners[:, None]], False, cv2.GC_FGD, thickness)
    return hint


def _tidy(cut: Any) -> Any:
    """Without specks and pinholes: parts under a twentieth of the largest go, small holes close."""
    cut = cv2.morphologyEx(cut, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cut)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not len(areas):
        return cut
    kept = np.isin(labels, 1 + np.flatnonzero(areas * 20 >= areas.max())).astype(np.uint8)
    return cv2.morphologyEx(kept, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
