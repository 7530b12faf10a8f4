"""A second way to the Frechet distance of two sets of features, to hold the harness against."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> Tensor:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))`` of ``(N, D)`` and ``(M, D)``, by singular values.

    The trace of the root is the sum of the singular values of ``X1 X2^T``, X being centred features.
    """
    first, second = first.double(), second.double()
    shift = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    one, two = ((x - x.mean(dim=0)) / (len(x) - 1) ** 0.5 for x in (first, second))
    return shift + one.square().sum() + two.square().sum() - 2 * torch.linalg.svdvals(one @ two.T).sum()
