"""What the commands share: their options, and the way from images to reports."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eval.commands.progress import shown_progress
from inpaint.cli.options import device_option
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    import torch

    from eval.results import Report
    from eval.tasks.methods import Method
    from eval.tasks.pairs import Task

PROTOCOLS = ("standard", "mae-far", "lama")
ALIASES = {"floors": "baselines", "work": "cache-dir", "feature-networks": "weights", "to": "weights"}
"""Options of the first version, which still work."""
PATH = click.Path(path_type=Path)

baselines_option = click.option(
    "--baselines", is_flag=True, help="Also score the four fills without a network."
)
models_option = click.option(
    "--model", "models", multiple=True, help="Model name or checkpoint file (also an MAE alone); repeatable."
)
reports_option = click.option(
    "--out", "reports", type=PATH, multiple=True, help="Report: .md, .json, .csv or .html; repeatable."
)
save_option = click.option(
    "--save", type=PATH, help="Folder for the inpainted images as PNG, one folder a method."
)
weights_option = click.option(
    "--weights",
    type=PATH,
    multiple=True,
    metavar="DIR",
    help="Folder of feature networks, see `python -m eval weights`; repeatable. torch.hub's is searched too.",
)
cache_option = click.option(
    "--cache-dir",
    type=PATH,
    help="Cache directory for resuming. Default: REPORT.cache beside the first report; without any report "
    "nothing is kept.",
)
MEASURES_OPTIONS = (
    weights_option,
    click.option(
        "--lpips",
        type=click.Choice(("alex", "vgg", "squeeze")),
        multiple=True,
        help="Network of LPIPS, in place of the protocol's; repeatable.",
    ),
    click.option(
        "--fid",
        type=click.Choice(("64", "192", "768", "2048")),
        multiple=True,
        help="Features of FID, in place of the protocol's; repeatable. Papers report 2048.",
    ),
)
SET_OPTIONS = (
    click.option("--images", type=PATH, required=True, help="Folder of the ground truth."),
    click.option("--masks", type=PATH, required=True, help="Folder or zip of the masks: white = hole."),
    click.option("--protocol", type=click.Choice(PROTOCOLS), default=PROTOCOLS[0], show_default=True),
    baselines_option,
    click.option(
        "--size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Crop the ground truth to its centre square and resize it to N x N (Lanczos; masks nearest), as "
        "the published scripts do; otherwise everything is scored at its own size.",
    ),
)
RUN_OPTIONS = (
    click.option(
        "--cycle-masks",
        is_flag=True,
        help="Image i of the sorted names gets mask i modulo their count, not the mask of its own name.",
    ),
    click.option("--allow-missing", is_flag=True, help="Count missing masks and predictions; do not stop."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only N images, evenly spread."),
    *MEASURES_OPTIONS,
    reports_option,
    cache_option,
    device_option,
)


@dataclass(frozen=True)
class SetSettings:
    """Values of ``SET_OPTIONS``: what is scored, and by which protocol."""

    images: Path
    masks: Path
    protocol: str
    baselines: bool
    size: int | None


@dataclass(frozen=True)
class RunSettings:
    """Values of ``RUN_OPTIONS``."""

    cycle_masks: bool
    allow_missing: bool
    limit: int | None
    weights: tuple[Path, ...]
    lpips: tuple[str, ...]
    fid: tuple[str, ...]
    reports: tuple[Path, ...]
    cache_dir: Path | None
    device: str


def with_options(kind: type[Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Add options to a command, which gets their values as one more positional argument, a ``kind``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*before: Any, **values: Any) -> None:
            settings = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            command(*before, settings, **values)

        for option in reversed(options):
            run = option(run)
        return run

    return decorate


def score_and_report(
    what: SetSettings,
    run: RunSettings,
    find_methods: Callable[[Task, torch.device], list[Method]],
    save: Path | None = None,
) -> None:
    """Score methods, write the reports, print the table; arguments as of :func:`score_task`."""
    from eval.report.files import check_suffix, write_report
    from eval.report.markdown import to_markdown

    for path in run.reports:
        check_suffix(path)
    report = score_task(what, run, find_methods, save)
    for path in run.reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)


def score_task(
    what: SetSettings,
    run: RunSettings,
    find_methods: Callable[[Task, torch.device], list[Method]],
    save: Path | None = None,
) -> Report:
    """Score methods on the images and masks of a command line.

    Args:
        what: images, masks and protocol.
        run: how.
        find_methods: makes the rows beside the baselines, once images and masks are known to be whole.
        save: folder for the composites of fills.
    """
    from eval.measures.build import build_measures
    from eval.scoring import score
    from eval.tasks.methods import baseline_methods, check_names
    from eval.tasks.pairs import find_task
    from inpaint.device import choose_device

    device = choose_device(run.device)
    task = find_task(
        what.images,
        what.masks,
        size=what.size,
        cycle_masks=run.cycle_masks,
        allow_missing=run.allow_missing,
        limit=run.limit,
    )
    methods = (baseline_methods() if what.baselines else []) + find_methods(task, device)
    check_names(methods)
    measures = build_measures(what.protocol, weights=run.weights, lpips=run.lpips, fid=run.fid, device=device)
    with cache_folder(run.cache_dir, run.reports) as cache_dir, shown_progress() as on_progress:
        return score(
            task,
            methods,
            measures,
            protocol=what.protocol,
            cache_dir=cache_dir,
            device=device,
            save=save,
            on_progress=on_progress,
        )


def default_cache(cache_dir: Path | None, reports: Sequence[Path]) -> Path | None:
    """The cache directory asked for, or the place beside the first report; None without either."""
    return cache_dir or next((path.with_suffix(".cache") for path in reports), None)


@contextmanager
def cache_folder(cache_dir: Path | None, reports: Sequence[Path]) -> Iterator[Path]:
    """Where a run keeps its values: :func:`default_cache`, or a temporary folder.

    Raises:
        InpaintError: the run was stopped; says how to resume.
    """
    kept = default_cache(cache_dir, reports)
    if kept is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    try:
        yield kept
    except KeyboardInterrupt:
        raise InpaintError(f"stopped; the same command resumes from {str(kept)!r}") from None
