"""Masked positional encoding: tell each hole pixel how far and where the known region is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.mask import MAX_DISTANCE, binarize, hole_fields


def sinusoid_table(positions: int, channels: int) -> Tensor:
    """Sines of all even frequencies, then their cosines: ``(positions, channels)`` float32."""
    exponent = torch.arange(0, channels, 2, dtype=torch.float64) / channels
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / 10000**exponent
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


class MaskedPositionalEncoding(nn.Module):
    """Embed distance and direction to the known region; see :func:`inpaint.mask.hole_fields`.

    Source:
        ZITS (Dong et al., CVPR 2022), in the form of MAE-FAR: known pixels carry the embedding of distance
        0, and the two weights are constants that travel with the checkpoint.
    """

    def __init__(self, channels: int, grid: int = 32) -> None:
        super().__init__()
        self.grid = grid
        self.distance_table = nn.Buffer(sinusoid_table(MAX_DISTANCE + 1, channels), persistent=False)
        self.direction_table = nn.Parameter(torch.randn(4, channels) * 0.02)
        self.distance_weight = nn.Buffer(torch.ones(()))
        self.direction_weight = nn.Buffer(torch.ones(()))

    def forward(self, mask: Tensor) -> Tensor:
        """Map a mask ``(B, 1, H, W)``, 1 = hole, to an encoding ``(B, C, H, W)``."""
        distance, direction = self.embed(mask)
        return self.distance_weight * distance + self.direction_weight * direction

    def embed(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The two encodings ``(B, C, H, W)`` before their weights: distance, then direction."""
        hole = binarize(mask)
        fields = hole_fields(hole, self.grid)
        size = mask.shape[-2:]
        # Embedding the coarse grid and enlarging it is the same as embedding every pixel, and cheaper.
        distance = self.distance_table[fields.distance[:, 0]].permute(0, 3, 1, 2)
        direction = torch.einsum("bdhw,dc->bchw", fields.direction, self.direction_table)
        at_zero = self.distance_table[0][:, None, None]
        distance = torch.where(hole > 0, F.interpolate(distance, size, mode="nearest"), at_zero)
        return distance, F.interpolate(direction, size, mode="nearest") * hole
