"""What our rows beside the printed ones mean: where they compare, where not, and why."""

from __future__ import annotations

from collections.abc import Iterable

from eval.report.comparison import Comparison, comparison_table
from eval.report.sections import Section, against_of, warnings_of
from eval.report.tables import scores_table

CLOSE_HOLE_RATIOS = 0.02  # masks closer than this in their mean may be the same


def comparison_sections(comparison: Comparison) -> list[Section]:
    """The table, what sets our numbers apart, why cells are empty, traps, and our rows in full."""
    table, main = comparison.table, comparison.main
    methods = {row.method: table.methods[row.method] for row in table.rows}.values()
    sections = [Section(table.title, table=comparison_table(comparison))]
    sections.append(Section("Not the same task", entries=tuple(_differences(comparison)), is_warning=True))
    if reasons := _reasons(comparison):
        sections.append(Section("Where there is a dash", entries=reasons))
    traps = tuple(("", trap) for trap in (*table.protocol.traps, *table.traps))
    sections.append(Section("The printed numbers", text=f"{table.source}.", entries=traps))
    sections += warnings_of(main)
    sections.append(Section(f"Our rows by the {main.protocol} protocol", table=scores_table(main)))
    sections += against_of(main)
    entries = tuple((method.label, _introduce(method.name, method.paper, method.page)) for method in methods)
    return [*sections, Section("The printed methods", entries=entries)]


def _introduce(name: str, paper: str, page: str) -> str:
    return f"{name}. {paper}." + (f" How to make its images: {page}" if page else "")


def _differences(comparison: Comparison) -> Iterable[tuple[str, str]]:
    """What sets our numbers apart from the printed ones, beside the methods themselves."""
    table, report = comparison.table, comparison.main
    if table.n != report.n:
        theirs = "the printed rows' is not known" if table.n is None else f"{table.n:,} printed"
        yield (
            "N",
            f"{report.n:,} images here, {theirs}. FID falls as N grows: compare it with no printed one.",
        )
    if report.size != (size := f"{table.size} x {table.size}"):
        yield "Size", f"{report.size} here, {size} printed: no measure compares."
    yield "Images", f"hash {report.images_hash[:16]} here; printed: {table.pictures}."
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
        if any(facet.printed(row) is None for row in comparison.table.rows):
            texts.append("not printed" if facet.as_printed else "no printed value can be converted")
        if texts:
            reasons.append((facet.heading, "; ".join(texts)))
    return tuple(reasons)
