"""Measures against the published evaluation script: pictures, features, and the input of its Inception."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from eval.measures.distribution import frechet_shares, pair_up
from inpaint import metrics
from inpaint.features.measures import mae_far_input, resize_8_bits
from tests.golden_cases.case import Case

_COLUMNS = {
    "PSNR": metrics.mae_far_psnr_db,
    "SSIM": metrics.mae_far_ssim,
    "MSE": lambda a, b: (a - b).square().mean(dim=(1, 2, 3)),
    "MAE": metrics.l1,
}


def picture(array: np.ndarray) -> Tensor:
    """``(H, W, 3)`` uint8 as ``(1, 3, H, W)`` float64 in [0, 1]."""
    return torch.from_numpy(array).permute(2, 0, 1)[None].double() / 255


def has_pairs(case: Case) -> bool:
    """Does the case hold images ``a_NAME`` and ``b_NAME``, and a table of their measures?"""
    names = {key[:2] for key in case.entry["inputs"]}
    return {"a_", "b_"} <= names and "official" in case.outputs


def check_pictures(case: Case) -> dict[str, Any]:
    """A table of pairs by columns; every pair has a size of its own, and its two images may differ in it."""
    inputs = case.inputs
    stored = [key[2:] for key in case.entry["inputs"] if key.startswith("a_")]
    listed = case.config.get("pairs", stored)
    names = listed if set(map(str, listed)) == set(stored) else stored
    columns = case.config.get("columns", list(_COLUMNS))
    table = []
    for name in names:
        source, target = inputs[f"a_{name}"], inputs[f"b_{name}"]
        if source.shape != target.shape:  # the script brings the target to the size of what it measures
            target = cv2.resize(target, source.shape[1::-1])
        table.append([_COLUMNS[column](picture(source), picture(target)).item() for column in columns])
    return {"official": table}


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
