"""Contextual attention: find, in the generator's own features, what each token should be rebuilt from."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.layers.transfer import Alphas, build_alpha, transfer_attention
from inpaint.layers.transformer import softmax_over
from inpaint.mask import shrink_to_grid


def cosine_attention(
    query: Tensor, key: Tensor, inverse_temperature: float | Tensor, allowed: Tensor
) -> Tensor:
    """Attend to tokens by the cosine similarity of query and key, scaled by an inverse temperature.

    Args:
        query: ``(B, C, N)``.
        key: ``(B, C, N)``.
        inverse_temperature: positive; larger values sharpen the softmax.
        allowed: ``(B, N)`` bool, the keys that take part.

    Returns:
        ``(B, N, N)`` (queries, keys), rows sum to one; uniform over all keys where none is allowed.
    """
    similarity = F.normalize(query, dim=1).transpose(1, 2) @ F.normalize(key, dim=1)
    return softmax_over(inverse_temperature * similarity, allowed[:, None])


class ContextualAttention(nn.Module):
    """``features + alpha * transfer_attention(features, scores)`` with scores learned from ``features``.

    Scores are cosine similarities of queries and keys, times a learned inverse temperature, under a softmax
    over the tokens that hold at least one known pixel. They are applied as those of a prior are.

    Args:
        channels: of the feature map.
        alphas: see :func:`inpaint.layers.transfer.build_alpha`.

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
