"""The generator: LaMa-Fourier, with injection points for a prior.

Source:
    Suvorov et al., *Resolution-robust Large Mask Inpainting with Fourier Convolutions* (WACV 2022), section
    2.1; the injection points follow MAE-FAR (ECCV 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.baselines import push_pull
from inpaint.layers.ffc import FourierResidualBlock
from inpaint.layers.position import MaskedPositionalEncoding
from inpaint.layers.transfer import Alphas, AttentionTransfer, ContextualAttention
from inpaint.strict import formerly

_MOST_CHANNELS = 1024
Attention = Literal["prior", "contextual", "none"]
Maps = Sequence[Tensor]


@dataclass(frozen=True)
class GeneratorPreset:
    """Hyper-parameters of a generator."""

    width: int = 64
    """Channels after the first convolution; each down-sampling doubles them."""
    blocks: int = 9
    """Fourier residual blocks at the lowest resolution."""
    padding: Literal["zeros", "reflect"] = "reflect"
    """At the down-sampling convolutions: LaMa reflects, ACR pads with zeros."""
    convolution_bias: bool = False
    """Bias in the convolutions before a BatchNorm, on the way down: ACR has it, LaMa has not."""
    positional_encoding: bool = formerly("positions", default=False)
    """Add the masked positional encoding to the first features."""
    attention: Attention = "none"
    """Rebuild features from what each token attends to, before and after the residual blocks: by the prior's
    scores, or by scores learned from the features themselves."""
    alphas: Alphas = "learned"
    """Gates at the injection points, of attention and adapter: learned from zero, or fixed at one."""
    initial_fill: Literal["zeros", "push_pull"] = formerly("start", default="zeros")
    """What the hole holds at the input. With ``push_pull`` the network predicts the detail missing from a
    smooth version of that fill, everywhere: the known region gives a signal from the first step."""
    local_fourier: bool = False
    """See :class:`inpaint.layers.ffc.SpectralTransform`."""
    hole_noise: float = 0.0
    """Standard deviation of noise in the hole at the input, against textures that repeat: drawn anew in each
    training step, and the same at every use."""
    downsamplings: int = 3
    """By two each; the features of a prior need three."""


class FourierGenerator(nn.Module):
    """Encoder, Fourier residual blocks, decoder, conditioned on a prior, whose token grid is ``grid``."""

    def __init__(self, preset: GeneratorPreset, grid: tuple[int, int] = (16, 16)) -> None:
        super().__init__()
        self.preset = preset
        self.grid = grid
        widths = [min(preset.width * 2**level, _MOST_CHANNELS) for level in range(preset.downsamplings + 1)]

        def build_attention() -> AttentionTransfer | ContextualAttention | None:
            if preset.attention == "contextual":
                return ContextualAttention(widths[-1], preset.alphas)
            return AttentionTransfer(preset.alphas) if preset.attention == "prior" else None

        bias = preset.convolution_bias
        self.stem = nn.Conv2d(4, widths[0], 7, padding=3, padding_mode="reflect", bias=bias)
        self.positions = MaskedPositionalEncoding(widths[0]) if preset.positional_encoding else None
        self.stem_norm = nn.BatchNorm2d(widths[0])
        down = {"stride": 2, "padding": 1, "padding_mode": preset.padding, "bias": bias}
        self.downs = nn.ModuleList(nn.Conv2d(narrow, wide, 3, **down) for narrow, wide in pairwise(widths))
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(wide) for wide in widths[1:])
        self.transfer_before = build_attention()
        self.blocks = nn.ModuleList(
            FourierResidualBlock(widths[-1], local_fourier=preset.local_fourier) for _ in range(preset.blocks)
        )
        self.transfer_after = build_attention()
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1)
            for narrow, wide in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(narrow) for narrow in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], 3, 7, padding=3, padding_mode="reflect")
        if preset.initial_fill == "push_pull":
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, image: Tensor, mask: Tensor, levels: Maps | None = None, attention: Tensor | None = None
    ) -> Tensor:
        """Predict the whole image, the known region too; from a push-pull fill it may leave [0, 1] a little.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], H and W multiples of ``2 ** downsamplings``, at least twice
                that. Hole pixels are not read.
            mask: ``(B, 1, H, W)`` of 0 and 1, 1 = hole.
            levels: of the adapter, ``1, 2, 4, 8 * width`` channels at 1/1, 1/2, 1/4, 1/8; None adds nothing.
            attention: ``(B, N, N)`` of the prior, read only if the preset says so; None transfers nothing.
        """
        filled, features = self.front(image, mask, levels, attention)
        return self.rear(filled, features, mask, attention)

    def front(
        self, image: Tensor, mask: Tensor, levels: Sequence[Tensor] | None, attention: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """All before the Fourier blocks: the image that the network starts from, and features."""
        filled = self.start(image, mask)
        features = self.encode(add_noise(filled, mask, self.preset.hole_noise, self.training), mask, levels)
        features = self.attend(self.transfer_before, features, mask, attention)
        return filled, features if levels is None else features + levels[-1]

    def rear(self, filled: Tensor, features: Tensor, mask: Tensor, attention: Tensor | None) -> Tensor:
        """The Fourier blocks and all behind them."""
        for block in self.blocks:
            features = block(features)
        features = self.attend(self.transfer_after, features, mask, attention)
        output = self.decode(features)
        return smooth(filled) + output if self.preset.initial_fill == "push_pull" else output.sigmoid()

    def start(self, image: Tensor, mask: Tensor) -> Tensor:
        """The image with its hole filled as the network starts from it."""
        if self.preset.initial_fill == "zeros":
            return torch.where(mask > 0, 0.0, image)
        with torch.no_grad():
            return push_pull(image, mask)

    def encode(self, filled: Tensor, mask: Tensor, levels: Sequence[Tensor] | None) -> Tensor:
        """From the filled image to features of the lowest resolution, ``(B, 8 * width, H / 8, W / 8)``."""
        features = self.stem(torch.cat([filled, mask], dim=1))
        if self.positions is not None:
            features = features + self.positions(mask)
        features = F.relu(self.stem_norm(features))
        for level, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            if levels is not None:
                features = features + levels[level]
            features = F.relu(norm(down(features)))
        return features

    def attend(
        self,
        transfer: AttentionTransfer | ContextualAttention | None,
        features: Tensor,
        mask: Tensor,
        attention: Tensor | None,
    ) -> Tensor:
        """Rebuild features by the scores of the prior, if it gives any, or by their own."""
        if isinstance(transfer, ContextualAttention):
            return transfer(features, mask, self.grid)
        if transfer is None or attention is None:
            return features
        return transfer(features, attention, self.grid)

    def decode(self, features: Tensor) -> Tensor:
        """From features of the lowest resolution to ``(B, 3, H, W)``, before any output function."""
        for up, norm in zip(self.ups, self.up_norms, strict=True):
            features = norm(up(features))
            # A head that starts at zero learns from centred features; behind a ReLU their common mean drowns
            # every other direction.
            if self.preset.initial_fill == "zeros" or up is not self.ups[-1]:
                features = F.relu(features)
        return self.head(features)


def add_noise(filled: Tensor, mask: Tensor, deviation: float, anew: bool) -> Tensor:
    """Add noise in the hole, drawn anew or the same as always."""
    if deviation == 0:
        return filled
    fixed = torch.Generator().manual_seed(0)
    noise = (
        torch.randn_like(filled) if anew else torch.randn(1, *filled.shape[1:], generator=fixed).to(filled)
    )
    return filled + deviation * mask * noise


def smooth(image: Tensor) -> Tensor:
    """Leave out detail finer than about eight pixels: average over 4 x 4 pixels and enlarge bilinearly."""
    coarse = F.avg_pool2d(image, 4)
    return F.interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=False)
