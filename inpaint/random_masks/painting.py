"""Parts to pixels: with OpenCV on the CPU, and for many masks at once on any other device.

Both paint the same boxes and objects, pixel by pixel, and the same lines but for the pixels on their edge.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaint.random_masks.primitives import Parts, Size
from inpaint.random_masks.shapes import SIDE, ObjectShapes

_CHUNK_PIXELS = 2**26  # painted at once on a device: enough to fill a large one, 1 GB at most


def paint(parts: Parts, count: int, size: Size, shapes: ObjectShapes | None, device: torch.device) -> Tensor:
    """Paint the parts of ``count`` masks.

    Args:
        parts: from ``parts.draw_*``; masks are numbered from 0.
        count: number of masks.
        size: (H, W).
        shapes: what the objects are made of; needed if there are any.
        device: where to paint.

    Returns:
        ``(count, H, W)`` bool on the device, True = hole.
    """
    if device.type == "cpu":
        return paint_with_opencv(parts, count, size, shapes)
    return paint_in_chunks(parts, count, size, shapes, device)


def paint_in_chunks(
    parts: Parts, count: int, size: Size, shapes: ObjectShapes | None, device: torch.device
) -> Tensor:
    """Paint in tensors, so many masks at a time that memory stays bounded; else as in :func:`paint`."""
    step = max(1, _CHUNK_PIXELS // (size[0] * size[1]))
    canvas = torch.zeros(count, *size, dtype=torch.bool, device=device)
    for first in range(0, count, step):
        chunk = canvas[first : first + step]
        chunk.copy_(paint_in_tensors(_part_of(parts, first, first + step), len(chunk), size, shapes, device))
    return canvas


def paint_with_opencv(parts: Parts, count: int, size: Size, shapes: ObjectShapes | None) -> Tensor:
    """Paint one part after the other; arguments and result as in :func:`paint`."""
    canvas = np.zeros((count, *size), np.uint8)
    for mask, x1, y1, x2, y2, width in parts.lines.tolist():
        cv2.line(canvas[mask], (x1, y1), (x2, y2), 1, width)
    for mask, top, left, bottom, right in parts.boxes.tolist():
        canvas[mask, top:bottom, left:right] = 1
    if shapes is not None and len(parts.objects):
        bits = shapes.bits.cpu().numpy()
        rows, inside_y, columns, inside_x = (table.numpy() for table in _sources(parts.objects, size))
        for part, (mask, _, shape) in enumerate(parts.objects[:, :3].tolist()):
            y, x = np.flatnonzero(inside_y[part]), np.flatnonzero(inside_x[part])
            if len(y) == 0 or len(x) == 0:
                continue
            square = np.unpackbits(bits[shape], axis=1)
            window = canvas[mask, y[0] : y[-1] + 1, x[0] : x[-1] + 1]
            window |= square.take(rows[part, y], axis=0).take(columns[part, x], axis=1)
    return torch.from_numpy(canvas.view(np.bool_))


def paint_in_tensors(
    parts: Parts, count: int, size: Size, shapes: ObjectShapes | None, device: torch.device
) -> Tensor:
    """Paint all parts at once; arguments and result as in :func:`paint`.

    Lines and boxes are convex: they cover one run of pixels in each row. A run is counted up where it begins
    and down behind its end, and a sum along the row says how many parts lie over a pixel. That costs a few
    numbers a row instead of a distance a pixel.
    """
    height, width = size
    steps = torch.zeros(count * height * (width + 1), dtype=torch.int32, device=device)
    for lines, rows in _by_rows(parts.lines, height):
        _add_runs(steps, *_line_runs(lines.to(device), rows), size)
    if len(parts.boxes):
        rows = int((parts.boxes[:, 3] - parts.boxes[:, 1]).max())
        _add_runs(steps, *_box_runs(parts.boxes.to(device), rows), size)
    hole = steps.view(count, height, width + 1)[..., :width].cumsum(2, dtype=torch.int32) > 0
    if shapes is not None and len(parts.objects):
        bits = shapes.bits.to(device)
        # Objects of one mask may overlap: the first of every mask, then the second of every mask ...
        for number in range(int(parts.objects[:, 1].max()) + 1):
            objects = parts.objects[parts.objects[:, 1] == number].to(device)
            hole[objects[:, 0]] |= _objects(objects, size, bits)
    return hole


def count_holes(canvas: Tensor) -> Tensor:
    """Count the hole pixels of ``(count, H, W)`` bool masks: ``(count,)`` int64 on their device."""
    if canvas.device.type == "cpu":  # ten times as fast as a sum of torch's over bool
        return torch.tensor([np.count_nonzero(mask) for mask in canvas.numpy()], dtype=torch.int64)
    return canvas.flatten(1).sum(dim=1)


def _part_of(parts: Parts, first: int, end: int) -> Parts:
    """The parts of the masks ``first`` to ``end - 1``, numbered from 0."""
    chosen = []
    for table in parts:
        table = table[(table[:, 0] >= first) & (table[:, 0] < end)]
        table[:, 0] -= first  # a copy: the original stays
        chosen.append(table)
    return Parts(*chosen)


def _radius(width: Tensor) -> Tensor:
    """What OpenCV makes of a line's width: odd ones are rounded up, and touched pixels count."""
    return torch.where(width == 1, 0.5, (width + 1).div(2, rounding_mode="floor") + 0.3)


