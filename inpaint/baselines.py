"""Fills without a network: baselines of every score, and the push-pull fill the generator starts from.

All functions take ``image (B, 3, H, W)`` float in [0, 1] and ``mask (B, 1, H, W)`` with 1 = hole, and return
the image with its holes filled, on its device and in its dtype. Known pixels come back unchanged; what lies
under the hole is never read; an image without any known pixel becomes 0.5 grey. Shapes that do not belong
together are a ShapeError.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError

GREY = 0.5
CV2_RADIUS = 5
_SMALLEST_WEIGHT = 1e-12  # below one known pixel in any image that fits in memory: only avoids 0 / 0


def push_pull(image: Tensor, mask: Tensor) -> Tensor:
    """Fill holes from a pyramid: area averages of known pixels on the way down, bilinear on the way up.

    Every level keeps the colours it knows and takes the others from the next coarser level. Runs on any
    device without waiting for it, and inside ``torch.compile``. After Gortler et al., "The Lumigraph", 1996
    (without saturation of weights: a cell is known as soon as one of its pixels is). Any number of channels.
    """
    _check(image, mask)
    hole = mask > 0.5
    known = (~hole).float()
    # Colour and weight are averaged together: their quotient is the mean of the known pixels in a cell.
    # float32, as a single known pixel of a large image weighs less than half precision can hold.
    level = torch.cat([torch.where(hole, 0.0, image.float()), known], dim=1)
    pyramid = [level]
    while level.shape[-2] > 1 or level.shape[-1] > 1:
        window = [min(2, side) for side in level.shape[-2:]]  # a side of one pixel cannot shrink
        level = F.avg_pool2d(level, window, ceil_mode=True, count_include_pad=False)
        pyramid.append(level)

    filled = torch.full_like(pyramid[-1][:, :-1], GREY)
    for level in reversed(pyramid):
        colour, weight = level[:, :-1], level[:, -1:]
        if level is not pyramid[-1]:
            # Twice the size, cut to the finer level: cell i covers exactly pixels 2i and 2i + 1.
            size = [2 * side for side in filled.shape[-2:]]
            filled = F.interpolate(filled, size=size, mode="bilinear", align_corners=False)
            filled = filled[..., : level.shape[-2], : level.shape[-1]]
        filled = torch.where(weight > 0, colour / weight.clamp_min(_SMALLEST_WEIGHT), filled)
    return torch.where(hole, filled.to(image.dtype), image)


def mean_colour(image: Tensor, mask: Tensor) -> Tensor:
    """Fill holes with the mean colour of the known pixels of the same image."""
    _check(image, mask)
    hole = mask > 0.5
    total = torch.where(hole, 0.0, image.float()).sum(dim=(2, 3), keepdim=True)
    count = (~hole).float().sum(dim=(2, 3), keepdim=True)
    colour = torch.where(count > 0, total / count.clamp_min(1.0), GREY)
    return torch.where(hole, colour.to(image.dtype), image)


def telea(image: Tensor, mask: Tensor) -> Tensor:
    """Fill holes with OpenCV's fast marching (Telea 2004), radius 5, RGB in 8 bits, on the CPU."""
    return _cv2_fill(image, mask, "INPAINT_TELEA")


def navier_stokes(image: Tensor, mask: Tensor) -> Tensor:
    """Fill holes with OpenCV's Navier-Stokes method (Bertalmio et al. 2001), as :func:`telea`."""
    return _cv2_fill(image, mask, "INPAINT_NS")


def _cv2_fill(image: Tensor, mask: Tensor, method: str) -> Tensor:
    import cv2
    import numpy as np

    _check(image, mask)
    if image.shape[1] != 3:
        raise ShapeError(f"got an image of {image.shape[1]} channels; OpenCV's fills need 3 (RGB)")
    hole = mask > 0.5
    # OpenCV looks a little under the hole, where a scorer has the answer: it sees the push-pull fill there.
    pixels = push_pull(image, mask).clamp(0, 1).mul(255).round().to(torch.uint8)
    pixels = pixels.permute(0, 2, 3, 1).cpu().numpy()
    holes = hole[:, 0].to(torch.uint8).cpu().numpy()
    filled = np.full(pixels.shape, round(GREY * 255), dtype=np.uint8)
    for index, (levels, holes_here) in enumerate(zip(pixels, holes, strict=True)):
        if not holes_here.all():  # OpenCV treats the three channels alike: RGB needs no reordering
            levels = np.ascontiguousarray(levels)
            filled[index] = cv2.inpaint(levels, holes_here, CV2_RADIUS, getattr(cv2, method))
    back = torch.from_numpy(filled).permute(0, 3, 1, 2).to(image.device, image.dtype) / 255
    nothing_known = hole.flatten(1).all(dim=1).view(-1, 1, 1, 1)  # exactly 0.5, which 8 bits cannot say
    return torch.where(hole, torch.where(nothing_known, GREY, back), image)


def _check(image: Tensor, mask: Tensor) -> None:
    expected = (image.shape[0], 1, *image.shape[-2:])
    if image.ndim != 4 or tuple(mask.shape) != expected or 0 in image.shape[-2:]:
        raise ShapeError(
            f"got image {tuple(image.shape)} and mask {tuple(mask.shape)}; "
            "expected (B, 3, H, W) and (B, 1, H, W) of equal size"
        )
