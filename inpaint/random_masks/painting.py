"""Parts to pixels, with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaint.random_masks.primitives import Parts, Size
from inpaint.random_masks.shapes import SIDE, ObjectShapes


def paint(parts: Parts, count: int, size: Size, shapes: ObjectShapes | None) -> Tensor:
    """Paint the parts of ``count`` masks.

    Args:
        parts: from ``primitives.draw_*``; masks are numbered from 0.
        count: number of masks.
        size: (H, W).
        shapes: what the objects are made of; needed if there are any.

    Returns:
        ``(count, H, W)`` bool, True = hole.
    """
    canvas = np.zeros((count, *size), np.uint8)
    for mask, x1, y1, x2, y2, width in parts.lines.tolist():
        cv2.line(canvas[mask], (x1, y1), (x2, y2), 1, width)
    for mask, top, left, bottom, right in parts.boxes.tolist():
        canvas[mask, top:bottom, left:right] = 1
    if shapes is not None:
        bits = shapes.bits.numpy()
        for mask, _, shape, top, left, height, width, flip_y, flip_x in parts.objects.tolist():
            rows, y = _source(size[0], top, height, flip_y)
            columns, x = _source(size[1], left, width, flip_x)
            square = np.unpackbits(bits[shape], axis=1)
            canvas[mask, y, x] |= square.take(rows, axis=0).take(columns, axis=1)
    return torch.from_numpy(canvas.view(np.bool_))


def count_holes(canvas: Tensor) -> Tensor:
    """Count hole pixels of ``(count, H, W)`` bool masks: ``(count,)`` int64, ten times faster than a sum."""
    return torch.tensor([np.count_nonzero(mask) for mask in canvas.numpy()], dtype=torch.int64)


def _source(length: int, start: int, extent: int, flip: int) -> tuple[np.ndarray, slice]:
    """Rows (columns) of the stretched shape that lie on a canvas of so many, and where they lie."""
    begin, end = max(start, 0), min(start + extent, length)
    place = np.arange(begin, max(begin, end)) - start
    source = (2 * place + 1) * SIDE // (2 * extent)
    return SIDE - 1 - source if flip else source, slice(begin, max(begin, end))
