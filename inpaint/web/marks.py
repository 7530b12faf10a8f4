"""What somebody marked: from the editor's layers, or from a mask file, to holes at the photo's full size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaint.errors import MaskError
from inpaint.images import hole_from_mask, mask_from_image
from inpaint.web.photos import Limits, Photo, read_upload

BRUSH = (255, 64, 96)
"""The brush's colour: seldom in photos, and readable on light and dark."""
_DRAWN = 128  # a layer's alpha from which a pixel is marked; the browser may soften a stroke's rim

Holes = NDArray[np.bool_]


def holes_from_layers(layers: Sequence[Any] | None, photo: Photo) -> Holes:
    """Read the editor's layers: wherever one of them is painted is a hole.

    Args:
        layers: RGBA arrays ``(h, w, 4)`` of the preview's size; None or empty for an untouched editor.
        photo: what was painted on.

    Returns:
        ``(H, W)`` bool at the photo's full size, True = hole.

    Raises:
        MaskError: a layer of another size, or without alpha.
    """
    size = photo.preview_size
    painted = np.zeros(size, np.bool_)
    for layer in layers or ():
        if layer is None:
            continue
        pixels = np.asarray(layer)
        if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.shape[:2] != size:
            raise MaskError(
                f"the drawing is {' x '.join(map(str, pixels.shape))}, expected {size[0]} x {size[1]} x 4; "
                "choose the photo again"
            )
        painted |= pixels[..., 3] >= _DRAWN
    return _resize(painted, (photo.height, photo.width))


def holes_from_file(path: Path | str, photo: Photo, limits: Limits | None = None) -> Holes:
    """Read a mask file: white or opaque is a hole, as in :mod:`inpaint.images`.

    Args:
        path: any picture of the photo's size, or of its preview's size.
        photo: what it belongs to.
        limits: None takes the standard ones.

    Returns:
        ``(H, W)`` bool at the photo's full size.

    Raises:
        MaskError: unreadable, or of another size.
    """
    path = Path(path)
    try:
        mask = mask_from_image(read_upload(path, limits or Limits(), "the mask"))
    except MaskError:
        raise
    except Exception as error:
        raise MaskError(f"cannot read the mask: {error}") from error
    full, small = (photo.height, photo.width), photo.preview_size
    if (mask.height, mask.width) not in (full, small):
        raise MaskError(
            f"the mask is {mask.width} x {mask.height} pixels, the photo {photo.width} x {photo.height}; "
            "give a mask of the photo's size"
        )
    return _resize(hole_from_mask(mask), full)


def grow(holes: Holes, pixels: int) -> Holes:
    """Grow the holes by so many pixels in every direction, or shrink them where it is negative."""
    if not pixels:
        return holes
    reach = 2 * abs(pixels) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    change = cv2.dilate if pixels > 0 else cv2.erode
    # A hole that touches the picture's edge goes on beyond it: shrinking does not eat it from there.
    edge = 0 if pixels > 0 else 1
    changed = change(holes.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=edge)
    return changed > 0


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


def mask_picture(holes: Holes) -> Image.Image:
    """Mode ``L``, white = hole: what the pipeline takes and what is downloaded."""
    return Image.fromarray(holes.astype(np.uint8) * 255)


def layer_picture(holes: Holes, photo: Photo) -> Image.Image:
    """The holes as a layer for the editor: RGBA of the preview's size, painted where any hole pixel falls."""
    height, width = photo.preview_size
    painted = holes.astype(np.uint8) * 255
    if painted.shape != (height, width):
        painted = cv2.resize(painted, (width, height), interpolation=cv2.INTER_AREA)
    layer = np.zeros((height, width, 4), np.uint8)
    layer[painted > 0] = (*BRUSH, 255)
    return Image.fromarray(layer)


def layers_of(value: Mapping[str, Any] | None) -> Sequence[Any]:
    """The layers of an ``ImageEditor`` value, which may be None, or have none."""
    return () if value is None else value.get("layers") or ()


def _resize(holes: Holes, size: tuple[int, int]) -> Holes:
    """Nearest neighbour: every pixel of the photo takes the mark of the preview pixel it lies under."""
    if holes.shape == size:
        return holes
    return cv2.resize(holes.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
