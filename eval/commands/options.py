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

from inpaint.cli.options import PATH, device_option
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.report.sections import Document

PROTOCOLS = ("standard", "mae-far", "lama")
SECONDS_BETWEEN_LINES = 10.0
SUFFIXES = (".md", ".json", ".csv", ".html")
COUNT = click.IntRange(min=1)
LPIPS, FID = click.Choice(("alex", "vgg", "squeeze")), click.Choice(("64", "192", "768", "2048"))


def reports_option(*suffixes: str) -> Callable[..., Any]:
    """``--out``, whose names must end in one of the suffixes: worth knowing before the minutes of scoring."""

    def check(_context: click.Context, _parameter: click.Parameter, reports: tuple[Path, ...]) -> Any:
        for path in reports:
            if path.suffix.lower() not in suffixes:
                raise InpaintError(f"got report file {path}; expected a name ending in {', '.join(suffixes)}")
        return reports

    text = f"Report: {', '.join(suffixes[:-1])} or {suffixes[-1]}; repeatable."
    return click.option("--out", "reports", type=PATH, multiple=True, callback=check, help=text)


def _names_and_folders(_context: Any, _parameter: Any, texts: tuple[str, ...]) -> list[tuple[str, Path]]:
    pairs = []
    for text in texts:
        name, _, folder = text.partition("=")
        if not (name and folder):
            raise InpaintError(f"got --pred {text}; expected NAME=DIR, such as lama=results/lama")
        pairs.append((name, Path(folder)))
    return pairs


baselines_option = click.option(
    "--baselines", is_flag=True, help="Also score the four fills without a network."
)
limit_option = click.option("--limit", type=COUNT, metavar="N", help="Only N images, evenly spread.")
models_option = click.option(
    "--model", "models", multiple=True, help="Model name or checkpoint file (also an MAE alone); repeatable."
)
predictions_option = click.option(
    "--pred",
    "predictions",
    metavar="NAME=DIR",
    multiple=True,
    callback=_names_and_folders,
    help="A method's name in the table, and the folder of its predictions; repeatable.",
)
save_option = click.option(
    "--save", type=PATH, help="Folder for the inpainted images as PNG, one folder a method."
)
weights_option = click.option(
    "--weights", type=PATH, metavar="DIR", multiple=True, help="Folder of feature networks; repeatable."
)
cache_option = click.option(
    "--cache-dir", type=PATH, help="Directory for resuming. Default: REPORT.cache beside the first report."
)
MEASURES_OPTIONS = (
    weights_option,
    click.option("--lpips", type=LPIPS, multiple=True, help="Networks of LPIPS in place of the protocol's."),
    click.option(
        "--fid", type=FID, multiple=True, help="FID features in place of the protocol's (papers: 2048)."
    ),
)
SET_OPTIONS = (
    click.option("--images", type=PATH, required=True, help="Folder of the ground truth."),
    click.option("--masks", type=PATH, required=True, help="Folder or zip of the masks: white = hole."),
    click.option("--protocol", type=click.Choice(PROTOCOLS), default=PROTOCOLS[0]),
    baselines_option,
    click.option(
        "--size", type=COUNT, metavar="N", help="Crop images and masks to centre squares and resize to N x N."
    ),
)
RUN_OPTIONS = (
    click.option(
        "--cycle-masks", is_flag=True, help="Pair masks with images by order, in turn, not by name."
    ),
    click.option("--allow-missing", is_flag=True, help="Count missing masks and predictions; do not stop."),
    limit_option,
    *MEASURES_OPTIONS,
    reports_option(*SUFFIXES),
    cache_option,
    device_option,
)


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
