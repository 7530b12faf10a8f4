"""Reports on disk: the suffix chooses the form, and a file is written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.report.comparison import (
    Comparison,
    comparison_to_csv,
    comparison_to_markdown,
    comparison_to_plain,
)
from eval.report.page import comparison_to_html, to_html
from eval.report.sections import to_markdown
from eval.report.tables import to_csv, to_images_csv
from eval.results import Report, to_plain
from inpaint.atomic import atomic_write
from inpaint.errors import InpaintError

IMAGES_SUFFIXES = (".images.csv", ".pictures.csv")  # the second one is that of the first version
SUFFIXES = (".md", ".json", ".csv", ".html")


def write_report(content: Report | Comparison, path: Path) -> None:
    """Write a report or a comparison as Markdown, JSON, CSV or HTML, by the file's suffix; atomic.

    A name ending in ``.images.csv`` gets a line for each method and image. The JSON of a report holds
    everything, and ``eval.results.read_report`` reads it back.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    if isinstance(content, Comparison):
        writers = (comparison_to_markdown, comparison_to_plain, comparison_to_csv, comparison_to_html)
    else:
        csv = to_images_csv if path.name.endswith(IMAGES_SUFFIXES) else to_csv
        writers = (to_markdown, to_plain, csv, to_html)
    write_form(content, path, dict(zip(SUFFIXES, writers, strict=True)))


def write_form(content: Any, path: Path, forms: Mapping[str, Callable[[Any], Any]]) -> None:
    """Write ``content`` in the form that belongs to the file's suffix, plain values as JSON; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    if path.suffix.lower() not in forms:
        raise InpaintError(f"got report file {path}; expected a name ending in {', '.join(forms)}")
    text = forms[path.suffix.lower()](content)
    write_text(text if isinstance(text, str) else to_json(text), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all; missing folders are made.

    Raises:
        InpaintError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InpaintError(f"cannot write the report to {path}: {error.strerror}") from error


def to_json(plain: Mapping[str, Any]) -> str:
    """Strict JSON: infinities and NaN are text by now."""
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False, default=asdict) + "\n"
