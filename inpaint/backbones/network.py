"""Build a backbone, load its weights, count it, and send an image through it."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint.backbones.registry import Backbone, WeightsFile, locate_weights
from inpaint.errors import CheckpointError, WeightsError
from inpaint.images import image_to_tensor
from inpaint.layers.convnext import require_timm

SIZE = 224
SHOWN = 16
_CELL = 96  # pixels of one map on a sheet
_GAP = 4


@dataclass(frozen=True)
class LoadedBackbone:
    """A network in evaluation mode."""

    backbone: Backbone
    network: nn.Module  # takes (B, 3, H, W), normalised as timm has it
    weights: str | None = None  # where they came from; None for random ones
    missing: str = ""  # why there are no trained weights and where to put them


def load_backbone(backbone: Backbone, *, weights: Path | None = None, fetch: bool = True) -> LoadedBackbone:
    """Build a backbone with its trained weights, or with random ones, which the result says.

    ``weights`` are in timm's layout or, for ConvNeXt, the authors'; None looks for :attr:`Backbone.file` in
    the folders of the other checkpoints, then in the hub's cache, and fetches it where ``fetch`` allows.

    Raises:
        InpaintError: timm is not installed.
        CheckpointError: a weights file does not fit or cannot be read.
    """
    loaded = random_backbone(backbone)
    try:
        found = WeightsFile(weights, weights.name) if weights else locate_weights(backbone, ask_hub=fetch)
    except WeightsError as error:
        return replace(loaded, missing=str(error))
    _load(loaded.network, backbone, found.path)
    return replace(loaded, weights=found.origin)


def random_backbone(backbone: Backbone) -> LoadedBackbone:
    """A backbone with random weights, the same ones each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LoadedBackbone(backbone, build_network(backbone))


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


class BackboneOutput(NamedTuple):
    """What one backbone makes of one image."""

    guesses: list[tuple[str, float]]  # five class names with their probability; none for random weights
    stages: list[tuple[Tensor, float]]  # the feature maps of each, (C, h, w), and their channel_distance


@torch.inference_mode()
def run_backbone(loaded: LoadedBackbone, image: Image.Image) -> BackboneOutput:
    """Send an image of any size, made square by a centre crop and 224 pixels large, through a backbone."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    square = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    config = require_timm().data.resolve_model_data_config(loaded.network)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    pixels = (image_to_tensor(square) - mean) / std
    guesses = []
    if loaded.weights is not None:
        names = require_timm().data.ImageNetInfo()
        best = loaded.network(pixels).softmax(dim=1)[0].topk(5)
        classes = map(names.index_to_description, best.indices.tolist())
        guesses = list(zip(classes, best.values.tolist(), strict=True))
    maps = loaded.network.forward_intermediates(pixels, intermediates_only=True)  # type: ignore[operator]
    stages = [features[0].float() for features in _one_a_stage(maps)]
    return BackboneOutput(guesses, [(features, channel_distance(features)) for features in stages])


def channel_distance(features: Tensor) -> float:
    """Mean pairwise cosine distance of the channels of ``(C, h, w)``: 0 if all are alike (collapse), to 1.

    ``(1 - cos) / 2`` over all pairs, each channel with itself included: 0.5 for channels that have nothing in
    common (ConvNeXt V2, Woo et al. 2023, section 3.2).
    """
    channels = F.normalize(features.flatten(1).double(), dim=1, eps=1e-12)
    return float(((1 - channels @ channels.T) / 2).mean())


def feature_sheet(stage: Tensor) -> Image.Image:
    """The first channels of a stage ``(C, h, w)`` as a sheet of maps, each scaled to its own range."""
    maps = stage[:SHOWN].cpu().numpy()
    columns = int(np.ceil(np.sqrt(len(maps))))
    rows = -(-len(maps) // columns)
    sheet = np.full((rows * (_CELL + _GAP) - _GAP, columns * (_CELL + _GAP) - _GAP, 3), 255, np.uint8)
    for index, values in enumerate(maps):
        span = float(np.ptp(values)) or 1.0
        levels = np.rint((values - values.min()) / span * 255).astype(np.uint8)
        levels = cv2.resize(levels, (_CELL, _CELL), interpolation=cv2.INTER_NEAREST)
        top, left = index // columns * (_CELL + _GAP), index % columns * (_CELL + _GAP)
        colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]  # cv2 gives BGR
        sheet[top : top + _CELL, left : left + _CELL] = colours
    return Image.fromarray(sheet)


def _one_a_stage(maps: list[Tensor]) -> list[Tensor]:
    """At most four maps: the last of each resolution, or evenly spread where all have one (ViT)."""
    last = {tuple(features.shape[-2:]): features for features in maps}
    if len(last) > 1:
        return list(last.values())
    picked = np.linspace(0, len(maps) - 1, min(4, len(maps))).round().astype(int)
    return [maps[index] for index in picked]


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
