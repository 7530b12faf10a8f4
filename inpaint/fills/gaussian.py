"""Fine damage filled by linear prediction from the known pixels around it.

Images are float32 RGB in [0, 1], holes bool.
"""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.baselines import push_pull
from inpaint.fills.canvas import Bools, Colours
from inpaint.framing import Box, tight_box

REACH = 3
"""Pixels around a hole from which it is predicted."""
NUGGET = 3e-3
"""Share of the variance that is added on the diagonal: keeps the equations well conditioned."""
BLOCK, MARGIN = 64, 64
"""Side in pixels of the blocks that share a covariance, and the pixels around them that it is measured in."""
SPREAD = 48
"""Standard deviation in pixels of the weights of pixels in it, by their distance to the block's middle."""
CHANNELS = slice(0, 1), slice(1, 3)
"""Luma and chroma, of which each has a covariance."""
_PART = 16  # side in pixels of the parts of a hole that are predicted together
_LAGS = np.arange(1 - _PART - 2 * REACH, _PART + 2 * REACH)  # between two pixels of a part and its sources
_NEARBY = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))


def predict_gaussian(
    images: Colours, unknown: Bools, holes: Bools, predictions: Mapping[int, Colours]
) -> Colours:
    """Fill holes with what is most likely if the image around them were a stationary Gaussian texture.

    The covariance of pixels by their distance is measured around each part of the hole, where unknown pixels
    hold the push-pull fill for that, in luma and in chroma; each hole pixel is the linear combination of the
    known pixels near it that has the least expected error. So edges and stripes go on where diffusion blurs
    them.

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
        image = _luma_chroma(fills[index])
        filled, texture = image.copy(), predictions.get(index)
        texture = None if texture is None else _luma_chroma(texture)
        for block in _cut(hole, Box(0, 0, *hole.shape), BLOCK):
            covariances = _covariances(image, block)
            for part in _cut(hole, block, _PART):
                around = part.grown(REACH, hole.shape).slices
                wanted = np.zeros_like(hole)
                wanted[part.slices] = hole[part.slices]
                wanted = wanted[around]
                sources = (cv2.dilate(wanted.astype(np.uint8), _NEARBY) > 0) & ~unknown[index][around]
                for channels, covariance in zip(CHANNELS, covariances, strict=True) if sources.any() else ():
                    theirs = None if texture is None else texture[around][..., channels]
                    filled[around][wanted, channels] = _predict(
                        image[around][..., channels], wanted, sources, covariance, theirs
                    )
        fills[index][hole] = cv2.cvtColor(filled, cv2.COLOR_YCrCb2RGB)[hole]
    return fills


def _luma_chroma(image: Colours) -> Colours:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb), np.float32)


def _predict(
    image: Colours,
    wanted: Bools,
    sources: Bools,
    covariance: NDArray[np.float64],
    prediction: Colours | None,
) -> NDArray[np.float64]:
    """Values ``(N, C)`` of the ``wanted`` pixels from the ``sources``."""
    lags = len(_LAGS)
    there, here = (np.flatnonzero(where) for where in (sources, wanted))
    there, here = (places // image.shape[1] * lags + places % image.shape[1] for places in (there, here))
    between = covariance.ravel()[there[:, None] - there + lags**2 // 2]
    between[np.diag_indices(len(there))] += NUGGET
    towards = covariance.ravel()[here[:, None] - there + lags**2 // 2]
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


def _covariances(image: Colours, block: Box) -> NDArray[np.float64]:
    """Covariances of luma and of chroma around a block by ``_LAGS`` in rows and columns, 1 at lag 0."""
    around = block.grown(MARGIN, image.shape)
    image = image[around.slices]
    rows, columns = np.ogrid[around.slices]
    rows, columns = rows - (block.top + block.bottom - 1) / 2, columns - (block.left + block.right - 1) / 2
    near = np.exp(-((rows / SPREAD) ** 2) / 2) * np.exp(-((columns / SPREAD) ** 2) / 2)
    deviation = (image - np.array(cv2.mean(image)[:3], np.float32)) * near[..., None].astype(np.float32)
    # Room for all lags, so that the two sides do not meet, and a length that is fast to transform.
    size = [-(-(side + len(_LAGS) // 2) // 16) * 16 for side in deviation.shape[:2]]
    power = torch.fft.rfft2(torch.from_numpy(deviation).permute(2, 0, 1), size).abs().square()
    covariance = torch.fft.irfft2(torch.stack([power[0], power[1] + power[2]]), size).double().numpy()
    variance = covariance[:, :1, :1].clip(1e-6, None)
    return covariance[:, _LAGS[:, None], _LAGS] / variance


def _cut(hole: Bools, box: Box, side: int) -> Iterator[Box]:
    """Cut the hole pixels of a box into cells."""
    if (tight := tight_box(hole, box)) is None:
        return
    for top in range(tight.top, tight.bottom, side):
        for left in range(tight.left, tight.right, side):
            cell = Box(top, left, min(top + side, tight.bottom), min(left + side, tight.right))
            if hole[cell.slices].any():
                yield cell
