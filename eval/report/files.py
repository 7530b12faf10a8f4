"""Reports on disk: the suffix chooses the form, and a file is written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.report.comparison import Comparison, comparison_to_csv, comparison_to_plain
from eval.report.markdown import comparison_to_markdown, to_markdown
from eval.report.page import comparison_to_html, to_html
from eval.report.sheets import to_csv, to_images_csv
from eval.results import Report, to_plain
from inpaint.atomic import atomic_write
from inpaint.errors import InpaintError

IMAGES_SUFFIXES = (".images.csv", ".pictures.csv")  # the second one is that of the first version
SUFFIXES = (".md", ".json", ".csv", ".html")


def write_report(report: Report, path: Path) -> None:
    """Write a report as Markdown, JSON, CSV or HTML, by the file's suffix; atomic.

    A name ending in ``.images.csv`` gets a line for each method and image, another ``.csv`` one for each
    method. JSON holds everything, and ``eval.results.read_report`` reads it back.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    csv = to_images_csv if path.name.endswith(IMAGES_SUFFIXES) else to_csv
    forms = {
        ".md": to_markdown,
        ".json": lambda report: to_json(to_plain(report)),
        ".csv": csv,
        ".html": to_html,
    }
    write_form(report, path, forms)


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write our rows beside the printed ones, as Markdown, JSON, CSV or HTML by the file's suffix; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    forms = {
        ".md": comparison_to_markdown,
        ".json": lambda comparison: to_json(comparison_to_plain(comparison)),
        ".csv": comparison_to_csv,
        ".html": comparison_to_html,
    }
    write_form(comparison, path, forms)


def write_form(content: Any, path: Path, forms: Mapping[str, Callable[[Any], str]]) -> None:
    """Write ``content`` in the form that belongs to the file's suffix; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    check_suffix(path, tuple(forms))
    write_text(forms[path.suffix.lower()](content), path)


def check_suffix(path: Path, allowed: Sequence[str] = SUFFIXES) -> None:
    """Refuse a report file of an unknown form; worth doing before the minutes of scoring.

    Raises:
        InpaintError: the suffix is none of them.
    """
    if path.suffix.lower() not in allowed:
        raise InpaintError(f"got report file {path}; expected a name ending in {', '.join(allowed)}")


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
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
