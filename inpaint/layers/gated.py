"""Gated convolution: half of the channels decide how much of the other half passes."""

from __future__ import annotations

from torch import Tensor, nn


class GatedConvolution(nn.Module):
    """Convolve to twice the channels and return ``value * sigmoid(gate)``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: down-sampling factor, or up-sampling factor when transposed.
        padding: pixels on every side.
        transposed: use a transposed convolution.

    Source:
        Yu et al., *Free-Form Image Inpainting with Gated Convolution* (ICCV 2019).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        *,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.convolution = kind(in_channels, 2 * out_channels, kernel_size, stride=stride, padding=padding)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H', W')``."""
        value, gate = self.convolution(features).chunk(2, dim=1)
        return value * gate.sigmoid()
