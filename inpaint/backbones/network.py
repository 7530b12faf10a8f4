"""Build a backbone, find its weights, count it, time it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint.backbones.registry import Backbone
from inpaint.errors import CheckpointError
from inpaint.layers.convnext import require_timm
from inpaint.weights import FOLDER_VARIABLE, OFFLINE_VARIABLE, weights_folders

SIZE = 224


@dataclass(frozen=True)
class LoadedBackbone:
    """A network in evaluation mode.

    Attributes:
        backbone: what it is.
        network: takes ``(B, 3, H, W)``, normalised as ``mean`` and ``std`` say.
        mean: of the pixels, RGB.
        std: of the pixels, RGB.
        weights: where they came from; None for random ones.
        missing: why there are no trained weights, one line; empty where there are.
    """

    backbone: Backbone
    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str | None
    missing: str = ""


def load_backbone(backbone: Backbone, *, fetch: bool = True) -> LoadedBackbone:
    """Build a backbone with its trained weights, or with random ones, which the result says.

    Weights are looked for as ``NAME.TAG.safetensors`` in the folders of the other checkpoints, then, if
    ``fetch``, on timm's hub.

    Raises:
        InpaintError: timm is not installed.
        CheckpointError: a weights file is there but does not fit.
    """
    timm = require_timm()
    file = f"{backbone.pretrained}.safetensors"
    path = next((folder / file for folder in weights_folders() if (folder / file).is_file()), None)
    if path is not None:
        network = _from_file(timm, backbone, path)
        return _describe(timm, backbone, network, str(path.name))
    reason = "not asked to fetch them"
    if fetch and os.environ.get(OFFLINE_VARIABLE) == "1":
        reason = f"{OFFLINE_VARIABLE}=1 forbids fetching"
    elif fetch:
        try:
            network = timm.create_model(backbone.pretrained, pretrained=True)
            return _describe(timm, backbone, network, "timm's hub")
        except Exception as error:  # the hub's errors are many, and a network's more so
            reason = f"the hub cannot be reached ({type(error).__name__})"
    torch.manual_seed(0)
    missing = (
        f"no trained weights of {backbone.pretrained} here: {reason}. Put {file} (timm's file of that name) "
        f"into the folder that {FOLDER_VARIABLE} names. Until then the weights are random."
    )
    return _describe(timm, backbone, timm.create_model(backbone.name), None, missing)


def count_backbone(backbone: Backbone) -> tuple[float, float]:
    """Parameters in millions and multiply-adds in billions at 224 pixels, counted on the network itself."""
    timm = require_timm()
    with torch.device("meta"):
        network = timm.create_model(backbone.name).eval()
        picture = torch.empty(1, 3, SIZE, SIZE)
    counter = FlopCounterMode(display=False)
    with counter:
        network(picture)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters / 1e6, counter.get_total_flops() / 2e9  # two operations a multiply-add


@torch.inference_mode()
def measure_speed(
    network: nn.Module, *, batch: int = 1, seconds: float = 1.0, device: torch.device | str = "cpu"
) -> float:
    """Pictures of 224 pixels a second: the median of passes for about ``seconds``, after one to warm up."""
    device = torch.device(device)
    picture = torch.zeros(batch, 3, SIZE, SIZE, device=device)
    times: list[float] = []
    network(picture)
    begun = time.perf_counter()
    while not times or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        network(picture)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return batch / sorted(times)[len(times) // 2]


def class_names() -> list[str]:
    """The 1,000 ImageNet classes in the order of the networks' outputs, as timm ships them."""
    require_timm()
    from timm.data.imagenet_info import ImageNetInfo

    described = ImageNetInfo().label_descriptions()
    return list(described.values() if isinstance(described, dict) else described)


def _from_file(timm: Any, backbone: Backbone, path: Path) -> nn.Module:
    try:
        return timm.create_model(backbone.name, checkpoint_path=str(path))
    except Exception as error:  # timm passes on whatever torch and safetensors raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path.name} does not fit {backbone.name} ({reason}); get it again") from None


def _describe(
    timm: Any, backbone: Backbone, network: nn.Module, weights: str | None, missing: str = ""
) -> LoadedBackbone:
    data: dict[str, Any] = timm.data.resolve_model_data_config(network)
    network = network.eval().requires_grad_(False)
    return LoadedBackbone(backbone, network, tuple(data["mean"]), tuple(data["std"]), weights, missing)


def normalise(loaded: LoadedBackbone, image: Tensor) -> Tensor:
    """Bring ``(B, 3, H, W)`` in [0, 1] to what the network was trained on."""
    shape = (1, 3, 1, 1)
    return (image - image.new_tensor(loaded.mean).view(shape)) / image.new_tensor(loaded.std).view(shape)
