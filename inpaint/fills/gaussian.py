"""Fine damage filled by linear prediction from the known pixels around it; images are RGB in [0, 1]."""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaint.baselines import push_pull
from inpaint.fills.canvas import Bools, Colours
from inpaint.framing import Box, tight_box

REACH = 3
"""Pixels around a hole from which it is predicted."""
NUGGET = 5e-4
"""Share of the variance that is added on the diagonal: keeps the equations well conditioned."""
BLOCK, MARGIN = 64, 32
"""Largest side in pixels of blocks that share a covariance; fewest pixels around where it is measured."""
SPREAD = 48
"""Standard deviation in pixels of the weights of pixels in it, by their distance to the block's middle."""
_PART = 16  # side in pixels of the parts of a hole that are predicted together
_NEARBY = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))


def predict_gaussian(
    images: Colours, unknown: Bools, holes: Bools, predictions: Mapping[int, Colours]
) -> Colours:
    """Fill holes with what is most likely if the image around them were a stationary Gaussian texture.

    The covariance of pixels by their distance is measured around each part of the hole, where unknown pixels
    hold the push-pull fill for that, in luma and in chroma; each hole pixel is the linear combination of the
    pixels near it, known or filled before, that has the least expected error. So edges and stripes go on
    where diffusion blurs them.

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
    fills = images.copy()
    for index, hole in enumerate(holes):
        fill, known = fills[index], ~unknown[index]
        if missing := tight_box(unknown[index], Box(0, 0, *hole.shape)):
            near = missing.grown(REACH, hole.shape).slices
            there = torch.from_numpy(unknown[index][near])[None, None]
            smooth = push_pull(torch.from_numpy(fill[near]).permute(2, 0, 1)[None], there.float())
            fill[near] = smooth[0].permute(1, 2, 0).numpy()
        for block in _cut(hole, Box(0, 0, *hole.shape), BLOCK):
            area = block.grown(max(MARGIN, *block.shape), hole.shape)
            seen = [fill, predictions[index]] if index in predictions else [fill]
            seen = [cv2.cvtColor(one[area.slices], cv2.COLOR_RGB2YCrCb) for one in seen]
            lags = 2 * (min(_PART, max(block.shape)) + 2 * REACH) - 1
            covariances = _covariances(np.asarray(seen[0]), block, area, lags)
            for part in _cut(hole, block, _PART):
                around = part.grown(REACH, hole.shape)
                wanted = np.zeros(around.shape, np.uint8)
                wanted[part.within(around)] = hole[part.slices]
                sources = cv2.dilate(wanted, _NEARBY) & known[around.slices]
                if sources.any():
                    there, here, near = np.flatnonzero(sources), np.flatnonzero(wanted), around.within(area)
                    found = _predict([one[near] for one in seen], there, here, covariances)
                    fill[around.slices][wanted > 0] = cv2.cvtColor(found[None], cv2.COLOR_YCrCb2RGB)[0]
                    seen[0][near][wanted > 0] = found
                    known[around.slices][wanted > 0] = True  # the next parts go on from it, without a seam
    return fills


def _predict(
    seen: list[Any], there: NDArray[np.intp], here: NDArray[np.intp], covariances: NDArray[np.float64]
) -> Colours:
    """Luma and chroma ``(N, 3)`` of the pixels ``here`` from those ``there`` and the prediction, if any."""
    lags, width = covariances.shape[-1], seen[0].shape[1]
    sources, targets = (places + places // width * (lags - width) for places in (there, here))
    between, towards = (places[:, None] - sources + lags**2 // 2 for places in (sources, targets))
    image, *prediction = (one.reshape(-1, 3) for one in seen)
    known = image[there].astype(np.float64)
    mean, found = known.mean(axis=0), np.empty((len(here), 3), np.float32)
    error = known - (prediction[0][there] if prediction else 0)
    bias = error.mean(axis=0)
    for channels, covariance in zip((slice(0, 1), slice(1, 3)), covariances.reshape(2, -1), strict=True):
        matrix, right = covariance[between], covariance[towards]
        matrix.ravel()[:: len(there) + 1] += NUGGET
        deviation = (known - mean)[:, channels]
        # By Cholesky, in OpenCV: half the time of NumPy's for so small ones.
        solved = cv2.solve(matrix, right.T if prediction else deviation, flags=cv2.DECOMP_CHOLESKY)[1]
        if not prediction:
            found[:, channels] = mean[channels] + right @ solved
            continue
        likely = mean[channels] + solved.T @ deviation
        textured = prediction[0][here, channels] + bias[channels] + solved.T @ (error - bias)[:, channels]
        uncertain = 1 - (solved.T * right).sum(axis=1, keepdims=True).clip(0, 1)
        found[:, channels] = likely + uncertain * (textured - likely)
    return found


def _covariances(image: Colours, block: Box, area: Box, lags: int) -> NDArray[np.float64]:
    """Covariances of luma and of chroma around a block by ``lags`` rows and columns, 1 at lag 0."""
    middle = (block.top + block.bottom - 1) / 2, (block.left + block.right - 1) / 2
    places = zip(np.ogrid[area.slices], middle, strict=True)
    rows, columns = (np.exp(-(((place - at) / SPREAD) ** 2) / 2).astype(np.float32) for place, at in places)
    near = rows * columns
    # Room for all lags, so that the two sides do not meet, and a length that is fast to transform.
    padded = np.zeros([cv2.getOptimalDFTSize(side + lags // 2) for side in area.shape], np.float32)
    power, shifts = [], np.arange(lags) - lags // 2
    for channel, mean in zip(cv2.split(image), cv2.mean(image), strict=False):
        np.multiply(channel - np.float32(mean), near, out=padded[: area.shape[0], : area.shape[1]])
        spectrum = cv2.dft(padded)
        power.append(cv2.mulSpectrums(spectrum, spectrum, 0, conjB=True))
    found = [cv2.idft(one, flags=cv2.DFT_SCALE) for one in (power[0], power[1] + power[2])]
    found = [one[shifts[:, None], shifts] / max(float(one[0, 0]), 1e-6) for one in found]
    return np.stack(found).astype(np.float64)


def _cut(hole: Bools, box: Box, side: int) -> Iterator[Box]:
    """Cut the hole pixels of a box into cells."""
    tight = tight_box(hole, box) or Box(0, 0, 0, 0)
    for top in range(tight.top, tight.bottom, side):
        for left in range(tight.left, tight.right, side):
            cell = Box(top, left, min(top + side, tight.bottom), min(left + side, tight.right))
            if hole[cell.slices].any():
                yield cell
