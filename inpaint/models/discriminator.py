"""Discriminators: logits for overlapping patches of an image, positive where it looks real."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from inpaint.errors import ShapeError

_MOST_CHANNELS = 512
_SLOPE = 0.2  # of the leaky ReLU


class PatchDiscriminator(nn.Module):
    """PatchGAN: six 4x4 convolutions, batch-normalised from the second to the fifth.

    Channels start at ``width``, 64 in the published models, and double up to 512, strides are 2, 2, 2, 2, 1;
    a last one gives one logit. Zero padding of 2 everywhere, so 256 pixels give 19 x 19 logits.

    Source: Isola et al. (CVPR 2017) in the form of pix2pixHD and LaMa.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = [3, *(min(width << level, _MOST_CHANNELS) for level in range(5))]
        strides = [2, 2, 2, 2, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=stride, padding=2)
            for (before, after), stride in zip(pairwise(channels), strides, strict=True)
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
        """Logits ``(B, 1, h, w)`` for images ``(B, 3, H, W)`` in [0, 1], and what the head reads."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"got {tuple(image.shape)}, expected a batch of images (B, 3, H, W)")
        activations, features = [], image
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = F.leaky_relu(norm(conv(features)), _SLOPE)
            activations.append(features)
        return self.head(features), activations


class ProjectedDiscriminator(nn.Module):
    """Logits for the feature maps of an image at several scales.

    Channels of each scale are mixed by a random 1x1 convolution, scales from coarse to fine by random 3x3
    convolutions; both stay as they are drawn, are part of the state, and keep the discriminator from
    attending to a few features only. All small discriminators end at the resolution of the coarsest map.

    Args:
        channels: of the feature maps, the finest first.
        width: channels of the finest map after mixing; each coarser one has twice as many, up to 512.

    Source:
        Sauer et al., *Projected GANs Converge Faster* (NeurIPS 2021), section 3: cross-channel mixing,
        cross-scale mixing, one small spectrally normalised discriminator for each scale.
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
        """Logits ``(B, 1, h, w)`` for the feature maps ``(B, C, h, w)`` of each scale, the finest first."""
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
