"""Means over images and over bins of hole ratio; how sure a mean is, and a difference of two methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.results import Bin, Column, ImageScores, Report, Row, Value

BIN_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)
RESAMPLES = 2000
INTERVAL = f"95 %, percentile bootstrap over images, {RESAMPLES:,} resamples"


@dataclass(frozen=True)
class Difference:
    """A method against the best baseline of one measure.

    Attributes:
        column: the measure.
        baseline: name of the best baseline of this measure.
        value: method minus baseline, with the paired interval where the measure is of single images.
        better: the method's side of zero is the good one.
    """

    column: Column
    baseline: str
    value: Value
    better: bool


def bootstrap_interval(values: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean over images.

    Args:
        values: ``(N,)``.
        seed: of the resampling.

    Returns:
        Lower and upper end; NaN without a value, or where one is not finite (an image filled perfectly).
    """
    ((low, high),) = bootstrap_intervals(np.asarray(values, dtype=np.float64)[:, None], seed)
    return float(low), float(high)


def bootstrap_intervals(values: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """95 % percentile intervals of several measures' means, all from the same resampled images.

    The same seed draws the same images for every measure and method of equal N. Memory stays at a few
    vectors of length N.

    Args:
        values: ``(N, C)``, one column a measure.
        seed: of the resampling.

    Returns:
        ``(C, 2)``: lower and upper ends; NaN where a column is empty or holds a value that is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    count = len(table)
    finite = np.isfinite(table).all(axis=0) & (count > 0)
    intervals = np.full((table.shape[1], 2), math.nan)
    if finite.any():
        generator = np.random.default_rng(seed)
        usable = np.ascontiguousarray(table[:, finite])
        means = np.empty((RESAMPLES, usable.shape[1]))
        for resample in means:
            times_drawn = np.bincount(generator.integers(count, size=count), minlength=count)
            resample[:] = times_drawn @ usable / count
        intervals[finite] = np.percentile(means, [2.5, 97.5], axis=0).T
    return intervals


def means_of(pictures: Sequence[ImageScores], columns: Sequence[Column]) -> dict[str, Value]:
    """Mean and interval of each measure of single images, over the images that have it.

    Args:
        pictures: scores of one method.
        columns: measures; those of the whole set are passed over.

    Returns:
        By column key; without an interval where a value is infinite, and NaN where no image has one.
    """
    means = {}
    values = {column.key: _values(pictures, column) for column in columns if not column.of_set}
    # Measures that all images have share their resamples: drawing them is the larger part of the work.
    shared = [key for key, found in values.items() if len(found) == len(pictures)]
    table = bootstrap_intervals(np.array([values[key] for key in shared]).reshape(len(shared), -1).T)
    intervals = dict(zip(shared, table.tolist(), strict=True))
    for key, found in values.items():
        low, high = intervals[key] if key in intervals else bootstrap_interval(found)
        mean = float(found.mean()) if len(found) else math.nan
        means[key] = Value(mean) if math.isnan(low) else Value(mean, low, high)
    return means


def bins_of(pictures: Sequence[ImageScores], columns: Sequence[Column]) -> tuple[Bin, ...]:
    """Means by hole ratio: 0-10, 10-20, ... 50-60, 60-100 %; bins without an image are left out."""
    bins = []
    for low, high in itertools.pairwise(BIN_EDGES):
        last = high == BIN_EDGES[-1]  # an image that is all hole belongs to it
        inside = [p for p in pictures if low <= p.hole_ratio and (last or p.hole_ratio < high)]
        found = {column.key: _values(inside, column) for column in columns if not column.of_set}
        if inside:
            means = {key: float(values.mean()) for key, values in found.items() if len(values)}
            bins.append(Bin(low, high, len(inside), means))
    return tuple(bins)


def paired_difference(row: Row, other: Row, column: Column) -> Value | None:
    """``row`` minus ``other`` in one measure, image by image over those that both have.

    Args:
        row: a method.
        other: the method it is compared with.
        column: the measure.

    Returns:
        The difference; with its paired interval where the measure is of single images. None where one of
        them was not measured, where they share no image, or where a measure of the whole set was taken of
        different images.
    """
    if column.key not in row.values or column.key not in other.values:
        return None
    if column.of_set:
        if row.missing != other.missing:
            return None
        return Value(row.values[column.key].value - other.values[column.key].value)
    others = {picture.stem: picture.values for picture in other.images}
    pairs = [
        (picture.values[column.key], others[picture.stem][column.key])
        for picture in row.images
        if column.key in picture.values and column.key in others.get(picture.stem, {})
    ]
    if not pairs:
        return None
    first, second = np.array(pairs, dtype=np.float64).T
    # Equal values differ by zero, also where both images were filled perfectly (infinity minus infinity).
    differences = np.subtract(first, second, out=np.zeros_like(first), where=first != second)
    low, high = bootstrap_interval(differences)
    return Value(float(differences.mean()), low, high)


def best_row(rows: Sequence[Row], column: Column) -> Row | None:
    """The row with the best value of a measure; None where no row has one."""
    measured = [row for row in rows if not math.isnan(_value(row, column))]
    sign = 1 if column.higher_is_better else -1
    return max(measured, key=lambda row: sign * _value(row, column), default=None)


def against_baselines(report: Report) -> dict[str, tuple[Difference, ...]]:
    """Compare every method that is no baseline with the best baseline of each measure, image by image.

    Args:
        report: with or without baselines.

    Returns:
        By the method's name, in the order of the report's columns; empty without baselines.
    """
    baselines = [row for row in report.rows if row.kind == "baseline"]
    return {
        row.name: tuple(_differences(row, baselines, report.columns))
        for row in report.rows
        if baselines and row.kind != "baseline"
    }


def _differences(row: Row, baselines: Sequence[Row], columns: Sequence[Column]) -> list[Difference]:
    found = []
    for column in columns:
        baseline = best_row(baselines, column)
        value = None if baseline is None else paired_difference(row, baseline, column)
        if baseline is not None and value is not None:
            gain = value.value if column.higher_is_better else -value.value
            found.append(Difference(column, baseline.name, value, better=gain > 0))
    return found


def _value(row: Row, column: Column) -> float:
    value = row.values.get(column.key)
    return math.nan if value is None else value.value


def _values(pictures: Sequence[ImageScores], column: Column) -> NDArray[np.float64]:
    """A measure of the images that have it: an image without a hole has no hole PSNR."""
    return np.array([p.values[column.key] for p in pictures if column.key in p.values], dtype=np.float64)
