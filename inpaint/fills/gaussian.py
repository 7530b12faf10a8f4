"""Fine damage filled by linear prediction from the known pixels around it.

Images are float32 RGB in [0, 1], holes bool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.baselines import push_pull
from inpaint.fills.canvas import Bools, Colours
from inpaint.framing import Box, tight_box

REACH = 4
"""Pixels around a hole from which it is predicted."""
NUGGET = 3e-3
"""Share of the variance that is added on the diagonal: keeps the equations well conditioned."""
BLOCK, MARGIN = 32, 40
"""Side in pixels of the blocks that share a covariance, and the pixels around them that it is measured in."""
_PART = 16  # side in pixels of the parts of a hole that are predicted together
_NEARBY = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))


def predict_gaussian(
    images: Colours, unknown: Bools, holes: Bools, predictions: Mapping[int, Colours]
) -> Colours:
    """Fill holes with what is most likely if the image around them were a stationary Gaussian texture.

    The covariance of pixels by their distance is measured around each part of the hole, where unknown pixels
    hold the push-pull fill for that; each hole pixel is the linear combination of the known pixels near it
    that has the least expected error. So edges and stripes go on where diffusion blurs them.

    A network's prediction adds texture where the neighbours say little: its error at the known pixels is
    continued into the hole in the same way and taken off, and the result counts for as much as is left of the
    variance.

    Args:
        images: ``(B, H, W, 3)``, read where they are not ``unknown``.
        unknown: ``(B, H, W)``, pixels that are no evidence.
        holes: ``(B, H, W)``, pixels to fill, all of them ``unknown``.
        predictions: of a network for whole images, hole or not, by the number of the image.

    Returns:
        The fills; outside the holes the images with unknown pixels filled smoothly.

    Source:
        The kriging of Galerne and Leclaire, "Texture Inpainting Using Efficient Gaussian Conditional
        Simulation", SIAM Journal on Imaging Sciences 10 (2017). The weighting with a prediction is ours.
    """
    smooth = push_pull(
        torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(unknown)[:, None].float()
    )
    fills = smooth.permute(0, 2, 3, 1).contiguous().numpy()
    for index, hole in enumerate(holes):
        for block in _cut(hole, Box(0, 0, *hole.shape), BLOCK):
            around = block.grown(MARGIN, hole.shape).slices
            covariance = _covariance(smooth[index][:, *around], unknown[index][around])
            if covariance is None:
                continue
            for part in _cut(hole, block, _PART):
                around = part.grown(REACH, hole.shape).slices
                wanted = np.zeros_like(hole)
                wanted[part.slices] = hole[part.slices]
                wanted = wanted[around]
                sources = (cv2.dilate(wanted.astype(np.uint8), _NEARBY) > 0) & ~unknown[index][around]
                if sources.any():
                    theirs = predictions[index][around] if index in predictions else None
                    fills[index][around][wanted] = _predict(
                        images[index][around], wanted, sources, covariance, theirs
                    )
    return fills


def _predict(
    image: Colours,
    wanted: Bools,
    sources: Bools,
    covariance: NDArray[Any],
    prediction: Colours | None,
) -> NDArray[np.float64]:
    """Colours ``(N, 3)`` of the ``wanted`` pixels from the ``sources``."""
    there, here = np.argwhere(sources), np.argwhere(wanted)
    between = covariance[tuple((there[:, None] - there).transpose(2, 0, 1))]
    between[np.diag_indices(len(there))] += NUGGET
    towards = covariance[tuple((here[:, None] - there).transpose(2, 0, 1))]
    known = image[sources].astype(np.float64)
    mean = known.mean(axis=0)
    if prediction is None:
        return mean + towards @ np.linalg.solve(between, known - mean)
    weights = np.linalg.solve(between, towards.T).T
    likely = mean + weights @ (known - mean)
    error = known - prediction[sources]
    bias = error.mean(axis=0)
    textured = prediction[wanted] + bias + weights @ (error - bias)
    uncertain = 1 - (weights * towards).sum(axis=1, keepdims=True).clip(0, 1)
    return likely + uncertain * (textured - likely)


def _covariance(smooth: torch.Tensor, unknown: Bools) -> NDArray[Any] | None:
    """Covariance of two pixels by their distance, 1 at [0, 0]; None where all pixels are equal.

    Negative distances count from the end.
    """
    known = smooth[:, torch.from_numpy(~unknown)]
    deviation = smooth - known.mean(dim=1)[:, None, None]
    if not known.numel() or deviation.abs().max() < 1e-6:
        return None
    size = [side + _PART + 2 * REACH for side in unknown.shape]
    covariance = torch.fft.irfft2(torch.fft.rfft2(deviation, size).abs().square().sum(0), size).double()
    return (covariance / covariance[0, 0]).numpy()


def _cut(hole: Bools, box: Box, side: int) -> Iterator[Box]:
    """Cut the hole pixels of a box into cells."""
    if (tight := tight_box(hole, box)) is None:
        return
    for top in range(tight.top, tight.bottom, side):
        for left in range(tight.left, tight.right, side):
            cell = Box(top, left, min(top + side, tight.bottom), min(left + side, tight.right))
            if hole[cell.slices].any():
                yield cell
