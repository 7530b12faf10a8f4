"""How close a filled image is to the truth: one value per image, in double precision.

Images are ``(B, C, H, W)`` in [0, 1], masks ``(B, 1, H, W)`` with 1 = hole, results ``(B,)`` float64. Other
ranges take ``data_range``, the distance from black to white (255 for 8 bits). Unequal shapes are a
ShapeError. Nothing is clamped, rounded or composited here: that is the caller's protocol.

The first functions are textbook definitions. The scripts of published evaluations, ``mae_far_*`` and
``lama_*``, compute something else, so a number of theirs compares only with the same formula; theirs take
``(B, 3, H, W)`` RGB. Source of those: inferred from the scripts' outputs, some of which are in tests/goldens.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError

_SSIM_RADIUS = 5  # the usual 11 x 11 window: 3.5 standard deviations
_SSIM_SIGMA = 1.5
_MAE_FAR_FLOOR = 1e-7
_MAE_FAR_WINDOW = 7
_LUMA = (0.2125, 0.7154, 0.0721)  # of red, green, blue in linear light: scikit-image's grey


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
    _check_pair(prediction, target, smallest=2 * _SSIM_RADIUS + 1)
    return _mean_ssim(prediction, target, _gaussian_mean, data_range)


def mae_far_psnr_db(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB of MAE-FAR's script: ``1 - 10 log10(MSE + 1e-7)``.

    The maximal value is added instead of divided by: one decibel above the textbook, and 71 for equal images.
    """
    _check_pair(prediction, target, rgb=True)
    error = _difference(prediction, target).square().flatten(1).mean(dim=1)
    return 1 - 10 * torch.log10(error + _MAE_FAR_FLOOR)


def mae_far_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of MAE-FAR's script: too high by about 0.05 at 0.8.

    Grey images whose red and blue are exchanged (files were read as BGR and weighted as RGB), a uniform
    window of 7 x 7, the covariance of a sample, and a data range of 2, twice what images in [0, 1] have.
    """
    _check_pair(prediction, target, smallest=_MAE_FAR_WINDOW, rgb=True)

    def grey(image: Tensor) -> Tensor:
        blue, green, red = _as_double(image).flip(1).split(1, dim=1)  # named as the script takes them
        return _LUMA[0] * blue + _LUMA[1] * green + _LUMA[2] * red

    uniform_mean, pixels = partial(F.avg_pool2d, kernel_size=_MAE_FAR_WINDOW, stride=1), _MAE_FAR_WINDOW**2
    correction = pixels / (pixels - 1)
    return _mean_ssim(grey(prediction), grey(target), uniform_mean, data_range=2.0, correction=correction)


def lama_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of LaMa's evaluation: the textbook's window put on every pixel, with zeros around the image.

    The zeros darken both images alike along their borders. The script computes in float32 and is off by up to
    3e-5 itself.
    """
    _check_pair(prediction, target, rgb=True)

    return _mean_ssim(prediction, target, lambda images: _gaussian_mean(F.pad(images, (_SSIM_RADIUS,) * 4)))


def _mean_ssim(
    prediction: Tensor,
    target: Tensor,
    window_mean: Callable[[Tensor], Tensor],
    data_range: float = 1.0,
    correction: float = 1.0,
) -> Tensor:
    """Structural similarity by its formula, with any window.

    ``window_mean`` gives the weighted mean around every place the window is put; ``correction`` is a factor
    on variances and covariances: ``n / (n - 1)`` makes those of a sample.
    """
    a, b = _as_double(prediction), _as_double(target)
    mean_a, mean_b = window_mean(a), window_mean(b)
    mean_product, mean_squares = mean_a * mean_b, mean_a.square().add_(mean_b.square())
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    covariance = window_mean(a * b).sub_(mean_product).mul_(correction)
    variances = window_mean(a.square().add_(b.square())).sub_(mean_squares).mul_(correction)
    similarity = mean_product.mul_(2).add_(c1).mul_(covariance.mul_(2).add_(c2))
    return similarity.div_(mean_squares.add_(c1).mul_(variances.add_(c2))).flatten(1).mean(dim=1)


def _gaussian_mean(images: Tensor) -> Tensor:
    """SSIM's Gaussian mean wherever the window fits: ``(B, C, H, W)`` to ``(B, C, H - 10, W - 10)``.

    Shifted sums along one axis, then the other: in double precision four times as fast as a convolution.
    """
    offsets = range(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    weights = [math.exp(-(offset**2) / (2 * _SSIM_SIGMA**2)) for offset in offsets]
    total = sum(weights)
    for axis in (-2, -1):
        length = images.shape[axis] - 2 * _SSIM_RADIUS
        blurred = torch.zeros_like(images.narrow(axis, 0, length))
        for start, weight in enumerate(weights):
            blurred.add_(images.narrow(axis, start, length), alpha=weight / total)
        images = blurred
    return images


def _as_double(tensor: Tensor) -> Tensor:
    """The tensor in double precision, on the CPU where the device has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _difference(prediction: Tensor, target: Tensor) -> Tensor:
    _check_pair(prediction, target)
    return _as_double(prediction) - _as_double(target)


def _mean_over_hole(values: Tensor, mask: Tensor) -> Tensor:
    if tuple(mask.shape) != (values.shape[0], 1, *values.shape[-2:]):
        raise ShapeError(f"got mask {tuple(mask.shape)} for {tuple(values.shape)}; expected (B, 1, H, W)")
    hole = (mask > 0.5).to(values.device)
    # Selection, not multiplication: what is not finite outside the hole stays outside.
    total = torch.where(hole, values, 0.0).flatten(1).sum(dim=1)
    return total / (hole.flatten(1).sum(dim=1) * values.shape[1])


def _check_pair(prediction: Tensor, target: Tensor, *, smallest: int = 1, rgb: bool = False) -> None:
    if prediction.ndim != 4 or prediction.shape != target.shape or (rgb and prediction.shape[1] != 3):
        raise ShapeError(
            f"got images {tuple(prediction.shape)} and {tuple(target.shape)}; "
            f"expected two (B, {3 if rgb else 'C'}, H, W) alike"
        )
    height, width = prediction.shape[-2:]
    if min(height, width) < smallest:
        raise ShapeError(f"got images of {height} x {width}; expected at least {smallest} x {smallest}")
