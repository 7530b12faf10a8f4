"""Images as tokens: patches, token masks, positions, and topping a mask up to a ratio.

Shapes: ``p`` patch side, token grid ``(h, w) = (H // p, W // p)``, ``N = h * w`` tokens in row-major order.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError


class TokenMasks(NamedTuple):
    """Which tokens a pixel mask overlaps; both ``(B, N)`` bool."""

    any: Tensor
    """The token holds at least one hole pixel."""
    full: Tensor
    """The token holds no known pixel."""


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """Cut ``(B, C, H, W)`` into ``(B, N, p * p * C)``; inside a patch rows, then columns, then channels.

    Raises:
        ShapeError: if a side is not a multiple of ``patch_size``.
    """
    batch, channels, height, width = image.shape
    if height % patch_size or width % patch_size:
        raise ShapeError(f"got {height} x {width} pixels, expected multiples of the patch side {patch_size}")
    grid = image.reshape(batch, channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch_size**2 * channels)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Undo :func:`patchify`: ``(B, N, p * p * C)`` to ``(B, C, h * p, w * p)``."""
    batch, _, values = patches.shape
    height, width = grid
    channels = values // patch_size**2
    tiles = patches.reshape(batch, height, width, patch_size, patch_size, channels)
    return tiles.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height * patch_size, width * patch_size)


def normalise_patches(patches: Tensor) -> Tensor:
    """Scale each patch's values to mean 0 and variance 1 (unbiased variance + 1e-6), ``(B, N, P)``."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def token_masks(mask: Tensor, patch_size: int) -> TokenMasks:
    """Bring a binary pixel mask ``(B, 1, H, W)`` (1 = hole) to its tokens."""
    hole_share = F.avg_pool2d(mask, patch_size).flatten(1)
    return TokenMasks(any=hole_share > 0, full=hole_share == 1)


def sincos_positions(height: int, width: int, channels: int) -> Tensor:
    """Fixed two-dimensional sine-cosine positions, ``(h * w, channels)`` float32.

    With ``q = channels / 4`` frequencies ``f = 10000 ** (-i / q)``, the token in row ``y`` and column ``x``
    gets ``[sin(x f), cos(x f), sin(y f), cos(y f)]``.

    Source:
        He et al., MAE (CVPR 2022); tables checked against the authors' numbers.
    """
    quarter = channels // 4
    frequency = 10000 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle_x = torch.arange(width).repeat(height)[:, None] * frequency
    angle_y = torch.arange(height).repeat_interleave(width)[:, None] * frequency
    return torch.cat([angle_x.sin(), angle_x.cos(), angle_y.sin(), angle_y.cos()], dim=1).float()


def visible_tokens(count: int, mask_ratio: float) -> int:
    """How many of ``count`` tokens :func:`top_up` leaves visible."""
    return int(count * (1 - mask_ratio))


def top_up(masked: Tensor, mask_ratio: float, noise: Tensor) -> Tensor:
    """Hide exactly ``mask_ratio`` of the tokens, those that the image mask overlaps first.

    Random tokens top the mask up. Where the image mask alone overlaps more than the ratio, random ones
    of these stay visible, so that every image keeps the same number.

    Args:
        masked: ``(B, N)`` bool, the tokens the image mask overlaps.
        mask_ratio: share of tokens to hide, in (0, 1).
        noise: ``(B, N)`` in [0, 1), decides among equals.

    Returns:
        ``(B, N)`` bool, True = hidden; ``N - visible_tokens(N, mask_ratio)`` True a row.

    Source:
        Mixed masking of MAE-FAR (ECCV 2022). Differs from the published code where the image mask exceeds
        the ratio: there the order among those tokens is that of an unstable sort, here that of ``noise``.
    """
    kept = visible_tokens(masked.shape[1], mask_ratio)
    order = (noise + masked).argsort(dim=1)
    token_mask = torch.ones_like(masked, dtype=torch.bool)
    return token_mask.scatter(1, order[:, :kept], False)
