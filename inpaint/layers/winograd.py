"""3x3 convolutions with a quarter of the multiplications.

Source:
    Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016): F(4 x 4, 3 x 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

POINTS = (0, 0.75, -0.75, 1.5, -1.5)
"""Where polynomials are evaluated, besides infinity: with half the rounding errors of 0, 1, -1, 2, -2."""
TILES = 64
"""Tiles of 4 x 4 outputs that are computed at once."""


class WinogradConvolution(nn.Module):
    """Several 3x3 convolutions of the same features, whose border is reflected; for inference.

    Tiles of 6 x 6 are transformed, multiplied by the transformed weights, and transformed back to 4 x 4: 36
    products of matrices instead of 144. The transforms cost less than that saves from about 50 channels on.

    Args:
        weights: ``(C', C, 3, 3)`` each; it reads the first C channels.
        bias: of all outputs.
    """

    def __init__(self, weights: Sequence[Tensor], bias: Tensor) -> None:
        super().__init__()
        from_input, from_weight, to_output = _evaluate(6).inverse().T, _evaluate(3), _evaluate(4).T
        self.from_input = nn.Buffer(torch.kron(from_input, from_input).float())
        self.to_output = nn.Buffer(torch.kron(to_output, to_output).float())
        self.weights = nn.ParameterList(
            torch.einsum("ai,bj,ocij->abco", from_weight, from_weight, weight.cpu().double())
            .flatten(0, 1)
            .float()
            for weight in weights
        ).requires_grad_(False)
        self.bias = nn.Buffer(bias.cpu().float())

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C' of all, H, W)``, channels-last float32."""
        batch, _, height, width = features.shape
        rows, columns = (_cut(side).to(features.device) for side in (height, width))
        images = torch.arange(batch, device=features.device)[:, None, None] * (height * width)
        pixels = features.permute(0, 2, 3, 1).flatten(0, 2).float()
        output = pixels.new_empty(batch, len(rows), 4, len(columns), 4, len(self.bias))
        outputs = output.split([weight.shape[2] for weight in self.weights], dim=-1)
        biases = self.bias.split([weight.shape[2] for weight in self.weights])
        done = 0
        for strip in rows.split(max(1, TILES // (batch * len(columns)))):
            places = strip.T[:, None, None, :, None] * width + columns.T[:, None, None] + images
            tiles = pixels.index_select(0, places.flatten()).view(36, -1)
            tiles = torch.mm(self.from_input, tiles).view(36, -1, pixels.shape[1])
            for weight, bias, target in zip(self.weights, biases, outputs, strict=True):
                products = torch.bmm(tiles[..., : weight.shape[1]], weight)
                values = torch.mm(self.to_output, products.flatten(1))
                values = values.view(4, 4, batch, len(strip), len(columns), -1).permute(2, 3, 0, 4, 1, 5)
                torch.add(values, bias, out=target[:, done : done + len(strip)])
            done += len(strip)
        return output.flatten(3, 4).flatten(1, 2)[:, :height, :width].permute(0, 3, 1, 2)


def _evaluate(count: int) -> Tensor:
    """The matrix that evaluates a polynomial of ``count`` coefficients at all points."""
    rows = [[point**power for power in range(count)] for point in POINTS]
    return torch.tensor([*rows, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)


def _cut(side: int) -> Tensor:
    """The six positions each tile reads along a side, reflected at the border: ``(tiles, 6)``."""
    positions = torch.arange(-1, -(-side // 4) * 4 + 1)
    reflected = side - 1 - (side - 1 - positions.abs()).abs()
    return reflected.clamp(min=0).unfold(0, 6, 4)
