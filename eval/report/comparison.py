"""Our rows beside the printed ones of a paper's table, and what sets the two apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import eval.report.tables as tables
from eval.published import PublishedTable
from eval.report.sections import Document, Section, against_of, warnings_of
from eval.results import Column, Report, Value, to_plain

STANDARD = "standard"


@dataclass(frozen=True)
class Facet:
    """A column of the comparison: a measure as printed or, where that differs, by the textbook."""

    key: str  # in data files, such as psnr_textbook
    heading: str  # such as PSNR textbook ↑
    column: Column | None  # how our values are printed; None where they were not measured
    ours: Mapping[str, Value]  # by row
    printed: Mapping[str, str]  # by label, with the digits of the print; some cannot be converted
    dashes: str  # why some values are not there; empty if all are


def facets_of(table: PublishedTable, reports: Mapping[str, Report]) -> list[Facet]:
    """Each measure as printed and, where the print has a definition of its own, by the textbook's."""
    facets = []
    for name, measure in table.protocol.columns.items():
        for textbook in (False, True) if measure.own_definition else (False,):
            report = reports[STANDARD if textbook else table.protocol.scored_as]
            ours = {row.name: row.values[name] for row in report.rows if name in row.values}
            scores = {row.label: table.score(row, name, textbook=textbook) for row in table.rows}
            printed = {label: str(score) for label, score in scores.items() if score is not None}
            reasons = []
            if len(ours) < len(report.rows):
                reasons.append(report.unmeasured.get(measure.title, "not measured in all of ours"))
            if len(printed) < len(scores):
                reasons.append("no printed value can be converted" if textbook else "not printed")
            definition = (" textbook" if textbook else " as printed") if measure.own_definition else ""
            heading = f"{measure.title}{definition} {'↑' if measure.higher_is_better else '↓'}"
            key = f"{name}_{'textbook' if textbook else 'printed'}"
            column = next((column for column in report.columns if column.key == name), None)
            facets.append(Facet(key, heading, column, ours, printed, "; ".join(reasons)))
    return facets


def comparison_document(table: PublishedTable, reports: Mapping[str, Report]) -> Document:
    """The table, what sets our numbers apart, why cells are empty, traps, and our rows in full.

    ``reports`` are of one scoring by protocol: by the standard one and by that of the print.
    """
    main, facets = reports[STANDARD], facets_of(table, reports)
    sections = [
        Section(table.title, table=comparison_table(table, main, facets)),
        Section("Not the same task", entries=tuple(_task_differences(table, main)), is_warning=True),
    ]
    if reasons := [(facet.heading, facet.dashes) for facet in facets if facet.dashes]:
        sections.append(Section("Where there is a dash", entries=tuple(reasons)))
    traps = tuple(("", trap) for trap in (*table.protocol.traps, *table.traps))
    sections.append(Section("The printed numbers", text=f"{table.source}.", entries=traps))
    sections += warnings_of(main)
    sections.append(Section(f"Our rows by the {main.protocol} protocol", table=tables.scores_table(main)))
    sections += against_of(main)
    entries = []
    for method in {row.method: table.methods[row.method] for row in table.rows}.values():
        page = f" How to make its images: {method.page}" if method.page else ""
        entries.append((method.label, f"{method.name}. {method.paper}.{page}"))
    sections.append(Section("The printed methods", entries=tuple(entries)))
    title, lines = f"{table.title}: ours beside the printed", list(comparison_lines(table, main, facets))
    plain = {"format": 2, "table": table.key, "source": table.source, "rows": lines}
    plain["reports"] = {name: to_plain(report) for name, report in reports.items()}
    return Document(title, sections, plain, lines, main)


def comparison_table(table: PublishedTable, report: Report, facets: Sequence[Facet]) -> tables.Table:
    """Baselines and our rows with their intervals, then the published rows with the digits of the print."""
    lines = []
    for row in report.rows:
        cells = (tables.value_cell(facet.ours.get(row.name), facet.column) for facet in facets)
        count = tables.Cell(str(tables.images_of(row, report)))
        lines.append(tables.Line(row.name, tables.remark_of(row), (count, *cells)))
    n = "?" if table.n is None else str(table.n)
    for row in table.rows:
        texts = (n, *(facet.printed.get(row.label, tables.DASH) for facet in facets))
        lines.append(tables.text_line(row.label, texts, "published"))
    return tables.Table(("method", "N", *(facet.heading for facet in facets)), tuple(lines))


def comparison_lines(
    table: PublishedTable, report: Report, facets: Sequence[Facet]
) -> Iterator[dict[str, Any]]:
    """One line for each row, ours first, with intervals; printed values are text, with the print's digits."""
    for row in report.rows:
        line: dict[str, Any] = {"method": row.name, "kind": row.kind, "n": tables.images_of(row, report)}
        for facet in facets:
            line |= tables.interval_fields(facet.key, facet.ours.get(row.name))
        yield line
    for row in table.rows:
        line = {"method": row.label, "kind": "published", "n": table.n}
        for facet in facets:
            line |= tables.interval_fields(facet.key, None) | {facet.key: facet.printed.get(row.label)}
        yield line


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
    yield "Masks", f"{ours}; {theirs}. No hash was printed, so nothing shows that they are the same."
