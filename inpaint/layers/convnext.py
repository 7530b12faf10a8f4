"""ConvNeXt V2 on the visible part of an image: timm's modules with masked convolutions.

A hidden position counts as absent, as in a sparse network: it is zero to every convolution, the statistics of
GRN leave it out, and what is computed there is discarded.

Shapes: images and features ``(B, C, H, W)`` in channels-last memory; ``visible`` ``(B, 1, H, W)`` bool.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3: masked dense convolution in place of sparse convolution,
    global response normalisation. Statistics are those of each image, as in the finished network.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.errors import ConfigError, require

STEM = 4
"""Pixels a side that the first convolution makes one position of."""
EPSILON = 1e-6

Aggregation = Literal["l2", "l1", "average"]
Normalisation = Literal["divisive", "standardised", "none"]


def require_timm() -> Any:
    """Import timm; an InpaintError names the extra where it is not installed."""
    return require("timm", "a backbone such as ConvNeXt", "backbones")


class GlobalResponseNorm(nn.Module):
    """``x + weight * x * N + bias`` with one number ``N`` a channel, from how strong it is in the image.

    As published, ``N`` is a channel's L2 norm (``aggregation``) over the mean of all channels' norms
    (``normalisation`` "divisive"), as in timm's module.

    Source:
        ConvNeXt V2, section 3.3 and the ablations in table 2; the deviation is that of the C numbers.
    """

    def __init__(
        self, channels: int, aggregation: Aggregation = "l2", normalisation: Normalisation = "divisive"
    ) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.normalisation = normalisation
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, visible: Tensor | None = None) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape; ``visible`` ``(B, H, W, 1)``, None = all."""
        scale = 1 + self.weight * self._normalise(self._aggregate(features, visible))
        return torch.addcmul(self.bias.to(features.dtype), features, scale.to(features.dtype))

    def _aggregate(self, features: Tensor, visible: Tensor | None) -> Tensor:
        """Strength of each channel where it is visible: ``(B, 1, 1, C)``, float32 at least."""
        counted = features if visible is None else features * visible
        exact = torch.promote_types(features.dtype, torch.float32)
        if self.aggregation == "average":
            positions = torch.ones_like(features[..., :1]) if visible is None else visible
            count = positions.sum(dim=(1, 2), keepdim=True, dtype=exact).clamp(min=1)
            return counted.sum(dim=(1, 2), keepdim=True, dtype=exact) / count
        power = {"l1": 1, "l2": 2}[self.aggregation]
        return torch.linalg.vector_norm(counted, power, dim=(1, 2), keepdim=True, dtype=exact)

    def _normalise(self, strength: Tensor) -> Tensor:
        if self.normalisation == "none":
            return strength
        if self.normalisation == "divisive":
            return strength / (strength.mean(dim=-1, keepdim=True) + EPSILON)
        variance, mean = torch.var_mean(strength, dim=-1, keepdim=True, correction=0)
        return (strength - mean) / (variance + EPSILON).sqrt()


MakeGrn = Callable[[int], GlobalResponseNorm]


class MaskedBlock(nn.Module):
    """A block of ConvNeXt V2: depthwise 7x7, LayerNorm, four times as wide with GELU and GRN, and back.

    Takes over the parts of timm's ``block``, without layer scale and GRN; ``grn`` None leaves GRN out.
    """

    def __init__(self, block: Any, grn: MakeGrn | None) -> None:
        super().__init__()
        self.conv_dw, self.norm, self.mlp = block.conv_dw, block.norm, block.mlp
        self.mlp.grn = None if grn is None else grn(self.mlp.fc1.out_features)

    def forward(self, features: Tensor, visible: Tensor | None = None) -> Tensor:
        """Map ``(B, C, H, W)``, zero at hidden positions, to the same; ``visible`` None = all."""
        # After the convolution positions read each other through GRN alone: masking there and here suffices.
        mixed = self.conv_dw(features).permute(0, 2, 3, 1)  # (B, H, W, C)
        wide = self.mlp.act(self.mlp.fc1(self.norm(mixed)))  # (B, H, W, 4 * C)
        if self.mlp.grn is not None:
            wide = self.mlp.grn(wide, None if visible is None else visible.permute(0, 2, 3, 1))
        features = features + self.mlp.fc2(wide).permute(0, 3, 1, 2)
        return features if visible is None else features * visible


def build_block(width: int, grn: MakeGrn | None = GlobalResponseNorm) -> MaskedBlock:
    """One block of ``width`` channels with timm's starting weights."""
    return MaskedBlock(require_timm().models.convnext.ConvNeXtBlock(width, ls_init_value=None), grn)


class MaskedConvNeXt(nn.Module):
    """The stem and the first three or all four stages of timm's ConvNeXt V2.

    The stem makes a position of 4 x 4 pixels and each further stage one of four, so that three stages end at
    1/16 of the image and four at 1/32. ``depths`` are blocks, ``widths`` channels of each stage.

    Raises:
        InpaintError: timm is not installed.
        ConfigError: another number of stages.
    """

    def __init__(
        self, depths: tuple[int, ...], widths: tuple[int, ...], grn: MakeGrn | None = GlobalResponseNorm
    ) -> None:
        super().__init__()
        if len(depths) not in (3, 4) or len(widths) != len(depths):
            raise ConfigError(f"got depths {depths} and widths {widths}, expected three or four of each")
        # timm has four stages always; where the fourth is not wanted, the smallest one is built and dropped.
        sizes = {"depths": (*depths, 1)[:4], "dims": (*widths, widths[-1])[:4]}
        network = require_timm().models.convnext.ConvNeXt(**sizes, ls_init_value=None, num_classes=0)
        self.stem = network.stem
        self.stages = network.stages[: len(depths)]
        for stage in self.stages:
            stage.blocks = nn.ModuleList(MaskedBlock(block, grn) for block in stage.blocks)

    def forward(self, image: Tensor, visible: Tensor) -> list[Tensor]:
        """Features after each stage, zero at hidden positions, the finest first.

        ``image`` is ``(B, 3, H, W)``, normalised; hidden pixels are not read. A window of the stem or of a
        down-sampling lies within one cell of ``visible``, which has the last stage's resolution, so that
        masking after them is enough.
        """
        pixels = enlarge(visible, STEM * 2 ** (len(self.stages) - 1))
        image = torch.where(pixels, image, 0.0).contiguous(memory_format=torch.channels_last)
        features = self.stem(image)
        outputs = []
        for level, stage in enumerate(self.stages, start=1):
            here = enlarge(visible, 2 ** (len(self.stages) - level))
            features = stage.downsample(features) * here
            for block in stage.blocks:
                features = block(features, here)
            outputs.append(features)
        return outputs


def enlarge(cells: Tensor, rate: int) -> Tensor:
    """Repeat each cell of a bool ``(B, 1, h, w)`` ``rate`` times each way."""
    return F.interpolate(cells.to(torch.uint8), scale_factor=rate, mode="nearest").bool()
