"""Documents on disk: Markdown, JSON, CSV, or one HTML file that asks for nothing else; written whole."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from eval.report.gallery import DIFFERENCE_NOTE, build_gallery
from eval.report.sections import Document, details_of, to_markdown
from eval.results import plain
from inpaint.atomic import atomic_write
from inpaint.errors import InpaintError

HERE = Path(__file__).parent
NOT_IN_HTML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def write_document(document: Document, path: Path) -> None:
    """Write a document in the form of the file's suffix: ``.md``, ``.json``, ``.csv`` or ``.html``; atomic.

    The JSON of a report holds each image's values, too. InpaintError if the file cannot be written.
    """
    match path.suffix.lower():
        case ".md":
            text = to_markdown(document)
        case ".json":
            text = json.dumps(plain(document.plain), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        case ".html":
            text = to_html(document)
        case _:
            text = to_csv(document.lines)
    write_text(text, path)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all, with its folder; InpaintError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InpaintError(f"cannot write the report to {path}: {error.strerror}") from error


def to_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """CSV text of lines that have the same fields; None is an empty one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_html(document: Document) -> str:
    """A page: sections, the images of the report, read from the folders it names, and its details."""
    report = document.report
    assert report is not None
    page = _template().render(
        title=document.title,
        lead=f"{report.n} images, {report.size}, mean hole ratio {100 * report.hole_ratio:.0f} %",
        first=document.sections,
        gallery=build_gallery(report),
        difference_note=DIFFERENCE_NOTE,
        details=details_of(report),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
    )
    return page.lstrip() + "\n"


@cache
def _template() -> jinja2.Template:
    """Every value is escaped by the environment; the style sheet alone is marked as safe, in the template.

    Control characters and broken text, which a file name may hold and HTML may not, are replaced.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: NOT_IN_HTML.sub("\ufffd", value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
