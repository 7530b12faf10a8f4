"""How alike two sets of pictures are, from their features: Frechet distance, P-IDS and U-IDS.

Each measure is given as one share per picture, whose mean is the number: so it has a bootstrap interval like
any other column. Features are ``(N, D)`` arrays, may lie in files (``np.memmap``) and are read in chunks;
memory is a few D x D matrices, whatever N is. All arithmetic is in double precision, and nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from inpaint.errors import DataError, ShapeError

_ROWS = 2048  # read at once: 32 MiB of 2048 features
_SHORTEST_STEP = 2.0**-40


class FeatureSet:
    """Feature vectors in memory or on disk, given out in chunks of double precision.

    Args:
        features: ``(N, D)``.
        device: where the chunks are wanted.

    Raises:
        ShapeError: not a table.
    """

    def __init__(self, features: ArrayLike, device: torch.device | str = "cpu") -> None:
        self._table = np.asanyarray(features)
        if self._table.ndim != 2:
            raise ShapeError(f"got features {self._table.shape}; expected (N, D)")
        self.device = torch.device(device)
        self.shape: tuple[int, int] = self._table.shape

    def __len__(self) -> int:
        return self.shape[0]

    def chunks(self) -> Iterator[Tensor]:
        """``(n, D)`` float64, in order."""
        for start in range(0, len(self), _ROWS):
            rows = np.array(self._table[start : start + _ROWS], dtype=np.float64)
            yield torch.from_numpy(rows).to(self.device)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean ``(D,)`` and unbiased covariance ``(D, D)``: two readings, so that no digits are lost.

        Raises:
            DataError: a feature is not finite.
        """
        mean = torch.stack([chunk.sum(dim=0) for chunk in self.chunks()]).sum(dim=0) / len(self)
        if not mean.isfinite().all():
            raise DataError("got features that are not finite; the network or its weights are broken")
        scatter = torch.zeros(self.shape[1], self.shape[1], dtype=torch.float64, device=self.device)
        for chunk in self.chunks():
            chunk -= mean
            scatter.addmm_(chunk.T, chunk)
        return mean, scatter / (len(self) - 1)


def pair_up(
    first: ArrayLike, second: ArrayLike, device: torch.device | str = "cpu"
) -> tuple[FeatureSet, FeatureSet]:
    """Two sets of features of the same pictures, in as few dimensions as they need.

    Fewer vectors than dimensions lie in a subspace; its coordinates keep every distance and product.

    Args:
        first: ``(N, D)``, of the composites.
        second: ``(N, D)``, of the originals in the same order.
        device: where to compute.

    Raises:
        ShapeError: the sets are unequal in shape.
    """
    sets = FeatureSet(first, device), FeatureSet(second, device)
    if sets[0].shape != sets[1].shape:
        raise ShapeError(f"got features {sets[0].shape} and {sets[1].shape}; expected two (N, D) alike")
    count, dimensions = sets[0].shape
    if not 0 < 2 * count < dimensions:
        return sets
    both = torch.cat([chunk for features in sets for chunk in features.chunks()])
    basis = torch.linalg.qr(both.T).Q
    coordinates = (both @ basis).cpu().numpy()
    return FeatureSet(coordinates[:count], device), FeatureSet(coordinates[count:], device)


def frechet_shares(composites: FeatureSet, originals: FeatureSet) -> NDArray[np.float64]:
    """What each picture adds to the Frechet distance of the two sets (FID on Inception features).

    The mean of the shares is the distance ``|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))``, and the shares are
    its first derivative in the weight of a picture: resampling them is a bootstrap of the linearised distance
    (infinitesimal jackknife). Resampling the pictures themselves would not do: a resample has fewer different
    pictures, which raises the distance by more than its spread. What the interval says: how the number
    would vary with N *other* pictures; in the simulations of its test it is right nine times in ten or more.
    What it does not: the distance also depends on N itself (it falls as N grows), so it compares with
    numbers at equal N only.

    Args:
        composites: N >= 2 features.
        originals: of the same pictures in the same order.

    Returns:
        ``(N,)``.

    Raises:
        ShapeError: fewer than two vectors.
        DataError: a feature is not finite.

    Source: the derivative of the distance is the transport map between the Gaussians (Dowson and Landau 1982;
    Malago et al. 2018); infinitesimal jackknife: Efron 1982.
    """
    count = len(composites)
    if count < 2:
        raise ShapeError(f"got {count} feature vectors; a covariance needs at least 2")
    first_mean, first_covariance = composites.moments()
    second_mean, second_covariance = originals.moments()
    # root^T root = C1. The eigenvalues of root C2 root^T are those of C1 C2: squares of what the trace sums.
    variances, directions = torch.linalg.eigh(first_covariance)
    spread = _above_rounding(variances)
    scales, directions = variances[spread].sqrt(), directions[:, spread]
    root = scales[:, None] * directions.T
    squares, axes = torch.linalg.eigh(root @ second_covariance @ root.T)
    kept = _above_rounding(squares)
    singular, axes = squares[kept].sqrt(), axes[:, kept]
    # The transport maps of either set as squares: x^T T1 x = |to_second x|^2.
    to_second = singular.sqrt()[:, None] * (axes.T / scales) @ directions.T
    to_first = singular.rsqrt()[:, None] * (axes.T @ root)
    shift = first_mean - second_mean
    shares = []
    for x, y in zip(composites.chunks(), originals.chunks(), strict=True):
        x -= first_mean
        y -= second_mean
        spreads = x.square().sum(1) + y.square().sum(1)
        shared = (x @ to_second.T).square().sum(1) + (y @ to_first.T).square().sum(1)
        shares.append(count / (count - 1) * (spreads - shared) + 2 * (x - y) @ shift)
    return (torch.cat(shares) + shift.square().sum()).cpu().numpy()


