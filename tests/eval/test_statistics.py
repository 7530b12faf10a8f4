"""Intervals, bins and paired differences, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval import statistics
from eval.results import Column, Picture, Report, Row, RowKind, Value
from eval.statistics import (
    against_floors,
    bins_of,
    bootstrap_interval,
    mean_with_interval,
    means_of,
    paired_difference,
)

PSNR = Column("psnr", "PSNR", 3, higher_is_better=True)
SQD = Column("sqd", "sqd", 4, higher_is_better=False)
FID = Column("fid", "FID", 2, higher_is_better=False, of_set=True)
COLUMNS = (PSNR, SQD, FID)


def make_row(name: str, kind: RowKind, psnr: list[float], sqd: float = 0.4, fid: float = 100.0) -> Row:
    pictures = tuple(
        Picture(f"p{index}", 0.05 + 0.1 * index, {"psnr": value, "sqd": sqd})
        for index, value in enumerate(psnr)
    )
    return Row(name, kind, means_of(pictures, COLUMNS) | {"fid": Value(fid)}, pictures=pictures)


def make_report(*rows: Row) -> Report:
    return Report("standard", "", 3, "8 x 8", 0.15, "", "", COLUMNS, rows=rows)


PUSH_PULL = make_row("push-pull pyramid", "floor", [20.0, 22.0, 24.0], sqd=0.5, fid=90)
TELEA = make_row("OpenCV Telea", "floor", [19.0, 21.0, 23.0], sqd=0.3, fid=95)
MODEL = make_row("acr-small", "model", [21.0, 23.0, 25.0], sqd=0.35, fid=80)


def test_interval_of_a_constant_is_the_constant() -> None:
    assert bootstrap_interval(np.full(10, 3.5)) == (3.5, 3.5)


def test_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values) == (low, high)  # seeded
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_chunks_draw_what_one_piece_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(5, 2, 37)
    whole = bootstrap_interval(values)
    for chunk in (1, 100, 1001):
        monkeypatch.setattr(statistics, "_CHUNK", chunk)
        assert bootstrap_interval(values) == pytest.approx(whole, rel=1e-12)


def test_values_that_are_not_defined_are_left_out() -> None:
    assert mean_with_interval(np.array([1.0, math.nan, 3.0])).value == 2
    assert math.isnan(mean_with_interval(np.array([math.nan])).value)
    assert mean_with_interval(np.array([20.0, math.inf])) == Value(math.inf)  # perfect, without an interval


def test_bins_are_half_open_and_cover_everything() -> None:
    ratios = [0.0, 0.0999, 0.1, 0.35, 0.6, 0.99, 1.0]
    pictures = [Picture(str(i), ratio, {"psnr": float(i), "sqd": 0.0}) for i, ratio in enumerate(ratios)]
    bins = bins_of(pictures, COLUMNS)
    assert [(b.low, b.high, b.n) for b in bins] == [(0, 0.1, 2), (0.1, 0.2, 1), (0.3, 0.4, 1), (0.6, 1, 3)]
    assert bins[0].values == {"psnr": 0.5, "sqd": 0.0}  # no fid: it is of the whole set
    assert sum(b.n for b in bins) == len(pictures)


def test_differences_are_paired_by_stem() -> None:
    assert paired_difference(MODEL, PUSH_PULL, PSNR) == Value(1.0, 1.0, 1.0)  # the same gain on every picture
    assert paired_difference(MODEL, PUSH_PULL, FID) == Value(-10.0)
    part = Row("part", "files", {}, pictures=MODEL.pictures[::-1][:2])  # another order, one missing
    assert paired_difference(part, PUSH_PULL, PSNR) == Value(1.0, 1.0, 1.0)
    assert math.isnan(paired_difference(part, PUSH_PULL, FID).value)
    assert math.isnan(paired_difference(Row("none", "files", {}), PUSH_PULL, PSNR).value)


def test_two_perfect_pictures_have_no_difference_to_speak_of() -> None:
    perfect = make_row("perfect", "files", [math.inf, 23.0, 25.0])
    other = make_row("other", "files", [math.inf, 22.0, 24.0])
    assert paired_difference(perfect, other, PSNR) == Value(1.0, 1.0, 1.0)


def test_each_measure_is_compared_with_its_own_best_floor() -> None:
    comparison = against_floors(make_report(PUSH_PULL, TELEA, MODEL))
    assert list(comparison) == ["acr-small"]
    assert comparison["acr-small"]["psnr"] == ("push-pull pyramid", Value(1.0, 1.0, 1.0))
    floor, difference = comparison["acr-small"]["sqd"]  # lower is better
    assert floor == "OpenCV Telea" and difference.value == pytest.approx(0.05)
    assert comparison["acr-small"]["fid"] == ("push-pull pyramid", Value(-10.0))


def test_without_floors_there_is_no_comparison() -> None:
    assert against_floors(make_report(MODEL)) == {}
