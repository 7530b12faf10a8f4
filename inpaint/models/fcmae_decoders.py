"""Three decoders for a convolutional masked autoencoder, as its published ablation compares them.

Each maps the projected latent, mask tokens at hidden places, to features that pixels are read from.

Shapes: latent ``(B, E, h, w)`` at the last stage's resolution; ``stages`` the encoder's outputs, the finest
first; ``rate`` how many positions a decoder's output has for one of the latent, each way.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3.1, where one ConvNeXt block does as well as
    the others for less.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.convnext import MakeGrn, build_block
from inpaint.layers.transformer import TransformerBlock
from inpaint.tokens import sincos_positions


class ConvNeXtDecoder(nn.ModuleList):
    """Blocks of ConvNeXt V2, one after the other; the encoder's stages are not read."""

    rate = 1

    def __init__(self, width: int, depth: int, grn: MakeGrn | None) -> None:
        super().__init__(build_block(width, grn) for _ in range(depth))

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to the same shape."""
        for block in self:
            latent = block(latent)
        return latent


class UNetDecoder(nn.Module):
    """The same blocks at every resolution of the encoder, whose stages join on the way up.

    Args:
        stage_widths: channels of the encoder's stages, the finest first.
        width: E, at every resolution.
        depth: blocks at each resolution.
        grn: see :class:`inpaint.layers.convnext.MaskedBlock`.
    """

    def __init__(self, stage_widths: Sequence[int], width: int, depth: int, grn: MakeGrn | None) -> None:
        super().__init__()
        self.rate = 2 ** (len(stage_widths) - 1)
        self.levels = nn.ModuleList(ConvNeXtDecoder(width, depth, grn) for _ in stage_widths)
        self.joins = nn.ModuleList(nn.Conv2d(joining, width, 1) for joining in stage_widths[-2::-1])

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to ``(B, E, rate * h, rate * w)``."""
        features = self.levels[0](latent, stages)
        for level, join, stage in zip(self.levels[1:], self.joins, stages[-2::-1], strict=True):
            features = F.interpolate(features, scale_factor=2, mode="nearest") + join(stage)
            features = level(features, stages)
        return features


class TransformerDecoder(nn.Module):
    """The decoder of a masked autoencoder of transformer blocks; the encoder's stages are not read.

    Args:
        grid: tokens ``(h, w)``.
        width: E, a multiple of four and of ``heads``.
        depth: blocks.
        heads: of attention.
    """

    rate = 1

    def __init__(self, grid: tuple[int, int], width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid = grid
        self.positions: Tensor
        self.register_buffer("positions", sincos_positions(*grid, width), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, latent: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Map ``(B, E, h, w)`` to the same shape."""
        tokens = latent.flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens, _ = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, self.grid)