def _by_rows(lines: Tensor, height: int) -> Iterator[tuple[Tensor, int]]:
    """Lines in groups of similar height, each with the number of rows that its highest line may touch."""
    touched = ((lines[:, 2] - lines[:, 4]).abs() + lines[:, 5] + 3).clamp(max=height)
    fewer, rows = 0, 16
    while fewer < height:
        group = lines[(touched > fewer) & (touched <= rows)]
        if len(group):
            yield group, min(rows, height)
        fewer, rows = rows, 2 * rows


def _line_runs(lines: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The run of each line in each row from its top on: mask, row, first column, column behind it, is any.

    A round brush drawn along a segment covers the union of the discs on it. The right end of that union in a
    row is the largest ``x(t) + sqrt(r^2 - (row - y(t))^2)`` over the segment. It is concave in t, and on an
    endless line its maximum lies where the row is ``r * dx / length`` above the disc's centre.
    """
    owner, x1, y1, x2, y2, brush = lines[:, :, None].unbind(1)
    upward = y1 > y2
    x, y = torch.where(upward, x2, x1), torch.where(upward, y2, y1)
    dx, dy = torch.where(upward, x1, x2) - x, (y2 - y1).abs()
    radius = _radius(brush)
    row = (y - radius).ceil().clamp(min=0) + torch.arange(rows, device=lines.device)
    below = row - y
    lean = radius * dx / (dx.square() + dy.square()).clamp(min=1).sqrt()

    def reach(side: int) -> tuple[Tensor, Tensor]:
        along = ((below + side * lean) / dy.clamp(min=1e-3)).clamp(0, 1)
        chord = radius.square() - (below - along * dy).square()  # of the disc there: half of it, squared
        return x + along * dx + side * chord.clamp(min=0).sqrt(), chord >= 0

    (left, _), (right, inside) = reach(-1), reach(1)
    return owner, row.long(), left.ceil().long(), right.floor().long() + 1, inside


def _box_runs(boxes: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As ``_line_runs``, for boxes."""
    owner, top, left, bottom, right = boxes[:, :, None].unbind(1)
    row = top + torch.arange(rows, device=boxes.device)
    return owner, row, left.expand_as(row), right.expand_as(row), row < bottom


def _add_runs(
    steps: Tensor, owner: Tensor, row: Tensor, left: Tensor, right: Tensor, is_any: Tensor, size: Size
) -> None:
    """Count runs up at their first column and down behind their last; what is outside is cut off."""
    height, width = size
    start = (owner * height + row.clamp(max=height - 1)) * (width + 1)
    one = (is_any & (row < height)).to(steps.dtype)
    steps.scatter_add_(0, (start + left.clamp(0, width)).flatten(), one.flatten())
    steps.scatter_add_(0, (start + right.clamp(0, width)).flatten(), -one.flatten())


def _objects(objects: Tensor, size: Size, bits: Tensor) -> Tensor:
    """One object on each canvas, ``(N, H, W)`` bool: the nearest pixel of its stretched shape."""
    row, inside_y, column, inside_x = _sources(objects, size)
    eights = bits.flatten(0, 1)[objects[:, 2:3] * SIDE + row]  # (N, H, SIDE / 8)
    byte = (column >> 3)[:, None].expand(-1, size[0], -1)
    bit = (7 - (column & 7)).to(torch.uint8)[:, None]
    return ((eights.gather(2, byte) >> bit) & 1).bool() & inside_y[:, :, None] & inside_x[:, None]


def _sources(objects: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For every canvas row and column: the shape's row or column, whether inside the object's box."""
    _, _, _, top, left, height, width, flip_y, flip_x = objects[:, :, None].unbind(1)
    return *_source(size[0], top, height, flip_y), *_source(size[1], left, width, flip_x)


def _source(length: int, start: Tensor, extent: Tensor, flip: Tensor) -> tuple[Tensor, Tensor]:
    place = torch.arange(length, device=start.device) - start
    source = ((2 * place + 1) * SIDE // (2 * extent)).clamp(0, SIDE - 1)
    return torch.where(flip > 0, SIDE - 1 - source, source), (place >= 0) & (place < extent)
