"""Means by hole ratio as small charts: the geometry; the page draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eval.report.tables import bin_limits, bin_name
from eval.results import Column, Report, Row


class Frame(NamedTuple):
    """Where the axes of a drawing stand, in drawing units from its upper left corner."""

    width: int = 340
    height: int = 210
    left: int = 46
    right: int = 326
    top: int = 12
    bottom: int = 176


FRAME = Frame()
COLOURS, DASHES = 6, 4  # of the page's style sheet: methods have colours, baselines are grey and dashed


@dataclass(frozen=True)
class Point:
    """A mean in drawing units, with its text."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Series:
    """A method's means, and the class that styles its line."""

    name: str
    style: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Points of the polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Chart:
    """One measure: lines over the bins, and where the ticks of both axes stand."""

    title: str
    series: tuple[Series, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


def bin_charts(report: Report) -> tuple[Chart, ...]:
    """A chart for each measure of single images; none with fewer than two bins."""
    limits = bin_limits(report)
    if len(limits) < 2:
        return ()
    charts = (_chart(column, report.rows, limits) for column in report.columns if not column.of_set)
    return tuple(chart for chart in charts if chart is not None)


def _chart(column: Column, rows: Sequence[Row], limits: Sequence[tuple[float, float]]) -> Chart | None:
    means = {row.name: _means(row, column) for row in rows}
    finite = [mean for of_row in means.values() for mean in of_row.values()]
    if not finite:
        return None
    ticks = _ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]
    step = (FRAME.right - FRAME.left) / len(limits)
    x_of = {bin_: FRAME.left + step * (index + 0.5) for index, bin_ in enumerate(limits)}

    def y_of(value: float) -> float:
        return FRAME.top + (FRAME.bottom - FRAME.top) * (high - value) / (high - low)

    series = [
        Series(
            name,
            style,
            tuple(
                Point(x_of[bin_], y_of(mean), f"{name}, {bin_name(*bin_)}: {column.format(mean)}")
                for bin_, mean in sorted(means[name].items())
            ),
        )
        for name, style in _styles(rows).items()
    ]
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    up = tuple((y_of(tick), f"{tick:.{digits}f}") for tick in ticks)
    across = tuple((x_of[bin_], bin_name(*bin_).removesuffix(" %")) for bin_ in limits)
    return Chart(column.heading, tuple(series), across, up)


def _means(row: Row, column: Column) -> dict[tuple[float, float], float]:
    found = {(entry.low, entry.high): entry.values.get(column.key, math.nan) for entry in row.bins if entry.n}
    return {limits: mean for limits, mean in found.items() if math.isfinite(mean)}


def _styles(rows: Sequence[Row]) -> dict[str, str]:
    """Baselines lie behind: they are drawn first."""
    baselines = [row.name for row in rows if row.kind == "baseline"]
    methods = [row.name for row in rows if row.kind != "baseline"]
    styles = {name: f"baseline dash{index % DASHES}" for index, name in enumerate(baselines)}
    return styles | {name: f"colour{index % COLOURS}" for index, name in enumerate(methods)}


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose the values."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]
