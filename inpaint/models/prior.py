"""The interface between a prior and the generator that is conditioned on it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class PriorFeatures(NamedTuple):
    """What a prior gives for a batch of masked images."""

    features: Tensor
    """``(B, C, h, w)``: one vector per token."""
    attention: Tensor | None
    """``(B, N, N)`` (queries, keys), ``N = h * w``, rows sum to one; None if the prior has none."""


class Prior(Protocol):
    """Anything that turns ``(image, mask)`` into :class:`PriorFeatures`, whatever the image's size."""

    feature_channels: int
    grid: tuple[int, int]

    def __call__(self, image: Tensor, mask: Tensor) -> PriorFeatures:
        """``image`` ``(B, 3, H, W)`` in [0, 1]; ``mask`` ``(B, 1, H, W)``, 1 = hole."""
        ...
