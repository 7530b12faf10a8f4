"""A report as one HTML file that asks for nothing else: tables, charts and images side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from eval.report.comparison import Comparison, comparison_sections
from eval.report.gallery import DIFFERENCE_NOTE, build_gallery
from eval.report.sections import Section, against_of, details_of, warnings_of
from eval.report.tables import scores_table
from eval.results import Report

HERE = Path(__file__).parent
NOT_IN_HTML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def to_html(report: Report) -> str:
    """The page of a report; its images are read from the folders that the report names."""
    first = [Section("Scores", table=scores_table(report)), *warnings_of(report), *against_of(report)]
    return render(f"Scores by the {report.protocol} protocol", first, report)


def comparison_to_html(comparison: Comparison) -> str:
    """The page of our rows beside the printed ones."""
    title = f"{comparison.table.title}: ours beside the printed"
    return render(title, comparison_sections(comparison), comparison.main, "Ours: ")


def render(title: str, first: Sequence[Section], report: Report, lead: str = "") -> str:
    """A page: ``first``, then the images of a report, then what stands behind its scores."""
    page = _template().render(
        title=title,
        lead=f"{lead}{report.n} images, {report.size}, mean hole ratio {100 * report.hole_ratio:.0f} %",
        first=first,
        gallery=build_gallery(report),
        difference_note=DIFFERENCE_NOTE,
        details=details_of(report),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
    )
    return page.lstrip() + "\n"


@cache
def _template() -> jinja2.Template:
    """Every value is escaped by the environment; the style sheet alone is marked as safe, in the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _printable(value: Any) -> Any:
    """Control characters and broken text, which a file name may hold and HTML may not, are replaced."""
    return NOT_IN_HTML.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value
