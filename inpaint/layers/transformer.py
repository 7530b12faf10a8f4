"""Pre-norm transformer blocks that can report their attention with keys removed."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def softmax_over(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the allowed entries of the last dimension; uniform over all where none is allowed."""
    others = torch.where(allowed.any(dim=-1, keepdim=True), float("-inf"), 0.0)
    return torch.where(allowed, logits, others.to(logits.dtype)).softmax(dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention with one joint projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(
        self, tokens: Tensor, may_attend: Tensor | None = None, score_keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, and score a second softmax over fewer keys if asked.

        Args:
            tokens: ``(B, N, D)``.
            may_attend: ``(B, N)`` bool, keys that take part in the attention that is used.
            score_keys: ``(B, N)`` bool, keys that take part in the reported scores.

        Returns:
            ``(B, N, D)`` and, with ``score_keys``, ``(B, N, N)`` scores (queries, keys) averaged over heads.
            A row is uniform over all keys where ``score_keys`` leaves none.
        """
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, D / heads)
        allowed = None if may_attend is None else may_attend[:, None, None, :]
        mixed = _attend(query, key, value, allowed)
        output = self.projection(mixed.transpose(1, 2).reshape(batch, count, width))
        if score_keys is None:
            return output, None
        exact = torch.promote_types(key.dtype, torch.float32)
        logits = (query.to(exact) * query.shape[-1] ** -0.5) @ key.to(exact).transpose(-2, -1)
        return output, softmax_over(logits, score_keys[:, None, None, :]).mean(dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
    """Scaled dot-product attention of ``(B, heads, N, D)``."""
    # On CPUs PyTorch's kernel takes twice as long in bfloat16 as in float32, most of it in the backward pass
    # (2.14, one thread, 8 x 6 heads x 256 tokens x 16: 28 and 15 ms); two products and a softmax take 12 ms.
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    with torch.autocast("cpu", enabled=False):
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, float("-inf"))
        return logits.softmax(dim=-1) @ value


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; LayerNorm epsilon 1e-6."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-6)
        expand, contract = nn.Linear(width, int(width * mlp_ratio)), nn.Linear(int(width * mlp_ratio), width)
        self.mlp = nn.Sequential(OrderedDict(expand=expand, activation=nn.GELU(), contract=contract))

    def forward(
        self, tokens: Tensor, may_attend: Tensor | None = None, score_keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`Attention.forward`: tokens and, if asked, scores."""
        attended, scores = self.attention(self.norm_attention(tokens), may_attend, score_keys)
        tokens = tokens + attended
        return tokens + self.mlp(self.norm_mlp(tokens)), scores
