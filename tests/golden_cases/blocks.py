"""Fourier and gated building blocks against the reference's."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.layers.ffc import FourierResidualBlock, FourierUnit, SpectralTransform
from inpaint.models.adapter import GatedConvolution
from tests.golden_cases.case import Case

_FFC_NAMES = [
    (r"ffc\.convg2g\.conv1\.0\.", "global_to_global.squeeze."),
    (r"ffc\.convg2g\.conv1\.1\.", "global_to_global.norm."),
    (r"ffc\.convg2g\.fu\.conv_layer\.", "global_to_global.fourier.convolution."),
    (r"ffc\.convg2g\.fu\.bn\.", "global_to_global.fourier.norm."),
    (r"ffc\.convg2g\.lfu\.conv_layer\.", "global_to_global.local_fourier.convolution."),
    (r"ffc\.convg2g\.lfu\.bn\.", "global_to_global.local_fourier.norm."),
    (r"ffc\.convg2g\.conv2\.", "global_to_global.widen."),
    (r"ffc\.convl2l\.", "local_to_local."),
    (r"ffc\.convl2g\.", "local_to_global."),
    (r"ffc\.convg2l\.", "global_to_local."),
    (r"bn_l\.", "norm_local."),
    (r"bn_g\.", "norm_global."),
]


def our_block_name(key: str) -> str:
    """Our name of a parameter of an official residual block (``ffc1``/``ffc2`` or ``conv1``/``conv2``)."""
    key = re.sub(r"^(ffc|conv)1\.", "first.", key)
    key = re.sub(r"^(ffc|conv)2\.", "second.", key)
    for pattern, ours in _FFC_NAMES:
        key = re.sub(pattern, ours, key, count=1)
    return key


def our_spectral_name(key: str) -> str:
    """Our name of a parameter of an official spectral transform."""
    return our_block_name(f"ffc.convg2g.{key}").removeprefix("global_to_global.")


def our_fourier_name(key: str) -> str:
    """Our name of a parameter of an official Fourier unit."""
    return our_spectral_name(f"fu.{key}").removeprefix("fourier.")


def _run(case: Case, module: nn.Module, weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Any]:
    """Load, run every input ``x*`` to ``y*``, and report running statistics asked for as ``after.*``."""
    module.load_state_dict({names[key]: value for key, value in weights.items()})
    module.double().train("train" in case.name)
    results: dict[str, Any] = {}
    with torch.no_grad():
        for key, array in case.inputs.items():
            results[key.replace("x", "y")] = module(torch.from_numpy(array).double())
    state = module.state_dict()
    for output in case.outputs:
        if output.startswith("after."):
            results[output] = state[names[output.removeprefix("after.")]]
    return results


def check_fourier_unit(case: Case) -> dict[str, Any]:
    """A Fourier unit."""
    weights = case.weights()
    outputs, inputs = (side // 2 for side in weights["conv_layer.weight"].shape[:2])
    return _run(case, FourierUnit(inputs, outputs), weights, {key: our_fourier_name(key) for key in weights})


def check_spectral_transform(case: Case) -> dict[str, Any]:
    """A spectral transform, with or without its local unit, of stride 1 or 2."""
    weights = case.weights()
    stride = case.inputs["x0"].shape[-1] // case.outputs["y0"]["shape"][-1]
    local = any(key.startswith("lfu.") for key in weights)
    module = SpectralTransform(
        weights["conv1.0.weight"].shape[1], weights["conv2.weight"].shape[0], local=local, stride=stride
    )
    return _run(case, module, weights, {key: our_spectral_name(key) for key in weights})


def check_residual_block(case: Case) -> dict[str, Any]:
    """A Fourier residual block."""
    weights = case.weights()
    channels = weights["ffc1.bn_l.weight"].shape[0] + weights["ffc1.bn_g.weight"].shape[0]
    return _run(case, FourierResidualBlock(channels), weights, {key: our_block_name(key) for key in weights})


def check_gated_convolution(case: Case) -> dict[str, Any]:
    """A gated convolution: 3x3, or transposed 4x4 stride 2."""
    weights = {key.replace("gate_conv", "convolution"): value for key, value in case.weights().items()}
    shape = weights["convolution.weight"].shape
    transposed = shape[2] == 4
    inputs, outputs = (shape[0], shape[1] // 2) if transposed else (shape[1], shape[0] // 2)
    module = GatedConvolution(inputs, outputs, shape[2], 1 + transposed, 1, transposed=transposed)
    return _run(case, module, weights, {key: key for key in weights})
