"""Attention transfer: rebuild each token of a feature map from others, by a prior's scores or by its own."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.transformer import softmax_over
from inpaint.mask import shrink_to_grid

Alphas = Literal["learned", "one"]


def build_alpha(alphas: Alphas) -> nn.Parameter:
    """The gate of an injection point: learned from zero, or fixed at one.

    At zero, a generator that was trained without it computes what it did before.
    """
    if alphas == "one":
        return nn.Parameter(torch.ones(()), requires_grad=False)
    return nn.Parameter(torch.zeros(()))


def transfer_attention(features: Tensor, attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """Replace every token's patch of ``features`` by the attention-weighted mean of all patches.

    A patch is twice a token's footprint wide and high, so that neighbours overlap; four patches cover a
    cell in the interior and the sum is divided by four everywhere, as published (so the outermost ring
    comes out weaker). A map whose sides are not multiples of the grid's is resized there and back.

    Args:
        features: ``(B, C, H, W)``, any size, as the result.
        attention: ``(B, N, N)`` (queries, keys), rows sum to one.
        grid: token grid ``(h, w)`` with ``h * w = N``.

    Source:
        MAE-FAR (ECCV 2022), "GroupConvAttention"; equal to it at every size it accepts.
    """
    size = features.shape[-2:]
    padded_size = [-(-side // cells) * cells for side, cells in zip(size, grid, strict=True)]
    if list(size) != padded_size:
        resized = F.interpolate(features, padded_size, mode="bilinear", align_corners=False)
        moved = transfer_attention(resized, attention, grid)
        return F.interpolate(moved, size, mode="bilinear", align_corners=False)
    rate_y, rate_x = size[0] // grid[0], size[1] // grid[1]
    # An odd rate cannot be centred: the patch starts one row (column) earlier and the output ends one short.
    top, left = rate_y // 2 + rate_y % 2, rate_x // 2 + rate_x % 2
    bottom, right = rate_y // 2, rate_x // 2
    extended = F.pad(features, (left, right, top, bottom), mode="replicate")
    # Cut into cells of one footprint, a patch is 2 x 2 of them, and each output cell is a mean of cells: its
    # weights are those of the four patches that cover it, added up.
    rows, columns = grid[0] + 1, grid[1] + 1
    scores = attention.unflatten(1, grid).unflatten(3, grid)  # (B, h, w, h, w)
    weights = scores.new_zeros(len(scores), rows, columns, rows, columns)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weights[:, y : y + grid[0], x : x + grid[1], y : y + grid[0], x : x + grid[1]] += scores / 4
    cells = extended.permute(0, 2, 3, 1).unflatten(2, (columns, rate_x)).unflatten(1, (rows, rate_y))
    cells = cells.transpose(2, 3).flatten(3).flatten(1, 2)  # (B, cells, rate_y * rate_x * C)
    mixed = weights.flatten(3).flatten(1, 2).to(cells.dtype) @ cells  # the same shape
    mixed = mixed.unflatten(1, (rows, columns)).unflatten(3, (rate_y, rate_x, -1)).transpose(2, 3)
    folded = mixed.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)  # (B, C, rows * rate_y, ...)
    odd_y, odd_x = rate_y % 2, rate_x % 2
    inner = folded[..., top : top + size[0] - odd_y, left : left + size[1] - odd_x]
    return F.pad(inner, (0, odd_x, 0, odd_y), mode="replicate") if odd_y or odd_x else inner


class AttentionTransfer(nn.Module):
    """``features + alpha * transfer_attention(features)`` with the scores of a prior."""

    def __init__(self, alphas: Alphas = "learned") -> None:
        super().__init__()
        self.alpha = build_alpha(alphas)

    def forward(self, features: Tensor, attention: Tensor, grid: tuple[int, int]) -> Tensor:
        """See :func:`transfer_attention`; gradients stop at the attention, not at the features."""
        return features + self.alpha * transfer_attention(features, attention.detach(), grid)


def cosine_attention(
    query: Tensor, key: Tensor, inverse_temperature: float | Tensor, allowed: Tensor
) -> Tensor:
    """Attend to tokens by the cosine similarity of ``query`` and ``key``, ``(B, C, N)``, times a factor.

    Keys that are not ``allowed``, ``(B, N)`` bool, take no part. Returns ``(B, N, N)`` (queries, keys), whose
    rows sum to one; uniform over all keys where none is allowed.
    """
    similarity = F.normalize(query, dim=1).transpose(1, 2) @ F.normalize(key, dim=1)
    return softmax_over(inverse_temperature * similarity, allowed[:, None])


class ContextualAttention(nn.Module):
    """``features + alpha * transfer_attention(features, scores)`` with scores learned from ``features``.

    Scores are cosine similarities of queries and keys, times a learned inverse temperature, under a softmax
    over the tokens that hold at least one known pixel.

    Source:
        Yu et al., *Generative Image Inpainting with Contextual Attention* (CVPR 2018): cosine similarity to
        known patches, softmax scaled by 10. Here queries and keys are learned projections, not raw patches.
    """

    def __init__(self, channels: int, alphas: Alphas = "learned") -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(channels // 2, 1), 1)
        self.key = nn.Conv2d(channels, max(channels // 2, 1), 1)
        # The parameter keeps its first name: it is a key of every checkpoint.
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.alpha = build_alpha(alphas)

    def forward(self, features: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; ``mask`` ``(B, 1, H', W')`` of any size, 1 = hole."""
        return features + self.alpha * transfer_attention(features, self.score(features, mask, grid), grid)

    def score(self, features: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
        """Where each token looks: ``(B, N, N)`` (queries, keys), rows sum to one; uniform without a key."""
        tokens = F.adaptive_avg_pool2d(features, grid)
        query, key = self.query(tokens).flatten(2), self.key(tokens).flatten(2)
        holds_known = shrink_to_grid(1 - mask, grid).flatten(1) > 0
        return cosine_attention(query, key, self.log_sharpness.exp(), holds_known)
