"""The adapter that brings a prior's features to the generator's four resolutions.

Together with the injection points of :class:`inpaint.models.generator.FourierGenerator` this is ACR, the
attention-based CNN restoration of MAE-FAR (ECCV 2022).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.transfer import Alphas, build_alpha


class GatedConvolution(nn.Module):
    """Convolve to twice the channels and return ``value * sigmoid(gate)``.

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


class PriorAdapter(nn.Module):
    """Upsample prior features by gated transposed convolutions, each level times its own ``alpha``."""

    def __init__(self, feature_channels: int, width: int, alphas: Alphas = "learned") -> None:
        super().__init__()
        widths = [feature_channels + 2, 8 * width, 4 * width, 2 * width, width]
        self.ups = nn.ModuleList(
            GatedConvolution(inputs, outputs, 4, stride=2, padding=1, transposed=True)
            for inputs, outputs in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in widths[1:])
        self.alphas = nn.ParameterList(build_alpha(alphas) for _ in range(4))

    def forward(self, features: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Map features ``(B, C, h, w)`` to the generator's levels for an image of ``size``, multiples of 16.

        These are four tensors at 1/1, 1/2, 1/4, 1/8 of ``size`` with 1, 2, 4, 8 times ``width`` channels.
        """
        features = self.place(features, size)
        levels = []
        for up, norm, alpha in zip(self.ups, self.norms, self.alphas, strict=True):
            features = F.relu(norm(up(features)))
            levels.append(alpha * features)
        return levels[::-1]

    def place(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize to 1/16 of ``size`` and append cell centres in [-1, 1]: row, then column coordinate."""
        height, width = size[0] // 16, size[1] // 16
        if features.shape[-2:] != (height, width):
            features = F.interpolate(features, (height, width), mode="bilinear", align_corners=False)
        rows = _centres(height, features).view(1, 1, height, 1).expand(features.shape[0], 1, height, width)
        columns = _centres(width, features).view(1, 1, 1, width).expand(features.shape[0], 1, height, width)
        return torch.cat([features, rows, columns], dim=1)


def _centres(count: int, like: Tensor) -> Tensor:
    """Centres of ``count`` equal cells of [-1, 1]."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    return (2 * steps + 1) / count - 1
