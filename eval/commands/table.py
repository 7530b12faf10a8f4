"""``python -m eval table``: our rows beside the printed ones of a paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.commands.options import (
    PATH,
    RUN_OPTIONS,
    RunSettings,
    SetSettings,
    default_cache,
    models_option,
    score_task,
    with_options,
)
from eval.commands.score import methods_of_files, name_and_folder
from eval.published import PublishedTable, read_published
from inpaint.errors import DataError, InpaintError

if TYPE_CHECKING:
    import torch

    from eval.results import Report
    from eval.tasks.methods import Method
    from eval.tasks.pairs import Task

STANDARD = "standard"


@click.command()
@click.argument("name", type=click.Choice(tuple(read_published())))
@click.option("--data", type=PATH, help="Folder with gt/, mask/ and pred/METHOD/ in it.")
@click.option(
    "--pred", "predictions", multiple=True, metavar="NAME=DIR", help="Predictions elsewhere; repeatable."
)
@models_option
@click.option(
    "--report",
    "earlier",
    type=PATH,
    multiple=True,
    help="JSON report of score or run, in place of --data; one for each protocol.",
)
@with_options(RunSettings, RUN_OPTIONS)
def table(
    run: RunSettings,
    name: str,
    data: Path | None,
    predictions: tuple[str, ...],
    models: tuple[str, ...],
    earlier: tuple[Path, ...],
) -> None:
    """Print our rows beside those of a published table.

    DATA/gt and DATA/mask hold images and masks of equal names, DATA/pred/METHOD what a method made of them.
    All is scored twice, by the definitions of the print and by the standard ones, at the size of the table;
    the four fills without a network are always among the rows. What was not measured is a dash, with the
    reason; nothing is copied from the print.
    """
    from eval.report.comparison import Comparison
    from eval.report.files import check_suffix, write_comparison
    from eval.report.markdown import comparison_to_markdown

    published = read_published()[name]
    for path in run.reports:
        check_suffix(path)
    if earlier and not (data or predictions or models):
        reports = _read_reports(earlier, published)
    elif data and not earlier:
        folders = [name_and_folder(text) for text in predictions]
        reports = _score(published, data, [*_folders_within(data / "pred"), *folders], models, run)
    else:
        raise InpaintError("got nothing to score, or too much; give --data ROOT, or only --report FILE.json")
    comparison = Comparison(published, reports)
    for path in run.reports:
        write_comparison(comparison, path)
    click.echo(comparison_to_markdown(comparison), nl=False)


def _score(
    published: PublishedTable,
    data: Path,
    folders: Sequence[tuple[str, Path]],
    models: tuple[str, ...],
    run: RunSettings,
) -> dict[str, Report]:
    """Score everything by both protocols; images of fills are kept where a page will show them."""

    def find_methods(task: Task, device: torch.device) -> list[Method]:
        from eval.tasks.methods import load_models

        return methods_of_files(folders, task, run.allow_missing) + load_models(models, device)

    cache_dir = default_cache(run.cache_dir, run.reports)
    shown = cache_dir is not None and any(path.suffix == ".html" for path in run.reports)
    reports = {}
    for protocol in dict.fromkeys((STANDARD, published.protocol.scored_as)):
        what = SetSettings(data / "gt", data / "mask", protocol, baselines=True, size=published.size)
        part = dataclasses.replace(run, cache_dir=None if cache_dir is None else cache_dir / protocol)
        save = cache_dir / "images" if cache_dir is not None and shown and protocol == STANDARD else None
        reports[protocol] = score_task(what, part, find_methods, save)
    return reports


def _read_reports(paths: Sequence[Path], published: PublishedTable) -> dict[str, Report]:
    """Earlier reports by protocol, of one set of images and masks."""
    from eval.results import read_report

    wanted = tuple(dict.fromkeys((STANDARD, published.protocol.scored_as)))
    reports: dict[str, Report] = {}
    for path in paths:
        report = read_report(path)
        if report.protocol not in wanted or report.protocol in reports:
            got, expected = report.protocol, " and ".join(wanted)
            raise DataError(f"{path} is a report by the {got} protocol; expected one each of {expected}")
        reports[report.protocol] = report
    if len({(report.images_hash, report.masks_hash) for report in reports.values()}) > 1:
        raise DataError(
            f"the reports {', '.join(map(str, paths))} are of other images or masks than each other"
        )
    return reports


def _folders_within(folder: Path) -> list[tuple[str, Path]]:
    """The methods' folders by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted((path.name, path) for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
