"""The tables of a report: as text in cells for people, and as numbers in lines for CSV."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

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
    nothing without it. A row that lacks images is never the best: those it has may be the easy ones.
    """
    timed = any(row.seconds_per_image is not None for row in report.rows)
    whole = [row for row in report.rows if not row.missing]
    best = {column.key: best_row(whole, column) for column in report.columns}
    lines = []
    for row in report.rows:
        count = images_of(row, report)
        cells = [Cell(str(count))]
        for column in report.columns:
            is_best = best[column.key] is row and len(report.rows) > 1
            cell = value_cell(row.values.get(column.key), column, best=is_best)
            beside = f" (N {count})" if column.of_set and column.key in row.values else ""
            cells.append(replace(cell, text=cell.text + beside))
        if timed:
            cells.append(Cell(DASH if row.seconds_per_image is None else f"{row.seconds_per_image:.3f}"))
        lines.append(Line(row.name, remark_of(row), tuple(cells)))
    headings = ("method", "N", *(column.heading for column in report.columns))
    return Table((*headings, "s/image") if timed else headings, tuple(lines))


def bins_table(report: Report) -> Table | None:
    """Means by hole ratio, methods below each other within a bin; None where no row has bins."""
    columns = [column for column in report.columns if not column.of_set]
    entries = [(entry, row) for row in report.rows for entry in row.bins]
    lines = []
    for entry, row in sorted(entries, key=lambda pair: pair[0].low):
        values = (column.format(entry.values.get(column.key)) for column in columns)
        texts = (f"{100 * entry.low:.0f}-{100 * entry.high:.0f} %", str(entry.n), *values)
        lines.append(text_line(row.name, texts, remark_of(row)))
    headings = ("method", "hole ratio", "N", *(column.heading for column in columns))
    return Table(headings, tuple(lines)) if lines else None


def known_change_table(report: Report) -> Table | None:
    """What each method changed outside the hole before it was composited; None where nobody could."""
    headings = ("method", "known pixels changed", "mean change, levels", "largest change, levels")
    lines = []
    for row in report.rows:
        if (change := row.known_change) is not None:
            texts = (f"{100 * change.pixels:.1f} %", f"{change.mean:.2f}", f"{change.worst:.0f}")
            lines.append(text_line(row.name, texts, remark_of(row)))
    return Table(headings, tuple(lines)) if lines else None


def text_line(name: str, texts: Iterable[str], kind: str = "") -> Line:
    """A line whose cells are text alone."""
    return Line(name, kind, tuple(map(Cell, texts)))


def value_cell(value: Value | None, column: Column | None, best: bool = False, signed: bool = False) -> Cell:
    """A value as tables print it, with ``[low, high]`` where it has an interval; a dash for none."""
    if value is None or column is None:
        return Cell(DASH)
    text, interval = column.format(value.value, signed=signed), ""
    if not any(end is None or math.isnan(end) for end in (value.low, value.high)):
        low, high = (column.format(end, signed=signed) for end in (value.low, value.high))
        interval = f"[{low}, {high}]"
    return Cell(text, interval, best)


def images_of(row: Row, report: Report) -> int:
    """How many images a row's numbers are of."""
    return report.n - len(row.missing)


def remark_of(row: Row) -> str:
    """What stands behind a method's name in a table: baselines are marked, the rest is what they are for."""
    return "baseline" if row.kind == "baseline" else ""


def score_lines(report: Report) -> list[dict[str, Any]]:
    """One line for each method, with every number at full precision."""
    lines = []
    for row in report.rows:
        line = {"method": row.name, "kind": row.kind, "n": images_of(row, report)}
        for column in report.columns:
            line |= interval_fields(column.key, row.values.get(column.key))
        change = row.known_change
        line["seconds_per_image"] = row.seconds_per_image
        line["known_pixels_changed"] = change and change.pixels
        line["known_change_mean"] = change and change.mean
        line["known_change_worst"] = change and change.worst
        for name in ("protocol", "size", "images_hash", "masks_hash"):
            line[name] = getattr(report, name)
        lines.append(line)
    return lines


def interval_fields(key: str, value: Value | None) -> dict[str, Any]:
    """A value and the ends of its interval by field name; None for what is not there."""
    ends = {f"{key}_low": value and value.low, f"{key}_high": value and value.high}
    return {key: value and value.value, **ends}
