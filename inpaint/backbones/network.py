"""Build a backbone, load its weights, count it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint.backbones.registry import Backbone, WeightsFile, locate_weights
from inpaint.errors import CheckpointError, WeightsError
from inpaint.layers.convnext import require_timm

SIZE = 224


@dataclass(frozen=True)
class LoadedBackbone:
    """A network in evaluation mode."""

    backbone: Backbone
    network: nn.Module  # takes (B, 3, H, W), normalised by mean and std
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str | None  # where they came from; None for random ones
    missing: str = ""  # why there are no trained weights and where to put them


def load_backbone(backbone: Backbone, *, weights: Path | None = None, fetch: bool = True) -> LoadedBackbone:
    """Build a backbone with its trained weights, or with random ones, which the result says.

    ``weights`` are in timm's layout or, for ConvNeXt, the authors'; None looks for :attr:`Backbone.file` in
    the folders of the other checkpoints, then in the hub's cache, and fetches it where ``fetch`` allows.

    Raises:
        InpaintError: timm is not installed.
        CheckpointError: a weights file does not fit or cannot be read.
    """
    timm = require_timm()
    found, missing = None, ""
    try:
        found = WeightsFile(weights, weights.name) if weights else locate_weights(backbone, ask_hub=fetch)
    except WeightsError as error:
        missing = str(error)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are the same ones each time
        network = build_network(backbone)
    if found:
        _load(network, backbone, found.path)
    data: dict[str, Any] = timm.data.resolve_model_data_config(network)
    mean, std = tuple(data["mean"]), tuple(data["std"])
    return LoadedBackbone(backbone, network, mean, std, found and found.origin, missing)


def build_network(backbone: Backbone) -> nn.Module:
    """The network with random weights, in evaluation mode."""
    timm = require_timm()
    if backbone.tag:
        network = timm.create_model(backbone.pretrained, pretrained=False)
    else:
        from inpaint.backbones.isotropic import build_isotropic

        network = build_isotropic(backbone.name.rpartition("_")[2])
    return network.eval().requires_grad_(False)


def count_backbone(backbone: Backbone) -> tuple[float, float]:
    """Parameters in millions and MACs in billions at 224 pixels, counted on the network itself."""
    return count_network(lambda: build_network(backbone))


def count_network(build: Callable[[], nn.Module]) -> tuple[float, float]:
    """The same of the network that ``build`` makes in evaluation mode, on the meta device."""
    with torch.device("meta"):
        network = build()
        image = torch.empty(1, 3, SIZE, SIZE)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:  # without gradients it is three times as quick
        network(image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters / 1e6, counter.get_total_flops() / 2e9  # two operations a MAC


def class_names() -> list[str]:
    """The 1,000 ImageNet classes in the order of the networks' outputs, as timm ships them."""
    require_timm()
    from timm.data.imagenet_info import ImageNetInfo

    described = ImageNetInfo().label_descriptions()
    return list(described.values() if isinstance(described, dict) else described)


def normalise(loaded: LoadedBackbone, image: Tensor) -> Tensor:
    """Bring ``(B, 3, H, W)`` in [0, 1] to what the network was trained on."""
    shape = (1, 3, 1, 1)
    return (image - image.new_tensor(loaded.mean).view(shape)) / image.new_tensor(loaded.std).view(shape)


def _load(network: nn.Module, backbone: Backbone, path: Path) -> None:
    """Fill a network from a file, strictly and without running any code from it."""
    from timm.models import load_checkpoint
    from timm.models.convnext import checkpoint_filter_fn

    # Renames what the authors' files call otherwise; leaves files in timm's layout as they are.
    rename = checkpoint_filter_fn if "ConvNeXt" in backbone.family else None
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}; check the path")
    try:
        load_checkpoint(network, str(path), filter_fn=rename, weights_only=True)
    except Exception as error:  # timm passes on whatever torch and safetensors raise
        if isinstance(error, pickle.UnpicklingError) or isinstance(error.__cause__, pickle.UnpicklingError):
            raise CheckpointError(
                f"{path.name} holds more than weights, or none, and was not opened further, as that could "
                "run code; expected .safetensors, or tensors written by torch.save"
            ) from None
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path.name} does not fit {backbone.name} ({reason}); get it again") from None
