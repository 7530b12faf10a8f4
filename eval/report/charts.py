"""Means by hole ratio as small charts: the geometry; the page draws it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from eval.report.tables import bin_limits, bin_name
from eval.results import Column, Report


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


class Point(NamedTuple):
    """A mean in drawing units, with its text."""

    x: float
    y: float
    text: str


class Series(NamedTuple):
    """A method's means, and the class that styles its line."""

    name: str
    style: str
    points: list[Point]


@dataclass(frozen=True)
class Chart:
    """One measure: lines over the bins, and the ticks of both axes with their texts."""

    title: str
    series: tuple[Series, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


def bin_charts(report: Report) -> tuple[Chart, ...]:
    """A chart for each measure of single images; none with fewer than two bins."""
    if len(bin_limits(report)) < 2:
        return ()
    charts = (_chart(report, column) for column in report.columns if not column.of_set)
    return tuple(chart for chart in charts if chart is not None)


def _chart(report: Report, column: Column) -> Chart | None:
    means = {
        row.name: {(e.low, e.high): e.values.get(column.key, math.nan) for e in row.bins if e.n}
        for row in report.rows
    }
    finite = [mean for of_row in means.values() for mean in of_row.values() if math.isfinite(mean)]
    if not finite:
        return None
    ticks = _ticks(min(finite), max(finite))
    limits = bin_limits(report)
    step = (FRAME.right - FRAME.left) / len(limits)
    x_of = {bin_: FRAME.left + step * (index + 0.5) for index, bin_ in enumerate(limits)}

    def y_of(value: float) -> float:
        return FRAME.top + (FRAME.bottom - FRAME.top) * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    series = []
    baselines = [row.name for row in report.rows if row.kind == "baseline"]
    methods = [row.name for row in report.rows if row.kind != "baseline"]
    for number, name in enumerate((*baselines, *methods)):  # baselines lie behind: they are drawn first
        method = number - len(baselines)
        style = f"baseline dash{number % DASHES}" if method < 0 else f"colour{method % COLOURS}"
        points = [
            Point(x_of[bin_], y_of(mean), f"{name}, {bin_name(*bin_)}: {column.format(mean)}")
            for bin_, mean in sorted(means[name].items())
            if math.isfinite(mean)
        ]
        series.append(Series(name, style, points))
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    up = tuple((y_of(tick), f"{tick:.{digits}f}") for tick in ticks)
    across = tuple((x_of[bin_], bin_name(*bin_).removesuffix(" %")) for bin_ in limits)
    return Chart(column.heading, tuple(series), across, up)


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose the values."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]
