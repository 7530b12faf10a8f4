"""Means by hole ratio as small charts: where points and ticks stand, from 0 to 1; the page draws them."""

import math
from typing import NamedTuple

from eval.report.tables import bin_limits, bin_name
from eval.results import Column, Report

COLOURS, DASHES = 6, 4  # of the page's style sheet: methods have colours, baselines are grey and dashed


class Series(NamedTuple):
    """A method's means as (x, y, text), and the class that styles its line."""

    name: str
    style: str
    points: list[tuple[float, float, str]]


class Chart(NamedTuple):
    """One measure: lines over the bins, and the ticks of both axes with their texts."""

    title: str
    series: list[Series]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]


def bin_charts(report: Report) -> tuple[Chart, ...]:
    """A chart for each measure of single images; none with fewer than two bins."""
    if len(bin_limits(report)) < 2:
        return ()
    charts = (_chart(report, column) for column in report.columns if not column.of_set)
    return tuple(chart for chart in charts if chart is not None)


def _chart(report: Report, column: Column) -> Chart | None:
    limits = bin_limits(report)
    x_of = {bin_: (index + 0.5) / len(limits) for index, bin_ in enumerate(limits)}
    rows = sorted(report.rows, key=lambda row: row.kind != "baseline")  # baselines lie behind
    means = [{(e.low, e.high): e.values.get(column.key, math.nan) for e in row.bins if e.n} for row in rows]
    values = [mean for of_row in means for mean in of_row.values() if math.isfinite(mean)]
    if not values:
        return None
    low, high = min(values), max(values)
    span = high - low or 1.0
    series, baselines = list[Series](), sum(row.kind == "baseline" for row in rows)
    for number, (row, of_row) in enumerate(zip(rows, means, strict=True)):
        method = number - baselines
        style = f"baseline dash{number % DASHES}" if method < 0 else f"colour{method % COLOURS}"
        points = [
            (x_of[bin_], (mean - low) / span, f"{row.name}, {bin_name(*bin_)}: {column.format(mean)}")
            for bin_, mean in sorted(of_row.items())
            if math.isfinite(mean)
        ]
        series.append(Series(row.name, style, points))
    up = [(share, column.format(low + share * span)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    across = [(x, bin_name(*bin_).removesuffix(" %")) for bin_, x in x_of.items()]
    return Chart(column.heading, series, across, up)
