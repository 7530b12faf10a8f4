"""Measures against the published evaluation script: pictures, features, and the input of its Inception."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.measures.distribution import frechet_shares, pair_up
from inpaint import metrics, published_metrics
from inpaint.features.inception import mae_far_input, resize_8_bits
from tests.golden_cases.case import Case

_COLUMNS = {
    "PSNR": published_metrics.mae_far_psnr_db,
    "SSIM": published_metrics.mae_far_ssim,
    "MSE": lambda a, b: (a - b).square().mean(dim=(1, 2, 3)),
    "MAE": metrics.l1,
}


def picture(array: np.ndarray) -> Tensor:
    """``(H, W, 3)`` uint8 as ``(1, 3, H, W)`` float64 in [0, 1]."""
    return torch.from_numpy(array).permute(2, 0, 1)[None].double() / 255


def check_pictures(case: Case) -> dict[str, Any]:
    """A table of pairs by columns, as the config names them."""
    inputs = case.inputs
    pairs = [(picture(inputs[f"a_{name}"]), picture(inputs[f"b_{name}"])) for name in case.config["pairs"]]
    return {"official": [[_COLUMNS[name](*pair).item() for name in case.config["columns"]] for pair in pairs]}


def check_frechet(case: Case) -> dict[str, Any]:
    """The Frechet distance of two sets of features of equal size."""
    return {"fid": frechet_shares(*pair_up(case.inputs["x"], case.inputs["y"])).mean()}


def check_inception_input(case: Case) -> dict[str, Any]:
    """A picture resized in 8 bits, and what the network sees of it."""
    image = picture(case.inputs["img_u8"])
    pixels, inputs = case.config["strides"]
    resized = (resize_8_bits(image)[0] * 255).round().permute(1, 2, 0)
    return {
        "resized_u8_sub": resized[::pixels, ::pixels],
        "net_input_sub": mae_far_input(image)[:, :, ::inputs, ::inputs],
    }