def discernibility_shares(
    composites: FeatureSet, originals: FeatureSet
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P-IDS and U-IDS of each picture: how often a linear judge takes a composite for an original.

    The judge is the linear support vector machine that separates the two sets best. P-IDS is the share of
    pictures whose composite it takes for more real than its own original; U-IDS the share of pictures of both
    sets it takes for the other kind. Ties count half. Both are 0.5 for equal sets and 0 for separable ones,
    and so few pictures as D / 2 are always separable: they mean something from several thousand on. The
    intervals take the judge as given.

    Args:
        composites: N features.
        originals: of the same pictures in the same order.

    Returns:
        ``(N,)`` shares of P-IDS and of U-IDS, in [0, 1], higher is better.

    Source: Zhao et al., "Large Scale Image Completion via Co-Modulated GANs" (ICLR 2021), section 4.
    """
    weights = fit_judge(composites, originals)
    fake, real = (
        torch.cat([_with_one(chunk) @ weights for chunk in features.chunks()])
        for features in (composites, originals)
    )
    paired = (torch.sign(fake - real) + 1) / 2
    unpaired = (torch.sign(fake) - torch.sign(real) + 2) / 4
    return paired.cpu().numpy(), unpaired.cpu().numpy()


def fit_judge(composites: FeatureSet, originals: FeatureSet) -> Tensor:
    """The linear support vector machine with originals as +1 and composites as -1.

    Minimises ``|w|^2 / 2 + sum max(0, 1 - y w.x)^2`` over vectors x with a one appended: what scikit-learn's
    ``LinearSVC(dual=False)`` solves, here to the optimum and in constant memory. Newton's method needs a
    handful of passes, since the objective is piecewise quadratic (Keerthi and DeCoste 2005).

    Returns:
        ``(D + 1,)``; the last entry is the offset.
    """
    size = composites.shape[1] + 1
    weights = torch.zeros(size, dtype=torch.float64, device=composites.device)
    signs = torch.cat([torch.full((len(s),), y) for s, y in ((composites, -1.0), (originals, 1.0))])
    signs = signs.to(weights)
    scores = torch.zeros_like(signs)

    def objective(weights: Tensor, scores: Tensor) -> Tensor:
        return weights.square().sum() / 2 + (1 - signs * scores).clamp_min(0).square().sum()

    while True:
        # Only vectors inside the margin pull: the others' slack is zero.
        slack = signs * (1 - signs * scores).clamp_min(0)
        gradient, curvature = weights.clone(), torch.eye(size, dtype=torch.float64, device=weights.device)
        for chunk, pull in _with_pull(composites, originals, slack):
            gradient -= 2 * chunk.T @ pull
            curvature.addmm_(chunk.T, chunk, alpha=2)
        step = -torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(curvature))[:, 0]
        before = objective(weights, scores)
        if -(gradient @ step) <= 1e-12 * before:
            return weights
        moves = torch.cat([_with_one(c) @ step for s in (composites, originals) for c in s.chunks()])
        length = 1.0
        while objective(weights + length * step, scores + length * moves) >= before:
            length /= 2
            if length < _SHORTEST_STEP:  # rounding is all that is left to gain
                return weights
        weights, scores = weights + length * step, scores + length * moves


def _with_pull(
    composites: FeatureSet, originals: FeatureSet, slack: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """The vectors with slack, a one appended, and their slack."""
    start = 0
    for features in (composites, originals):
        for chunk in features.chunks():
            pull = slack[start : start + len(chunk)]
            start += len(chunk)
            yield _with_one(chunk[pull != 0]), pull[pull != 0]


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)


def _above_rounding(eigenvalues: Tensor) -> Tensor:
    """Which eigenvalues are more than the rounding errors of their sum; all others are zero in truth."""
    return eigenvalues > eigenvalues.sum() * torch.finfo(torch.float64).eps
