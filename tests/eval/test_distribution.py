"""Measures of sets: closed forms, other people's implementations, and what the intervals are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance

from eval.measures.distribution import discernibility_shares, frechet_shares, pair_up
from eval.measures.statistics import bootstrap_interval
from inpaint.errors import DataError, ShapeError


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def frechet(composites: np.ndarray, originals: np.ndarray) -> float:
    return float(frechet_shares(*pair_up(composites, originals)).mean())


def published(x: np.ndarray, y: np.ndarray) -> float:
    """By pytorch-fid, from means and covariances."""
    moments = [part for z in (x, y) for part in (z.mean(axis=0), np.cov(z, rowvar=False))]
    return float(calculate_frechet_distance(*moments))


def discernibility(composites: np.ndarray, originals: np.ndarray) -> tuple[float, float]:
    paired, unpaired = discernibility_shares(*pair_up(composites, originals))
    return float(paired.mean()), float(unpaired.mean())


@pytest.mark.parametrize(("n", "d"), [(2, 5), (10, 30), (20, 20), (21, 20), (30, 20), (300, 6)])
def test_the_mean_share_is_the_frechet_distance(n: int, d: int) -> None:
    x, y = 3 * normal(n, d), normal(n, d, seed=1) + 0.5
    expected = published(x, y)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-4)
    assert frechet(y, x) == pytest.approx(frechet(x, y), rel=1e-9)


def test_a_shift_costs_its_square_and_a_scale_its_spread() -> None:
    x = normal(200, 4)
    shift = np.array([1.0, -2.0, 0.0, 3.0])
    assert frechet(x + shift, x) == pytest.approx(14)
    variances = x.var(axis=0, ddof=1)
    # Twice as wide along every axis: tr(4 C + C - 2 * 2 C) = tr C, and the mean doubles.
    assert frechet(2 * x, x) == pytest.approx(variances.sum() + (x.mean(axis=0) ** 2).sum())


def test_equal_and_constant_sets() -> None:
    x = normal(50, 8)
    assert np.abs(frechet_shares(*pair_up(x, x))).max() < 1e-10
    ones = np.ones((5, 3))
    assert frechet(ones, ones) == 0
    assert frechet(ones, ones + 1) == pytest.approx(3)
    few = x[:5, :3]  # against a point: the shift, and the spread of one set alone
    expected = np.square(1 - few.mean(axis=0)).sum() + few.var(axis=0, ddof=1).sum()
    assert frechet(ones, few) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (15, 12)])
def test_frechet_agrees_with_pytorch_fid_and_torchmetrics(n: int, d: int) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.image.fid")
    x, y = normal(n, d) ** 2, 2 * normal(n, d, seed=1)
    assert frechet(x, y) == pytest.approx(published(x, y), rel=1e-6)

    class Features(torch.nn.Module):
        num_features = d

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, 0, 0]

    metric = torchmetrics.FrechetInceptionDistance(Features(), input_img_size=(1, 1, d)).set_dtype(
        torch.float64
    )
    for z, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(z)[:, None, None], real=real)
    assert frechet(x, y) == pytest.approx(metric.compute().item(), rel=1e-6)


def correlated(n: int, generator: np.random.Generator, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Originals, and composites that have much of them, as fills have."""
    real = generator.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.7
    fake = 0.8 * real + 0.5 * generator.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.7 + 0.05
    return np.maximum(fake, -0.2), np.maximum(real, -0.2)


@pytest.mark.parametrize(("n", "d"), [(16, 32), (32, 32), (300, 8)])
def test_the_interval_is_as_wide_as_fid_varies_from_set_to_set(n: int, d: int) -> None:
    generator = np.random.default_rng(1)
    shares = [frechet_shares(*pair_up(*correlated(n, generator, d))) for _ in range(150)]
    means = np.array([share.mean() for share in shares])
    deviations = np.array([share.std() / math.sqrt(n) for share in shares])
    assert 0.85 < deviations.mean() / means.std() < 1.35
    assert 0.9 < (np.abs(means - means.mean()) < 1.96 * deviations).mean() < 0.99
    low, high = bootstrap_interval(shares[0])  # the interval the scorer prints is that wide
    assert high - low == pytest.approx(2 * 1.96 * deviations[0], rel=0.15)


def test_resampling_pictures_would_miss_the_distance_itself() -> None:
    # Why the interval is of the linearised distance: every plain resample is further away.
    generator = np.random.default_rng(0)
    fake, real = correlated(60, generator)
    resamples = (generator.integers(60, size=60) for _ in range(40))
    distances = [frechet(fake[rows], real[rows]) for rows in resamples]
    assert np.percentile(distances, 2.5) > frechet(fake, real)


def test_equal_sets_cannot_be_told_apart() -> None:
    x = normal(40, 6)
    assert discernibility(x, x) == (0.5, 0.5)


@pytest.mark.parametrize("n", [5, 40])
def test_separable_sets_are_told_apart(n: int) -> None:
    x = normal(n, 12)
    assert discernibility(x + 20, x) == (0.0, 0.0)


def test_two_normal_distributions() -> None:
    # The best cut between N(0, 1) and N(2, 1) errs with Phi(-1); an independent pair is reversed with
    # Phi(-sqrt 2).
    real, fake = normal(8000, 1), normal(8000, 1, seed=1) + 2
    paired, unpaired = discernibility(fake, real)
    assert unpaired == pytest.approx(0.1587, abs=0.01)
    assert paired == pytest.approx(0.0786, abs=0.01)
    assert discernibility(real, fake) == pytest.approx((paired, unpaired))


@pytest.mark.parametrize(("n", "d"), [(300, 12), (2500, 5), (9, 40)])
def test_the_svm_is_the_linear_svc_of_scikit_learn(n: int, d: int) -> None:
    svm = pytest.importorskip("sklearn.svm")
    real, fake = normal(n, d), normal(n, d, seed=1) + 0.4
    labels = [1] * n + [0] * n
    theirs = svm.LinearSVC(dual=False, tol=1e-10, max_iter=100_000).fit(np.concatenate([real, fake]), labels)
    scores = [theirs.decision_function(side) for side in (fake, real)]
    paired, unpaired = discernibility_shares(*pair_up(fake, real))
    assert paired.mean() == (scores[0] > scores[1]).mean()
    assert unpaired.mean() == pytest.approx(1 - theirs.score(np.concatenate([real, fake]), labels))


def test_order_does_not_matter() -> None:
    fake, real = correlated(90, np.random.default_rng(3))
    order = np.random.default_rng(4).permutation(90)
    whole = (frechet_shares(*pair_up(fake, real)), *discernibility_shares(*pair_up(fake, real)))
    mixed = pair_up(fake[order], real[order])
    for ours, theirs in zip(whole, (frechet_shares(*mixed), *discernibility_shares(*mixed)), strict=True):
        np.testing.assert_allclose(ours[order], theirs, atol=1e-9)


def test_features_that_are_not_finite_are_named() -> None:
    broken = normal(20, 4)
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        frechet(broken, normal(20, 4))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match=r"\(3, 4\) and \(2, 4\)"):
        pair_up(np.zeros((3, 4)), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        pair_up(np.zeros(3), np.zeros(3))
    with pytest.raises(ShapeError, match="at least 2"):
        frechet_shares(*pair_up(np.zeros((1, 4)), np.zeros((1, 4))))
