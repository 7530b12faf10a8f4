"""Our rows beside the printed ones of a paper's table, and what sets the two apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eval.published import PublishedColumn, PublishedRow, PublishedTable
from eval.report.sections import Document, Section, against_of, warnings_of
from eval.report.tables import (
    DASH,
    Cell,
    Line,
    Table,
    images_of,
    interval_fields,
    remark_of,
    scores_table,
    text_line,
    value_cell,
)
from eval.results import Column, Report, Row, Value, to_plain

STANDARD = "standard"
CLOSE_HOLE_RATIOS = 0.02  # masks closer than this in their mean may be the same


@dataclass(frozen=True)
class Facet:
    """A column of the comparison: a measure as printed, or by the textbook, and our protocol for it."""

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

    def printed(self, facet: Facet, row: PublishedRow) -> Decimal | None:
        """A published row's value; None where it was not printed, or cannot be converted."""
        return self.table.score(row, facet.name, textbook=not facet.as_printed)

    def ours(self, facet: Facet, row: Row) -> tuple[Column, Value] | None:
        """Our value and how it is printed; None where it was not measured."""
        report = self.reports.get(facet.protocol)
        for column in report.columns if report else ():
            for other in report.rows if report else ():
                if (column.key, other.name) == (facet.name, row.name) and facet.name in other.values:
                    return column, other.values[facet.name]
        return None


def comparison_document(comparison: Comparison) -> Document:
    """The table, what sets our numbers apart, why cells are empty, traps, and our rows in full."""
    table, main = comparison.table, comparison.main
    sections = [
        Section(table.title, table=comparison_table(comparison)),
        Section("Not the same task", entries=tuple(_task_differences(table, main)), is_warning=True),
    ]
    if reasons := _reasons(comparison):
        sections.append(Section("Where there is a dash", entries=reasons))
    traps = tuple(("", trap) for trap in (*table.protocol.traps, *table.traps))
    sections.append(Section("The printed numbers", text=f"{table.source}.", entries=traps))
    sections += warnings_of(main)
    sections.append(Section(f"Our rows by the {main.protocol} protocol", table=scores_table(main)))
    sections += against_of(main)
    entries = []
    for method in {row.method: table.methods[row.method] for row in table.rows}.values():
        page = f" How to make its images: {method.page}" if method.page else ""
        entries.append((method.label, f"{method.name}. {method.paper}.{page}"))
    sections.append(Section("The printed methods", entries=tuple(entries)))
    title, lines = f"{table.title}: ours beside the printed", comparison_lines(comparison)
    plain = {"format": 2, "table": table.key, "source": table.source, "rows": lines}
    plain["reports"] = {name: to_plain(report) for name, report in comparison.reports.items()}
    return Document(title, sections, plain, lines, main)


def comparison_table(comparison: Comparison) -> Table:
    """Baselines and our rows with their intervals, then the published rows with the digits of the print."""
    lines = []
    for row in comparison.rows:
        found = [comparison.ours(facet, row) for facet in comparison.facets]
        cells = [Cell(DASH) if ours is None else value_cell(ours[1], ours[0]) for ours in found]
        lines.append(Line(row.name, remark_of(row), (Cell(str(images_of(row, comparison.main))), *cells)))
    n = "?" if comparison.table.n is None else str(comparison.table.n)
    for row in comparison.table.rows:
        values = [comparison.printed(facet, row) for facet in comparison.facets]
        texts = (n, *(DASH if value is None else str(value) for value in values))
        lines.append(text_line(row.label, texts, "published"))
    return Table(("method", "N", *(facet.heading for facet in comparison.facets)), tuple(lines))


def comparison_lines(comparison: Comparison) -> list[dict[str, Any]]:
    """One line for each row, ours first, with intervals; printed values are text, with the print's digits."""
    lines = []
    for row in comparison.rows:
        line: dict[str, Any] = {"method": row.name, "kind": row.kind, "n": images_of(row, comparison.main)}
        for facet in comparison.facets:
            ours = comparison.ours(facet, row)
            line |= interval_fields(facet.key, ours and ours[1])
        lines.append(line)
    for row in comparison.table.rows:
        line = {"method": row.label, "kind": "published", "n": comparison.table.n}
        for facet in comparison.facets:
            value = comparison.printed(facet, row)
            line |= interval_fields(facet.key, None) | {facet.key: None if value is None else str(value)}
        lines.append(line)
    return lines


def _task_differences(table: PublishedTable, report: Report) -> Iterable[tuple[str, str]]:
    """What sets our numbers apart from the printed ones, beside the methods themselves."""
    if table.n != report.n:
        theirs = "the printed rows' is not known" if table.n is None else f"{table.n:,} printed"
        falls = "FID falls as N grows: compare it with no printed one."
        yield "N", f"{report.n:,} images here, {theirs}. {falls}"
    if report.size != (size := f"{table.size} x {table.size}"):
        yield "Size", f"{report.size} here, {size} printed: no measure compares."
    yield "Images", f"hash {report.images_hash[:16]} here; printed: {table.images}."
    ours = f"hash {report.masks_hash[:16]}, mean hole ratio {100 * report.hole_ratio:.1f} % here"
    theirs = f"printed: {table.masks}"
    if table.masks_hole_ratio is not None:
        theirs += f", mean hole ratio {100 * table.masks_hole_ratio:.1f} %"
        gap = report.hole_ratio - table.masks_hole_ratio
        if abs(gap) > CLOSE_HOLE_RATIOS:
            theirs += f"; ours are {'larger, so harder' if gap > 0 else 'smaller, so easier'}"
    yield "Masks", f"{ours}; {theirs}. No hash was printed, so nothing shows that they are the same."


def _reasons(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Why a column has dashes: nothing is ever filled in from elsewhere."""
    reasons = []
    for facet in comparison.facets:
        report = comparison.reports.get(facet.protocol)
        texts = []
        if report is None:
            texts.append(f"ours were not scored by the {facet.protocol} protocol")
        elif any(comparison.ours(facet, row) is None for row in comparison.rows):
            why = [entry.why for entry in report.unmeasured if entry.title == facet.column.title]
            texts += why or ["not measured in all of ours"]
        if any(comparison.printed(facet, row) is None for row in comparison.table.rows):
            texts.append("not printed" if facet.as_printed else "no printed value can be converted")
        if texts:
            reasons.append((facet.heading, "; ".join(texts)))
    return tuple(reasons)
