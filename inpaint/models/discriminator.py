"""The patch discriminator: a logit for every overlapping patch of an image, positive where it looks real."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError

_MOST_CHANNELS = 512
_SLOPE = 0.2  # of the leaky ReLU


class PatchDiscriminator(nn.Module):
    """PatchGAN: six 4x4 convolutions, batch-normalised from the second to the fifth.

    Channels start at `width` and double up to 512, strides are 2, 2, 2, 2, 1; a last one gives one logit.
    Zero padding of 2 everywhere, so 256 pixels give 19 x 19 logits.

    Source: Isola et al. (CVPR 2017) in the form of pix2pixHD and LaMa.
    """

    def __init__(self, width: int = 64) -> None:
        """Build with random weights.

        Args:
            width: channels of the first convolution; 64 in the published models.
        """
        super().__init__()
        self.width = width
        channels = [3, *(min(width << level, _MOST_CHANNELS) for level in range(5))]
        strides = [2, 2, 2, 2, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=stride, padding=2)
            for before, after, stride in zip(channels[:-1], channels[1:], strides, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.Identity() if level == 0 else nn.BatchNorm2d(after) for level, after in enumerate(channels[1:])
        )
        self.head = nn.Conv2d(channels[-1], 1, 4, padding=2)
        self._initialise()

    def _initialise(self) -> None:
        """Keep the variance of activations through the convolutions; the head starts near zero."""
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, a=_SLOPE, nonlinearity="leaky_relu")
            nn.init.zeros_(conv.bias)
        assert self.head.bias is not None
        nn.init.normal_(self.head.weight, std=0.2 * self.head.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score images.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].

        Returns:
            Logits (B, 1, h, w), positive where a patch looks real, and the five activations before the head.

        Raises:
            ShapeError: `image` is not a batch of RGB images.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"got {tuple(image.shape)}, expected a batch of images (B, 3, H, W)")
        activations, features = [], image
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = F.leaky_relu(norm(conv(features)), _SLOPE)
            activations.append(features)
        return self.head(features), activations
