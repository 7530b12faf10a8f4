"""Means over images and over bins of hole ratio; how sure a mean is, and a difference of two methods."""

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

BETTER, WORSE, NOISE = "better", "worse", "within sampling error"


@dataclass(frozen=True)
class Difference:
    """A row minus another in one measure; the interval is paired where the measure is of single images."""

    column: Column
    other: str
    value: Value
    verdict: str


def bootstrap_interval(values: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``(N,)`` values; NaN for fewer than 2 or one not finite."""
    return bootstrap_intervals([values], seed)[0]


def bootstrap_intervals(rows: Sequence[ArrayLike], seed: int = 0) -> list[tuple[float, float]]:
    """:func:`bootstrap_interval` of rows of equal N at once: drawing images is the larger part of the work.

    The same seed draws the same images for every measure and method of equal N. Memory stays at a few times
    that of the rows.
    """
    table = np.asarray(rows, dtype=np.float64)
    count = table.shape[1]
    if count < 2:  # one image says nothing of others
        return [(math.nan, math.nan)] * len(table)
    usable = np.where(np.isfinite(table).all(axis=1, keepdims=True), table, math.nan)
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(count, size=count) for _ in range(RESAMPLES))
    means = [usable @ np.bincount(images, minlength=count) / count for images in drawn]
    return [tuple(interval) for interval in np.percentile(means, [2.5, 97.5], axis=0).T.tolist()]


def means_of(images: Sequence[ImageScores], columns: Sequence[Column]) -> dict[str, Value]:
    """Mean and interval of each measure of single images, over the images that have it, by column key.

    There is no interval where a value is infinite; the mean is NaN where no image has one.
    """
    means, values = {}, {column.key: _values(images, column) for column in columns if not column.of_set}
    for count in {len(found) for found in values.values()}:
        alike = {key: found for key, found in values.items() if len(found) == count}
        ends = bootstrap_intervals([*alike.values()])
        for (key, found), (low, high) in zip(alike.items(), ends, strict=True):
            mean = float(found.mean()) if count else math.nan
            means[key] = Value(mean) if math.isnan(low) else Value(mean, low, high)
    return means


def bins_of(images: Sequence[ImageScores], columns: Sequence[Column]) -> tuple[Bin, ...]:
    """Means by hole ratio: 0-10, 10-20, ... 50-60, 60-100 %; bins without an image are left out."""
    bins = []
    for low, high in itertools.pairwise(BIN_EDGES):
        last = high == BIN_EDGES[-1]  # an image that is all hole belongs to it
        inside = [image for image in images if low <= image.hole_ratio and (last or image.hole_ratio < high)]
        found = {column.key: _values(inside, column) for column in columns if not column.of_set}
        if inside:
            means = {key: float(values.mean()) for key, values in found.items() if len(values)}
            bins.append(Bin(low, high, len(inside), means))
    return tuple(bins)


def paired_difference(row: Row, other: Row, column: Column) -> Difference | None:
    """``row`` minus ``other`` in one measure, image by image over those that both have.

    None where one of them was not measured, where they share no image, or where a measure of the whole set
    was taken of different images.
    """
    if column.key not in row.values or column.key not in other.values:
        return None
    if column.of_set:
        if row.missing != other.missing:
            return None
        value = Value(row.values[column.key].value - other.values[column.key].value)
        return Difference(column, other.name, value, verdict_of(value, column))
    others = {image.stem: image.values for image in other.images}
    pairs = [
        (image.values[column.key], others[image.stem][column.key])
        for image in row.images
        if column.key in image.values and column.key in others.get(image.stem, {})
    ]
    if not pairs:
        return None
    first, second = np.array(pairs, dtype=np.float64).T
    # Equal values differ by zero, also where both images were filled perfectly (infinity minus infinity).
    differences = np.subtract(first, second, out=np.zeros_like(first), where=first != second)
    value = Value(float(differences.mean()), *bootstrap_interval(differences))
    return Difference(column, other.name, value, verdict_of(value, column) if len(pairs) > 1 else NOISE)


def verdict_of(value: Value, column: Column) -> str:
    """Whether a difference is for the better; an interval that holds zero decides nothing.

    Without an interval the sign decides.
    """
    low, high = value.low, value.high
    if value.value == 0 or (low is not None and high is not None and low <= 0 <= high):
        return NOISE
    return BETTER if (value.value > 0) == column.higher_is_better else WORSE


def best_row(rows: Sequence[Row], column: Column) -> Row | None:
    """The row with the best value of a measure; None where no row has one."""
    sign = 1 if column.higher_is_better else -1
    values = {row.name: row.values[column.key].value for row in rows if column.key in row.values}
    measured = [row for row in rows if not math.isnan(values.get(row.name, math.nan))]
    return max(measured, key=lambda row: sign * values[row.name], default=None)


def against_baselines(report: Report) -> dict[str, list[Difference]]:
    """Every method that is no baseline against the best baseline of each measure; empty without baselines."""
    baselines = [row for row in report.rows if row.kind == "baseline"]
    best = [(column, best_row(baselines, column)) for column in report.columns]
    compared = {}
    for row in report.rows if baselines else ():
        if row.kind != "baseline":
            found = [paired_difference(row, other, column) for column, other in best if other is not None]
            compared[row.name] = [difference for difference in found if difference is not None]
    return compared


def _values(images: Sequence[ImageScores], column: Column) -> NDArray[np.float64]:
    """A measure of the images that have it: an image without a hole has no hole PSNR."""
    return np.array([i.values[column.key] for i in images if column.key in i.values], dtype=np.float64)
