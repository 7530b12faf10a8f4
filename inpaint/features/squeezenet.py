"""SqueezeNet 1.1 with its original Caffe weights: a perceptual loss, and the feature distance sqd."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.frozen import TapNetwork, check_images

_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
_SHORTEST = 1e-4  # activations are in the hundreds; keeps the gradient finite where all channels are silent


class SqueezeNetFeatures(TapNetwork):
    """SqueezeNet 1.1 up to its last fire module; the graph and the names of the keys are torchvision's.

    Its distance scales every position of every tap to unit length over the channels, sums squared differences
    over channels and averages over positions and taps: from 0 to 2, as activations are not negative.

    Source: Iandola et al., "SqueezeNet" (2016), arXiv 1602.07360, release 1.1.
    """

    mean: Tensor
    weights = "SqueezeNet 1.1"
    ignored = ("classifier.",)
    TAPS = (1, 4, 7, 12)  # the first convolution's ReLU and three fire modules

    def __init__(self) -> None:
        from torchvision.models import squeezenet1_1

        super().__init__()
        self.features = squeezenet1_1(weights=None).features
        self.register_buffer("mean", torch.tensor(_CAFFE_MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the activations at the four taps.

        Args:
            image: ``(B, 3, H, W)`` RGB in [0, 1], at least 17 pixels a side.

        Returns:
            Four float32 tensors of 64, 128, 256 and 512 channels.
        """
        check_images(image, smallest=17)
        with torch.autocast(image.device.type, enabled=False):
            # Caffe's convention, converted here and nowhere else: BGR, 0 to 255, less the mean colour.
            features = image.float().flip(1) * 255 - self.mean
            taps = []
            for index, layer in enumerate(self.features):
                features = layer(features)
                if index in self.TAPS:
                    taps.append(features)
        return taps

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of one tap."""
        a, b = (F.normalize(tap, dim=1, eps=_SHORTEST) for tap in (first, second))
        return (a - b).square().sum(1).mean((1, 2))
