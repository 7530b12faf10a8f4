"""Intervals of means, and paired comparisons with the best baseline."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.measures.statistics import (
    against_baselines,
    best_row,
    bins_of,
    bootstrap_interval,
    means_of,
    paired_difference,
)
from eval.results import Column, ImageScores, Report, Row, RowKind, Value

PSNR = Column("psnr", "PSNR", 3, True)
L1 = Column("l1", "L1", 4, False)
FID = Column("fid", "FID", 2, False, of_set=True)


def make_row(
    name: str, psnr: list[float], l1: float = 0.1, fid: float = 50.0, kind: RowKind = "model"
) -> Row:
    pictures = tuple(ImageScores(f"{i}", 0.3, {"psnr": value, "l1": l1}) for i, value in enumerate(psnr))
    values = {"psnr": Value(float(np.mean(psnr))), "l1": Value(l1), "fid": Value(fid)}
    return Row(name, kind, values, images=pictures)


def make_report(*rows: Row) -> Report:
    return Report("standard", "", 3, "8 x 8", 0.3, "", "", (PSNR, L1, FID), "", "", rows=rows)


def test_interval_of_a_constant_is_the_constant() -> None:
    assert bootstrap_interval(np.full(10, 3.5)) == (3.5, 3.5)


def test_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values) == (low, high)  # seeded
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_measures_share_their_resampled_pictures() -> None:
    values = np.random.default_rng(2).normal(5, 2, 50)
    (low, high), higher = bootstrap_interval(values), bootstrap_interval(values + 1)
    assert higher == pytest.approx((low + 1, high + 1))
    assert bootstrap_interval(values * 2) == pytest.approx((low * 2, high * 2))


def test_no_interval_without_finite_values() -> None:
    assert np.isnan(bootstrap_interval([20.0, math.inf])).all() and np.isnan(bootstrap_interval([])).all()
    assert np.isnan(bootstrap_interval([1.0, math.nan])).all()


def test_one_image_has_no_interval_and_decides_nothing() -> None:
    assert np.isnan(bootstrap_interval([20.0])).all()
    assert means_of(make_row("a", [20.0]).images, (PSNR,))["psnr"] == Value(20.0)
    difference = paired_difference(make_row("a", [20.0]), make_row("b", [10.0]), PSNR)
    assert difference.value.value == 10 and difference.verdict == "within sampling error"


def test_means_come_with_their_intervals() -> None:
    psnr = np.random.default_rng(3).normal(20, 2, 40)
    means = means_of(make_row("a", psnr.tolist()).images, (PSNR, L1, FID))
    assert set(means) == {"psnr", "l1"}  # FID is of the set, not a mean
    assert means["psnr"] == Value(pytest.approx(psnr.mean()), *map(pytest.approx, bootstrap_interval(psnr)))
    assert means["l1"] == Value(*[pytest.approx(0.1)] * 3)
    assert means_of([], (PSNR,))["psnr"] == Value(pytest.approx(math.nan, nan_ok=True))


def test_pictures_without_a_value_are_left_out_of_its_mean() -> None:
    pictures = [ImageScores("a", 0.2, {"psnr": 20.0, "l1": 0.1}), ImageScores("b", 0.0, {"l1": 0.3})]
    means = means_of(pictures, (PSNR, L1))
    assert means["psnr"] == Value(20.0) and means["l1"].value == pytest.approx(0.2)
    assert [b.values for b in bins_of(pictures, (PSNR, L1))] == [{"l1": 0.3}, {"psnr": 20.0, "l1": 0.1}]


def test_a_perfect_picture_makes_the_mean_infinite() -> None:
    assert means_of(make_row("a", [math.inf, 20.0]).images, (PSNR,))["psnr"] == Value(math.inf)


def test_bins_are_half_open_and_hold_every_picture_once() -> None:
    ratios = [0.0, 0.0999, 0.1, 0.35, 0.6, 0.99, 1.0]
    pictures = [ImageScores(str(i), ratio, {"psnr": float(i)}) for i, ratio in enumerate(ratios)]
    bins = bins_of(pictures, (PSNR, FID))
    assert [(b.low, b.high, b.n) for b in bins] == [(0, 0.1, 2), (0.1, 0.2, 1), (0.3, 0.4, 1), (0.6, 1, 3)]
    assert bins[0].values == {"psnr": 0.5} and bins[-1].values == {"psnr": 5.0}


def test_a_difference_is_paired_by_stem() -> None:
    row, other = make_row("a", [21.0, 33.0, 25.0]), make_row("b", [20.0, 32.0, 24.0])
    shuffled = Row("b", "model", other.values, images=other.images[::-1])
    difference = paired_difference(row, shuffled, PSNR)
    # Every image gains exactly 1: an unpaired interval would be as wide as the images differ.
    assert difference.value == Value(pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_a_difference_is_over_the_pictures_that_both_have() -> None:
    row, other = make_row("a", [21.0, 33.0]), make_row("b", [20.0, 30.0, 99.0])
    assert paired_difference(row, other, PSNR).value.value == pytest.approx(2)
    fewer = Row("b", "files", other.values, missing=("2",))
    assert paired_difference(row, fewer, FID) is None  # FID of other images is another number
    assert paired_difference(row, other, FID).value == Value(0)
    assert paired_difference(row, Row("c", "model", {}), PSNR) is None
    assert paired_difference(row, Row("c", "model", {"psnr": Value(1.0)}), PSNR) is None  # no image in common


def test_two_perfect_pictures_differ_by_nothing() -> None:
    row, other = make_row("a", [math.inf, 22.0]), make_row("b", [math.inf, 20.0])
    assert paired_difference(row, other, PSNR).value.value == 1


def test_each_measure_is_compared_with_its_own_best_baseline() -> None:
    smooth = make_row("smooth", [20.0, 22.0, 24.0], l1=0.2, kind="baseline")
    sharp = make_row("sharp", [19.0, 21.0, 23.0], l1=0.05, fid=80.0, kind="baseline")
    compared = against_baselines(make_report(smooth, sharp, make_row("ours", [21.0, 23.0, 25.0])))
    assert list(compared) == ["ours"]
    psnr, l1, fid = compared["ours"]
    assert (psnr.other, psnr.value.value, psnr.verdict) == ("smooth", pytest.approx(1), "better")
    assert (psnr.value.low, psnr.value.high) == (pytest.approx(1), pytest.approx(1))
    assert (l1.other, l1.value.value, l1.verdict) == (
        "sharp",
        pytest.approx(0.05),
        "worse",
    )  # lower is better
    assert (fid.other, fid.value, fid.verdict) == ("smooth", Value(0.0), "within sampling error")


def test_without_baselines_there_is_no_comparison() -> None:
    assert against_baselines(make_report(make_row("ours", [21.0]))) == {}
    baseline = make_row("baseline", [21.0], kind="baseline")
    assert against_baselines(make_report(baseline)) == {}


def test_the_best_row_ignores_rows_without_a_value() -> None:
    rows = [make_row("a", [math.nan]), make_row("b", [20.0]), Row("c", "files", {})]
    assert best_row(rows, PSNR).name == "b"
    assert best_row(rows, L1).name == "a" and best_row([], L1) is None
