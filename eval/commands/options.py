"""What ``score`` and ``run`` share: their options, and the way from pictures to reports."""

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

    from eval.methods import Method
    from eval.pairs import Task
    from eval.results import Report

PROTOCOLS = ("standard", "mae-far", "lama")
_PATH = click.Path(path_type=Path)

floors_option = click.option("--floors", is_flag=True, help="Also score the four fills without a network.")
models_option = click.option(
    "--model", "models", multiple=True, help="Model name or checkpoint file (also an MAE alone); repeatable."
)
reports_option = click.option(
    "--out", "reports", type=_PATH, multiple=True, help="Report: .md, .json, .csv or .html; repeatable."
)
work_option = click.option(
    "--work",
    type=_PATH,
    help="Folder for passing values; a killed run goes on from it. Default: REPORT.work beside the first "
    "report; without any report nothing is kept.",
)


@dataclass(frozen=True)
class Settings:
    """Values of the options in :func:`scoring_options`."""

    images: Path
    masks: Path
    protocol: str
    floors: bool
    size: int | None
    cycle_masks: bool
    allow_missing: bool
    limit: int | None
    weights: Path | None
    feature_networks: Path | None
    reports: tuple[Path, ...]
    work: Path | None
    device: str


_OPTIONS_OF_THE_SET = (
    click.option("--images", type=_PATH, required=True, help="Folder of the ground truth."),
    click.option("--masks", type=_PATH, required=True, help="Folder or zip of the masks: white = hole."),
    click.option("--protocol", type=click.Choice(PROTOCOLS), default=PROTOCOLS[0], show_default=True),
    floors_option,
    click.option(
        "--size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Crop the ground truth to its centre square and resize it to N x N (Lanczos; masks nearest), as "
        "the published scripts do; otherwise everything is scored at its own size.",
    ),
)
_OPTIONS_OF_THE_RUN = (
    click.option(
        "--cycle-masks",
        is_flag=True,
        help="Picture i of the sorted names gets mask i modulo their count, not the mask of its own name.",
    ),
    click.option("--allow-missing", is_flag=True, help="Count missing masks and predictions; do not stop."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only N pictures, evenly spread."),
    click.option("--weights", type=_PATH, help="Folder of the weights of LPIPS and FID."),
    click.option(
        "--feature-networks", type=_PATH, help="Folder of the networks of sqd and fmd (the data's metrics/)."
    ),
    reports_option,
    work_option,
    device_option,
)


def scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a scoring run to a command, which gets them as its first argument, ``Settings``."""

    @functools.wraps(command)
    def with_settings(**values: Any) -> None:
        settings = Settings(**{field.name: values.pop(field.name) for field in fields(Settings)})
        command(settings, **values)

    with_options = run_options(with_settings)
    for option in reversed(_OPTIONS_OF_THE_SET):
        with_options = option(with_options)
    return with_options


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that do not say what is scored and by which protocol; the command gets them by name."""
    for option in reversed(_OPTIONS_OF_THE_RUN):
        command = option(command)
    return command


def score_and_report(
    settings: Settings,
    find_methods: Callable[[Task, torch.device], list[Method]],
    save: Path | None = None,
) -> None:
    """Score methods, write the reports, print the table; arguments as of :func:`score_task`."""
    from eval.report import to_markdown, write_report

    report = score_task(settings, find_methods, save)
    for path in settings.reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)


def score_task(
    settings: Settings,
    find_methods: Callable[[Task, torch.device], list[Method]],
    save: Path | None = None,
) -> Report:
    """Score methods on the pictures and masks of a command line.

    Args:
        settings: of the command line.
        find_methods: makes the rows beside the floors, once pictures and masks are known to be whole.
        save: folder for the composites of fills.
    """
    from eval.measures import build_measures
    from eval.methods import check_names, floors
    from eval.pairs import find_task
    from eval.report.files import check_suffix
    from eval.scoring import score
    from inpaint.device import choose_device

    for path in settings.reports:
        check_suffix(path)
    device = choose_device(settings.device)
    task = find_task(
        settings.images,
        settings.masks,
        size=settings.size,
        cycle_masks=settings.cycle_masks,
        allow_missing=settings.allow_missing,
        limit=settings.limit,
    )
    methods = (floors() if settings.floors else []) + find_methods(task, device)
    check_names(methods)
    measures = build_measures(
        settings.protocol,
        weights=settings.weights,
        feature_networks=settings.feature_networks,
        device=device,
    )
    with work_folder(settings.work, settings.reports) as work, shown_progress() as on_progress:
        return score(
            task,
            methods,
            measures,
            protocol=settings.protocol,
            work=work,
            device=device,
            save=save,
            on_progress=on_progress,
        )


@contextmanager
def work_folder(work: Path | None, reports: Sequence[Path]) -> Iterator[Path]:
    """Where a run keeps its values; a passing folder where it has no place to come back to.

    Args:
        work: the folder asked for.
        reports: beside the first of them is the place otherwise.

    Raises:
        InpaintError: the run was stopped; says how it goes on.
    """
    kept = work or next((path.with_suffix(".work") for path in reports), None)
    if kept is None:
        with tempfile.TemporaryDirectory() as passing:
            yield Path(passing)
        return
    try:
        yield kept
    except KeyboardInterrupt:
        raise InpaintError(f"stopped; the same command goes on from what is in {str(kept)!r}") from None
