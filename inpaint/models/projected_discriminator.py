"""A discriminator that sees images through a frozen feature network and fixed random projections.

Source:
    Sauer et al., *Projected GANs Converge Faster* (NeurIPS 2021), section 3: cross-channel mixing,
    cross-scale mixing, one small spectrally normalised discriminator for each scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_MOST_CHANNELS = 512
_SLOPE = 0.2  # of the leaky ReLU


class ProjectedDiscriminator(nn.Module):
    """Logits for the feature maps of an image at several scales.

    Channels of each scale are mixed by a random 1x1 convolution, scales from coarse to fine by random 3x3
    convolutions; both stay as they are drawn, are part of the state, and keep the discriminator from
    attending to a few features only. All small discriminators end at the resolution of the coarsest map.

    Args:
        channels: of the feature maps, the finest first.
        width: channels of the finest map after mixing; each coarser one has twice as many, up to 512.
    """

    def __init__(self, channels: Sequence[int], width: int = 64) -> None:
        super().__init__()
        widths = [min(width << level, _MOST_CHANNELS) for level in range(len(channels))]
        self.mix_channels = nn.ModuleList(
            nn.Conv2d(before, after, 1, bias=False) for before, after in zip(channels, widths, strict=True)
        )
        self.mix_scales = nn.ModuleList(
            nn.Conv2d(coarse, fine, 3, padding=1, bias=False) for fine, coarse in pairwise(widths)
        )
        for mixing in (*self.mix_channels, *self.mix_scales):
            assert isinstance(mixing, nn.Conv2d)
            nn.init.kaiming_normal_(mixing.weight, nonlinearity="linear")
            mixing.requires_grad_(False)
        last = len(widths) - 1
        self.heads = nn.ModuleList(_build_head(wide, last - level) for level, wide in enumerate(widths))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Judge the feature maps of images.

        Args:
            maps: ``(B, C, h, w)`` for each scale, the finest first.

        Returns:
            Logits ``(B, 1, h, w)`` for each scale, positive where an image looks real.
        """
        mixed = [mix(features) for mix, features in zip(self.mix_channels, maps, strict=True)]
        for level in reversed(range(len(self.mix_scales))):
            size = mixed[level].shape[-2:]
            coarse = self.mix_scales[level](mixed[level + 1])
            mixed[level] = mixed[level] + F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        return [head(features) for head, features in zip(self.heads, mixed, strict=True)]


def _build_head(channels: int, downs: int) -> nn.Sequential:
    """Convolutions of one scale: each of `downs` halves the resolution and doubles the channels."""
    layers: list[nn.Module] = [spectral_norm(nn.Conv2d(channels, channels, 3, padding=1))]
    for _ in range(downs):
        wider = min(2 * channels, _MOST_CHANNELS)
        convolution = nn.Conv2d(channels, wider, 4, stride=2, padding=1)
        layers += [nn.LeakyReLU(_SLOPE), spectral_norm(convolution)]
        channels = wider
    return nn.Sequential(*layers, nn.LeakyReLU(_SLOPE), spectral_norm(nn.Conv2d(channels, 1, 3, padding=1)))
