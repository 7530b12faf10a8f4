"""Fine damage filled by linear prediction from the known pixels around it.

Arrays are ``(H, W, 3)`` float32 RGB in [0, 1] and ``(H, W)`` bool.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.baselines import push_pull
from inpaint.fills.canvas import Bools, Colours

REACH = 5
"""Pixels around a hole from which it is predicted."""
NUGGET = 3e-3
"""Share of the variance that is added on the diagonal: keeps the equations well conditioned."""
_PART = 16  # side in pixels of the parts of a hole that are predicted together


def predict_gaussian(
    image: Colours, unknown: Bools, hole: Bools, prediction: Colours | None = None
) -> Colours:
    """Fill a hole with what is most likely if the image around it were a stationary Gaussian texture.

    The covariance of pixels by their distance is measured in the whole image, whose unknown pixels hold the
    push-pull fill for that; each hole pixel is the linear combination of the known pixels near it that has
    the least expected error. So edges and stripes go on in their own direction, where diffusion blurs them.

    A network's prediction adds texture where the neighbours say little: its error at the known pixels is
    continued into the hole in the same way and taken off, and the result counts for as much as is left of the
    variance.

    Args:
        image: read where it is not ``unknown``.
        unknown: pixels that are no evidence.
        hole: pixels to fill, all of them ``unknown``.
        prediction: of a network for the whole image, hole or not.

    Returns:
        The fill; outside the hole ``image`` with unknown pixels filled smoothly.

    Source:
        The kriging of Galerne and Leclaire, "Texture Inpainting Using Efficient Gaussian Conditional
        Simulation", SIAM Journal on Imaging Sciences 10 (2017). The weighting with a prediction is ours.
    """
    colours = torch.from_numpy(image).permute(2, 0, 1)[None]
    smooth = push_pull(colours, torch.from_numpy(unknown)[None, None].float())
    fill = smooth[0].permute(1, 2, 0).numpy().copy()
    covariance = _covariance(smooth, unknown)
    if covariance is None:
        return fill
    nearby = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1,) * 2)
    for rows, columns in _parts(hole):
        top, left = max(rows.start - REACH, 0), max(columns.start - REACH, 0)
        around = slice(top, rows.stop + REACH), slice(left, columns.stop + REACH)
        wanted = np.zeros_like(hole[around])
        wanted[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = True
        wanted &= hole[around]
        sources = (cv2.dilate(wanted.astype(np.uint8), nearby) > 0) & ~unknown[around]
        if sources.any():
            theirs = None if prediction is None else prediction[around]
            fill[around][wanted] = _predict(image[around], wanted, sources, covariance, theirs)
    return fill


def _predict(
    image: Colours,
    wanted: Bools,
    sources: Bools,
    covariance: NDArray[np.float64],
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


def _covariance(smooth: torch.Tensor, unknown: Bools) -> NDArray[np.float64] | None:
    """Covariance of two pixels by their distance, 1 at [0, 0]; None where all known pixels are equal.

    Negative distances count from the end, as in a Fourier transform of twice the sides.
    """
    size = [2 * side for side in unknown.shape]
    known = smooth[0][:, torch.from_numpy(~unknown)]
    deviation = smooth[0] - known.mean(dim=1)[:, None, None]
    if not known.numel() or deviation.abs().max() < 1e-6:
        return None
    power = torch.fft.rfft2(deviation.double(), size).abs().square().sum(0)
    covariance = torch.fft.irfft2(power, size)
    return (covariance / covariance[0, 0]).numpy()


def _parts(hole: Bools) -> Iterator[tuple[slice, slice]]:
    """Cut the bounding box of a hole into cells, and give those that touch it."""
    rows, columns = np.nonzero(hole)
    for top in range(rows.min(), rows.max() + 1, _PART) if len(rows) else ():
        for left in range(columns.min(), columns.max() + 1, _PART):
            part = slice(top, top + _PART), slice(left, left + _PART)
            if hole[part].any():
                yield part
