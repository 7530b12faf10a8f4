"""How close a filled image is to the truth: textbook definitions, one value per image, in double precision.

Images are ``(B, C, H, W)`` in [0, 1], masks ``(B, 1, H, W)`` with 1 = hole, results ``(B,)`` float64. Other
ranges take ``data_range``, the distance from black to white (255 for 8 bits). Unequal shapes are a
ShapeError. Nothing is clamped, rounded or composited here: that is the caller's protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inpaint.errors import ShapeError

_SSIM_RADIUS = 5  # the usual 11 x 11 window: 3.5 standard deviations
_SSIM_SIGMA = 1.5


def psnr_db(prediction: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio in dB, ``10 log10(range^2 / MSE)``: higher is better, infinite if equal."""
    error = _difference(prediction, target).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(data_range**2 / error)


def hole_psnr_db(prediction: Tensor, target: Tensor, mask: Tensor, data_range: float = 1.0) -> Tensor:
    """As :func:`psnr_db`, over the hole pixels only; NaN for an image without a hole."""
    error = _mean_over_hole(_difference(prediction, target).square(), mask)
    return 10 * torch.log10(data_range**2 / error)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over all pixels and channels, in the images' own units."""
    return _difference(prediction, target).abs().flatten(1).mean(dim=1)


def hole_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """As :func:`l1`, over the hole pixels only; NaN for an image without a hole."""
    return _mean_over_hole(_difference(prediction, target).abs(), mask)


def ssim(prediction: Tensor, target: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity, per channel, averaged over every place where the window fits and over channels.

    The window is a Gaussian of sigma 1.5 in 11 x 11 pixels, covariances are those of the population,
    K1 = 0.01, K2 = 0.03: the settings of the original paper (Wang et al. 2004), and of scikit-image with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``. 1 for equal images.

    Raises:
        ShapeError: unequal shapes, or an image smaller than the window.
    """
    _check_pair(prediction, target)
    if min(prediction.shape[-2:]) <= 2 * _SSIM_RADIUS:
        height, width = prediction.shape[-2:]
        raise ShapeError(f"got images of {height} x {width}; SSIM's window needs at least 11 x 11 pixels")
    return ssim_over(gaussian_mean, prediction, target, data_range)


def ssim_over(
    window_mean: Callable[[Tensor], Tensor],
    prediction: Tensor,
    target: Tensor,
    data_range: float,
    correction: float = 1.0,
) -> Tensor:
    """Structural similarity by its formula, with any window: what ``ssim`` and its published variants share.

    ``window_mean`` gives the weighted mean around every place the window is put; ``correction`` is a factor
    on variances and covariances: ``n / (n - 1)`` makes those of a sample.
    """
    _check_pair(prediction, target)
    a, b = as_double(prediction), as_double(target)
    mean_a, mean_b = window_mean(a), window_mean(b)
    mean_product, mean_squares = mean_a * mean_b, mean_a.square().add_(mean_b.square())
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    covariance = window_mean(a * b).sub_(mean_product).mul_(correction)
    variances = window_mean(a.square().add_(b.square())).sub_(mean_squares).mul_(correction)
    similarity = mean_product.mul_(2).add_(c1).mul_(covariance.mul_(2).add_(c2))
    return similarity.div_(mean_squares.add_(c1).mul_(variances.add_(c2))).flatten(1).mean(dim=1)


def gaussian_mean(images: Tensor) -> Tensor:
    """SSIM's Gaussian mean wherever the window fits: ``(B, C, H, W)`` to ``(B, C, H - 10, W - 10)``.

    Shifted sums along one axis, then the other: in double precision four times as fast as a convolution.
    """
    weights = [
        math.exp(-(offset**2) / (2 * _SSIM_SIGMA**2)) for offset in range(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    ]
    total = sum(weights)
    for axis in (-2, -1):
        length = images.shape[axis] - 2 * _SSIM_RADIUS
        blurred = torch.zeros_like(images.narrow(axis, 0, length))
        for start, weight in enumerate(weights):
            blurred.add_(images.narrow(axis, start, length), alpha=weight / total)
        images = blurred
    return images


def as_double(tensor: Tensor) -> Tensor:
    """The tensor in double precision, on the CPU where the device has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _difference(prediction: Tensor, target: Tensor) -> Tensor:
    _check_pair(prediction, target)
    return as_double(prediction) - as_double(target)


def _mean_over_hole(values: Tensor, mask: Tensor) -> Tensor:
    if tuple(mask.shape) != (values.shape[0], 1, *values.shape[-2:]):
        raise ShapeError(
            f"got mask {tuple(mask.shape)} for images {tuple(values.shape)}; expected (B, 1, H, W) alike"
        )
    hole = (mask > 0.5).to(values.device)
    # Selection, not multiplication: what is not finite outside the hole stays outside.
    total = torch.where(hole, values, 0.0).flatten(1).sum(dim=1)
    return total / (hole.flatten(1).sum(dim=1) * values.shape[1])


def _check_pair(prediction: Tensor, target: Tensor) -> None:
    if prediction.ndim != 4 or prediction.shape != target.shape:
        raise ShapeError(
            f"got images {tuple(prediction.shape)} and {tuple(target.shape)}; expected two (B, C, H, W) alike"
        )
