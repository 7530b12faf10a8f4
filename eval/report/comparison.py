"""Our rows beside the printed ones of a paper's table, as cells, CSV and plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eval.published import PublishedColumn, PublishedRow, PublishedTable, corrected
from eval.report.sheets import write_sheet
from eval.report.tables import DASH, Cell, Line, Table, pictures_of, remark_of, value_cell
from eval.results import Column, Report, Row, Value, to_plain

STANDARD = "standard"
FORMAT = 1


@dataclass(frozen=True)
class Facet:
    """A column of the comparison: a measure, by the definition of the print or of the textbook.

    Attributes:
        name: key of the measure.
        column: the published measure.
        protocol: ours of the same definition.
        as_printed: by the definition of the print.
    """

    name: str
    column: PublishedColumn
    protocol: str
    as_printed: bool

    @property
    def heading(self) -> str:
        """Such as ``PSNR textbook ↑``; the definition is named where there are two."""
        definition = " as printed" if self.as_printed else " textbook"
        arrow = "↑" if self.column.higher_is_better else "↓"
        return f"{self.column.title}{definition if self.column.own_definition else ''} {arrow}"

    @property
    def key(self) -> str:
        """Name in data files, such as ``psnr_textbook``."""
        return f"{self.name}_{'printed' if self.as_printed else 'textbook'}"

    def printed(self, row: PublishedRow) -> Decimal | None:
        """A published row's value; None where it was not printed, or cannot be converted."""
        value = row.scores.get(self.name)
        if value is None or self.as_printed:
            return value
        return None if self.column.too_high_by is None else corrected(value, self.column)


@dataclass(frozen=True)
class Comparison:
    """A published table, and our reports on one set of images and masks, by protocol."""

    table: PublishedTable
    reports: Mapping[str, Report]

    @property
    def main(self) -> Report:
        """The report of which images and details are shown."""
        return self.reports.get(STANDARD) or next(iter(self.reports.values()))

    @property
    def rows(self) -> list[Row]:
        """Ours, each once."""
        found = {row.name: row for report in self.reports.values() for row in report.rows}
        return list(({row.name: row for row in self.main.rows} | found).values())

    @property
    def facets(self) -> list[Facet]:
        """Each measure as printed and, where the print has a definition of its own, by the textbook's."""
        facets = []
        for name, column in self.table.protocol.columns.items():
            facets.append(Facet(name, column, self.table.protocol.scored_as, as_printed=True))
            if column.own_definition:
                facets.append(Facet(name, column, STANDARD, as_printed=False))
        return facets

    def ours(self, facet: Facet, row: Row) -> tuple[Column, Value] | None:
        """Our value and how it is printed; None where it was not measured."""
        report = self.reports.get(facet.protocol)
        if report is None:
            return None
        column = next((column for column in report.columns if column.key == facet.name), None)
        values = next((other.values for other in report.rows if other.name == row.name), {})
        value = values.get(facet.name)
        return None if column is None or value is None else (column, value)


def comparison_table(comparison: Comparison) -> Table:
    """Baselines and our rows with their intervals, then the published rows with the digits of the print."""
    lines = []
    for row in comparison.rows:
        found = [comparison.ours(facet, row) for facet in comparison.facets]
        cells = [Cell(DASH) if ours is None else value_cell(ours[1], ours[0]) for ours in found]
        lines.append(Line(row.name, remark_of(row), (Cell(str(pictures_of(row, comparison.main))), *cells)))
    n = "?" if comparison.table.n is None else str(comparison.table.n)
    for row in comparison.table.rows:
        values = [facet.printed(row) for facet in comparison.facets]
        cells = (Cell(n), *(Cell(DASH if value is None else str(value)) for value in values))
        lines.append(Line(row.label, "published", cells))
    return Table(("method", "N", *(facet.heading for facet in comparison.facets)), tuple(lines))


def comparison_to_csv(comparison: Comparison) -> str:
    """One line for each row, ours first, with the intervals beside our values."""
    facets, lines = comparison.facets, list[dict[str, Any]]()
    for row in comparison.rows:
        line: dict[str, Any] = {"method": row.name, "kind": row.kind, "n": pictures_of(row, comparison.main)}
        for facet in facets:
            if (ours := comparison.ours(facet, row)) is not None:
                value = ours[1]
                line |= {
                    facet.key: value.value,
                    f"{facet.key}_low": value.low,
                    f"{facet.key}_high": value.high,
                }
        lines.append(line)
    for row in comparison.table.rows:
        printed = {facet.key: facet.printed(row) for facet in facets}
        lines.append({"method": row.label, "kind": "published", "n": comparison.table.n, **printed})
    numbers = [name for facet in facets for name in (facet.key, f"{facet.key}_low", f"{facet.key}_high")]
    return write_sheet(lines, ["method", "kind", "n", *numbers])


def comparison_to_plain(comparison: Comparison) -> dict[str, Any]:
    """Everything as plain values for JSON; the reports in the form that ``eval.results.from_plain`` reads."""
    table = comparison.table
    rows = []
    for row in table.rows:
        values = {facet.key: facet.printed(row) for facet in comparison.facets}
        numbers = {key: str(value) for key, value in values.items() if value is not None}
        rows.append({"label": row.label, "method": row.method, **numbers})
    return {
        "format": FORMAT,
        "table": table.key,
        "published": {
            "source": table.source,
            "n": table.n,
            "images": table.pictures,
            "masks": table.masks,
            "rows": rows,
        },
        "reports": {name: to_plain(report) for name, report in comparison.reports.items()},
    }
