"""How close a filled image is to the truth by the formulas of published evaluation scripts.

They differ from the textbook's (``metrics.py``), so a number of theirs compares only with the same formula.
Images are ``(B, 3, H, W)`` RGB in [0, 1]; results are ``(B,)`` float64, higher is better. Unequal shapes, or
an image smaller than a window, are a ShapeError.

Source: the formulas as inferred from the scripts' own outputs, some of which are kept in tests/goldens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError
from inpaint.metrics import as_double, gaussian_mean, ssim_over

_MAE_FAR_FLOOR = 1e-7
_MAE_FAR_WINDOW = 7
_LUMA = (0.2125, 0.7154, 0.0721)  # of red, green, blue in linear light: scikit-image's grey
_LAMA_PADDING = 5


def mae_far_psnr_db(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB of MAE-FAR's script: ``1 - 10 log10(MSE + 1e-7)``.

    The maximal value is added instead of divided by: one decibel above the textbook, and 71 for equal images.
    """
    _check_pair(prediction, target, smallest=1)
    error = (as_double(prediction) - as_double(target)).square().flatten(1).mean(dim=1)
    return 1 - 10 * torch.log10(error + _MAE_FAR_FLOOR)


def mae_far_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of MAE-FAR's script: too high by about 0.05 at 0.8.

    Grey images whose red and blue are exchanged (files were read as BGR and weighted as RGB), a uniform
    window of 7 x 7, the covariance of a sample, and a data range of 2, twice what images in [0, 1] have.
    """
    _check_pair(prediction, target, smallest=_MAE_FAR_WINDOW)
    grey = [_exchanged_grey(as_double(image)) for image in (prediction, target)]
    pixels = _MAE_FAR_WINDOW**2

    def uniform_mean(images: Tensor) -> Tensor:
        return F.avg_pool2d(images, _MAE_FAR_WINDOW, stride=1)

    return ssim_over(uniform_mean, *grey, data_range=2.0, correction=pixels / (pixels - 1))


def lama_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of LaMa's evaluation: the textbook's window put on every pixel, with zeros around the image.

    The zeros darken both images alike along their borders. The script computes in float32 and is off by up to
    3e-5 itself.
    """
    _check_pair(prediction, target, smallest=1)

    def padded_mean(images: Tensor) -> Tensor:
        return gaussian_mean(F.pad(images, (_LAMA_PADDING,) * 4))

    return ssim_over(padded_mean, prediction, target, data_range=1.0)


def _exchanged_grey(image: Tensor) -> Tensor:
    blue, green, red = image.flip(1).split(1, dim=1)  # named as the script takes them
    return _LUMA[0] * blue + _LUMA[1] * green + _LUMA[2] * red


def _check_pair(prediction: Tensor, target: Tensor, smallest: int) -> None:
    if prediction.ndim != 4 or prediction.shape[1] != 3 or prediction.shape != target.shape:
        raise ShapeError(
            f"got images {tuple(prediction.shape)} and {tuple(target.shape)}; expected two (B, 3, H, W) alike"
        )
    if min(prediction.shape[-2:]) < smallest:
        height, width = prediction.shape[-2:]
        raise ShapeError(f"got images of {height} x {width}; expected at least {smallest} pixels a side")
