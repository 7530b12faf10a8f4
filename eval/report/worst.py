"""Which images to look at first: those where the methods under test do worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.results import Column, Report, Row

RANKED_BY = ("hole_psnr", "psnr")  # the first that was measured; else the first measure of single images


@dataclass(frozen=True)
class Rank:
    """An image's place in the order.

    Attributes:
        stem: of the image.
        hole_ratio: of its mask.
        reason: why it stands here, in words.
    """

    stem: str
    hole_ratio: float
    reason: str


def worst_first(report: Report) -> tuple[str, list[Rank]]:
    """Order the images by how far a method lies behind the best row, the widest gap first.

    The methods judged are those that are no baselines; images on which none of them lies behind follow by
    their values. With a single method, or with baselines alone, the images stand by the best row's value, the
    worst first.

    Args:
        report: with values of single images.

    Returns:
        The rule in words, and the images; no images without a measure of single images.
    """
    column = _ranking_column(report)
    if column is None:
        return "No measure of single images, so no order.", []
    judged = [row for row in report.rows if row.kind != "baseline"]
    of_row = {row.name: {picture.stem: picture.values for picture in row.images} for row in report.rows}
    ranked = []
    for stem, hole_ratio in _pictures(report.rows).items():
        values = {name: of[stem][column.key] for name, of in of_row.items() if column.key in of.get(stem, {})}
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        if values:
            ranked.append(_rank(stem, hole_ratio, values, judged, column))
    ranked.sort(key=lambda entry: entry[0])
    by_gap = bool(judged) and len(report.rows) > 1
    rule = f"by the gap in {column.title} to the best row" if by_gap else f"by {column.title}"
    return f"Worst first, {rule}.", [rank for _, rank in ranked]


def _ranking_column(report: Report) -> Column | None:
    columns = {column.key: column for column in report.columns if not column.of_set}
    return next((columns[key] for key in RANKED_BY if key in columns), next(iter(columns.values()), None))


def _pictures(rows: Sequence[Row]) -> dict[str, float]:
    return {picture.stem: picture.hole_ratio for row in rows for picture in row.images}


def _rank(
    stem: str, hole_ratio: float, values: dict[str, float], judged: Sequence[Row], column: Column
) -> tuple[tuple[float, float, str], Rank]:
    """The key to sort by, smallest first, and the image."""
    sign = 1 if column.higher_is_better else -1
    best = max(values, key=lambda name: sign * values[name])
    # Equal values are no gap, also where both are infinite.
    gaps = {
        row.name: 0.0 if values[row.name] == values[best] else sign * (values[best] - values[row.name])
        for row in judged
        if row.name in values
    }
    last = max(gaps, key=lambda name: gaps[name], default=best)
    gap = gaps.get(last, 0.0)
    text = f"{last}: {column.title} {column.format(values[last])}"
    if gap > 0:
        text += f", {column.format(gap)} behind {best}"
    return (-gap, sign * values[last], stem), Rank(stem, hole_ratio, text)
