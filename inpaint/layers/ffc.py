"""Fast Fourier convolutions: half of the channels see the whole image at once.

Source:
    Chi et al., *Fast Fourier Convolution* (NeurIPS 2020), in the form of LaMa (Suvorov et al., WACV 2022):
    orthonormal real FFT, no position channels, sum of branches before the normalisation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FourierUnit(nn.Module):
    """A 1x1 convolution in the frequency domain.

    Real and imaginary parts are interleaved per channel: ``c0.re, c0.im, c1.re, ...``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2 * in_channels, 2 * out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H, W)``; the transform itself never runs in half precision."""
        size = features.shape[-2:]
        if features.dtype in (torch.float16, torch.bfloat16):
            features = features.float()
        spectrum = torch.fft.rfft2(features, norm="ortho")  # (B, C, H, W // 2 + 1) complex
        stacked = torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)  # (B, 2C, H, W // 2 + 1)
        mixed = F.relu(self.norm(self.convolution(stacked)))
        pairs = mixed.to(features.dtype).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfft2(torch.view_as_complex(pairs), s=size, norm="ortho")


class SpectralTransform(nn.Module):
    """Squeeze to half the channels, an even number, add the Fourier unit's output, widen again.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        local: also run a Fourier unit over the four stacked quadrants (LaMa's "LFU"; in no released model).
        stride: 2 halves the resolution first, by averages (in no released model).
    """

    def __init__(self, in_channels: int, out_channels: int, *, local: bool = False, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        half = out_channels // 2
        self.squeeze = nn.Conv2d(in_channels, half, 1, bias=False)
        self.norm = nn.BatchNorm2d(half)
        self.fourier = FourierUnit(half, half)
        self.local_fourier = FourierUnit(half, half) if local else None
        self.widen = nn.Conv2d(half, out_channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H, W)``, or half of H and W; with ``local`` they must be even."""
        if self.stride > 1:
            features = F.avg_pool2d(features, self.stride)
        squeezed = F.relu(self.norm(self.squeeze(features)))
        total = squeezed + self.fourier(squeezed)
        if self.local_fourier is not None:
            quarter = squeezed[:, : squeezed.shape[1] // 4]
            halves = torch.cat(quarter.chunk(2, dim=2), dim=1)
            quadrants = torch.cat(halves.chunk(2, dim=3), dim=1)
            total = total + self.local_fourier(quadrants).repeat(1, 1, 2, 2)
        return self.widen(total)


class FourierConvolution(nn.Module):
    """Local and global channels, as many in as out, each fed by both, then BatchNorm and ReLU per branch."""

    def __init__(self, local_channels: int, global_channels: int, *, local_fourier: bool = False) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect", bias=False)

        self.local_to_local = convolution(local_channels, local_channels)
        self.local_to_global = convolution(local_channels, global_channels)
        self.global_to_local = convolution(global_channels, local_channels)
        self.global_to_global = SpectralTransform(global_channels, global_channels, local=local_fourier)
        self.norm_local = nn.BatchNorm2d(local_channels)
        self.norm_global = nn.BatchNorm2d(global_channels)

    def forward(self, local: Tensor, global_: Tensor) -> tuple[Tensor, Tensor]:
        """Map both branches, ``(B, C_local, H, W)`` and ``(B, C_global, H, W)``, to the same shapes."""
        # Both convolutions of the local branch read the same padded features: one product for the two.
        weight = torch.cat([self.local_to_local.weight, self.local_to_global.weight])
        from_local = F.conv2d(F.pad(local, (1, 1, 1, 1), mode="reflect"), weight)
        to_local, to_global = from_local.split([local.shape[1], global_.shape[1]], dim=1)
        new_local = to_local + self.global_to_local(global_)
        new_global = to_global + self.global_to_global(global_)
        return F.relu(self.norm_local(new_local)), F.relu(self.norm_global(new_global))


class FourierResidualBlock(nn.Module):
    """Two Fourier convolutions and a shortcut, on local and global channels concatenated."""

    def __init__(self, channels: int, *, global_ratio: float = 0.75, local_fourier: bool = False) -> None:
        super().__init__()
        global_channels = int(channels * global_ratio)
        self.split = (channels - global_channels, global_channels)
        self.first = FourierConvolution(*self.split, local_fourier=local_fourier)
        self.second = FourierConvolution(*self.split, local_fourier=local_fourier)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; H and W at least 2."""
        local, global_ = features.split(self.split, dim=1)
        local, global_ = self.second(*self.first(local, global_))
        return features + torch.cat([local, global_], dim=1)
