"""What the commands share: options, progress, and where values are kept between runs."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from inpaint.cli.options import PATH
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.report.sections import Document

SECONDS_BETWEEN_LINES = 10.0
SUFFIXES = (".md", ".json", ".csv", ".html")
COUNT = click.IntRange(min=1)


def reports_option(*suffixes: str) -> Callable[..., Any]:
    """``--out``, whose names must end in one of the suffixes: worth knowing before the minutes of scoring."""

    def check(_context: click.Context, _parameter: click.Parameter, reports: tuple[Path, ...]) -> Any:
        for path in reports:
            if path.suffix.lower() not in suffixes:
                raise InpaintError(f"got report file {path}; expected a name ending in {', '.join(suffixes)}")
        return reports

    text = f"Report: {', '.join(suffixes[:-1])} or {suffixes[-1]}; repeatable."
    return click.option("--out", "reports", type=PATH, multiple=True, callback=check, help=text)


limit_option = click.option("--limit", type=COUNT, metavar="N", help="Only N images, evenly spread.")
cache_option = click.option("--cache-dir", type=PATH, help="Folder for resuming; default: beside the report.")


def write_and_print(document: Document, reports: Sequence[Path]) -> None:
    """Write the reports of a command and print it as Markdown."""
    from eval.report.files import write_document
    from eval.report.sections import to_markdown

    for path in reports:
        write_document(document, path)
    click.echo(to_markdown(document), nl=False)


def typed_command() -> str:
    """The command line that runs now, without this machine's folders."""
    context = click.get_current_context()
    words = [f"python -m eval {context.command.name} --data DATA"]
    for parameter in context.command.params:
        name = parameter.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if typed and name not in ("data", "reports", "cache_dir"):
            value = context.params[name]
            values = value if parameter.multiple else (value,)
            words += [parameter.opts[0] if v is True else f"{parameter.opts[0]} {v}" for v in values]
    return " ".join(words)


@contextmanager
def cache_folder(cache_dir: Path | None, reports: Sequence[Path]) -> Iterator[Path]:
    """Where a run keeps its values: as asked, beside the first report, or in a temporary folder."""
    kept = default_cache(cache_dir, reports)
    if kept is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    try:
        yield kept
    except KeyboardInterrupt:
        raise InpaintError(f"stopped; the same command resumes from {str(kept)!r}") from None


def default_cache(cache_dir: Path | None, reports: Sequence[Path]) -> Path | None:
    """The cache directory asked for, or the place beside the first report; None without either."""
    return cache_dir or next((path.with_suffix(".cache") for path in reports), None)


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on stderr while the context lasts: a bar on a terminal, elsewhere a line now and then.

    Yields:
        Call it with what is being scored, how many images are done, and of how many.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    bars, told = dict[str, TaskID](), dict[str, float]()

    def show(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = progress.add_task(what, total=total)
        progress.update(bars[what], completed=done)
        if not console.is_terminal and time.monotonic() - told.get(what, -math.inf) >= SECONDS_BETWEEN_LINES:
            click.echo(f"{what}: {done} of {total} images", err=True)
            told[what] = time.monotonic()

    with progress:
        yield show
