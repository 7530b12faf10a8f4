"""The tables of a report, as text in cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eval.measures.statistics import best_row
from eval.results import Column, Report, Row, Value

DASH = "-"


@dataclass(frozen=True)
class Cell:
    """One entry of a table: its text, the interval under it, and whether it is the best of its column."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """One row of a table; ``kind`` is a remark such as ``baseline``, empty for none."""

    name: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Headings (the first one is of the names) and lines."""

    headings: tuple[str, ...]
    lines: tuple[Line, ...]


def scores_table(report: Report) -> Table:
    """The table of a report: a line for each method, intervals under the values, the best in bold.

    N stands in its own column and once more beside each measure of the whole set: such a number means
    nothing without it.
    """
    timed = any(row.seconds_per_image is not None for row in report.rows)
    headings = [
        "method",
        "N",
        *(column.heading for column in report.columns),
        *(["s/image"] if timed else []),
    ]
    best = {column.key: best_row(report.rows, column) for column in report.columns}
    lines = []
    for row in report.rows:
        count = pictures_of(row, report)
        cells = [Cell(str(count))]
        for column in report.columns:
            value = row.values.get(column.key)
            cell = value_cell(value, column, best=best[column.key] is row and len(report.rows) > 1)
            beside = f" (N {count})" if column.of_set and value is not None else ""
            cells.append(Cell(cell.text + beside, cell.interval, cell.best))
        if timed:
            cells.append(Cell(DASH if row.seconds_per_image is None else f"{row.seconds_per_image:.3f}"))
        lines.append(Line(row.name, remark_of(row), tuple(cells)))
    return Table(tuple(headings), tuple(lines))


def bins_table(report: Report) -> Table | None:
    """Means by hole ratio, methods below each other within a bin; None where no row has bins."""
    columns = [column for column in report.columns if not column.of_set]
    lines = []
    for low, high in bin_limits(report):
        for row in report.rows:
            for entry in row.bins:
                if (entry.low, entry.high) == (low, high) and entry.n:
                    values = [Cell(column.format(entry.values.get(column.key))) for column in columns]
                    cells = (Cell(bin_name(low, high)), Cell(str(entry.n)), *values)
                    lines.append(Line(row.name, remark_of(row), cells))
    headings = ("method", "hole ratio", "N", *(column.heading for column in columns))
    return Table(headings, tuple(lines)) if lines else None


def known_change_table(report: Report) -> Table | None:
    """What each method changed outside the hole before it was composited; None where nobody could."""
    headings = ("method", "known pixels changed", "mean change, levels", "largest change, levels")
    lines = []
    for row in report.rows:
        if (change := row.known_change) is not None:
            texts = (f"{100 * change.pixels:.1f} %", f"{change.mean:.2f}", f"{change.worst:.0f}")
            lines.append(Line(row.name, remark_of(row), tuple(Cell(text) for text in texts)))
    return Table(headings, tuple(lines)) if lines else None


def value_cell(value: Value | None, column: Column, *, best: bool = False) -> Cell:
    """A value as the table prints it, with its interval where there is one."""
    if value is None:
        return Cell(DASH)
    return Cell(column.format(value.value), interval_text(value, column), best)


def interval_text(value: Value, column: Column, *, signed: bool = False) -> str:
    """``[low, high]``; empty where there is none."""
    if value.low is None or value.high is None or math.isnan(value.low) or math.isnan(value.high):
        return ""
    low, high = (column.format(end, signed=signed) for end in (value.low, value.high))
    return f"[{low}, {high}]"


def pictures_of(row: Row, report: Report) -> int:
    """How many images a row's numbers are of."""
    return report.n - len(row.missing)


def remark_of(row: Row) -> str:
    """What stands behind a method's name in a table: baselines are marked, the rest is what they are for."""
    return "baseline" if row.kind == "baseline" else ""


def bin_limits(report: Report) -> list[tuple[float, float]]:
    """The bins of hole ratio that hold an image of any row, rising."""
    return sorted({(entry.low, entry.high) for row in report.rows for entry in row.bins if entry.n})


def bin_name(low: float, high: float) -> str:
    """Such as ``20-30 %``."""
    return f"{100 * low:.0f}-{100 * high:.0f} %"
