"""What pictures look like to a frozen network: the perceptual losses, and a feature distance for scores."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.ade20k import SceneFeatures
from inpaint.features.prior import MaeFeatures
from inpaint.train.config import PerceptualNetwork

_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
_SHORTEST = 1e-4  # activations are in the hundreds; keeps the gradient finite where all channels are silent


class _Fire(nn.Module):
    """Squeeze to few channels with a 1x1 convolution, expand with a 1x1 and a 3x3 side by side."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze(features))
        return F.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1))


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet 1.1 with its original Caffe weights, as a frozen observer of pictures.

    Parameters are named as in torchvision (`features.3.squeeze.weight`, ...). The network is always in eval
    mode, takes no gradient for its own weights and computes in float32.

    Source: Iandola et al., "SqueezeNet" (2016), arXiv 1602.07360, release 1.1.
    """

    mean: Tensor
    TAPS = (1, 4, 7, 12)  # the first convolution's ReLU and three fire modules

    def __init__(self) -> None:
        super().__init__()

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            pool(),
            _Fire(64, 16, 64),
            _Fire(128, 16, 64),
            pool(),
            _Fire(128, 32, 128),
            _Fire(256, 32, 128),
            pool(),
            _Fire(256, 48, 192),
            _Fire(384, 48, 192),
            _Fire(384, 64, 256),
            _Fire(512, 64, 256),
        )
        self.register_buffer("mean", torch.tensor(_CAFFE_MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Load the weights from a safetensors file with torchvision's key names; a classifier is passed over.

        Raises:
            CheckpointError: the file is missing, unreadable or does not fit the network.
        """
        network = cls()
        load_frozen(network, path, called="SqueezeNet 1.1", passed_over="classifier.")
        return network

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, also inside a network that is put to training."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the activations at the four taps.

        Args:
            image: (B, 3, H, W) RGB in [0, 1], at least 17 pixels a side.

        Returns:
            Four float32 tensors of 64, 128, 256 and 512 channels.
        """
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < 17:
            raise ShapeError(
                f"got {tuple(image.shape)}, expected (B, 3, H, W) with at least 17 pixels a side"
            )
        with torch.autocast(image.device.type, enabled=False):
            # Caffe's convention, converted here and nowhere else: BGR, 0 to 255, less the mean colour.
            features = image.float().flip(1) * 255 - self.mean
            taps = []
            for index, layer in enumerate(self.features):
                features = layer(features)
                if index in self.TAPS:
                    taps.append(features)
        return taps

    def feature_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare pictures by their features; differentiable in both.

        Every position of every tap is scaled to unit length over its channels; squared differences are summed
        over channels and averaged over positions and then over taps.

        Args:
            prediction: (B, 3, H, W) RGB in [0, 1].
            target: as `prediction`.

        Returns:
            (B,) float32 distances, 0 for equal pictures, at most 4 (activations are not negative: at most 2).
        """
        if prediction.shape != target.shape:
            raise ShapeError(
                f"got pictures of {tuple(prediction.shape)} and {tuple(target.shape)}, expected equal shapes"
            )
        distances = [
            (F.normalize(a, dim=1, eps=_SHORTEST) - F.normalize(b, dim=1, eps=_SHORTEST))
            .square()
            .sum(1)
            .mean((1, 2))
            for a, b in zip(self(prediction), self(target), strict=True)
        ]
        return torch.stack(distances).mean(0)


def load_perceptual(
    network: PerceptualNetwork, path: Path | str
) -> SqueezeNetFeatures | SceneFeatures | MaeFeatures:
    """Load the network of a perceptual loss; its `feature_distance(prediction, target)` gives (B,) distances.

    Args:
        network: "squeezenet", "ade20k" as published, or "mae", our own encoder.
        path: its weights.

    Raises:
        CheckpointError: the file is missing, unreadable or does not fit; says what was expected.
    """
    kinds = {"squeezenet": SqueezeNetFeatures, "ade20k": SceneFeatures, "mae": MaeFeatures}
    return kinds[network].from_file(path)


def load_frozen(network: nn.Module, path: Path | str, *, called: str, passed_over: str) -> None:
    """Load a feature network's weights from a safetensors file, strictly.

    Args:
        network: takes the weights, as float32.
        path: the file.
        called: the network's name, for the error.
        passed_over: keys that begin with this are left out: a classifier nobody asks here.

    Raises:
        CheckpointError: the file is missing, unreadable or does not fit the network.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise CheckpointError(f"{path}: cannot be read as a safetensors file ({problem})") from None
    state = {key: value.float() for key, value in state.items() if not key.startswith(passed_over)}
    try:
        network.load_state_dict(state)
    except RuntimeError as problem:
        reason = " ".join(str(problem).split())[:300]
        raise CheckpointError(f"{path}: not the weights of {called} ({reason})") from None
