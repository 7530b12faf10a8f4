"""``python -m eval table``: our rows beside the printed ones of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eval.commands.options import (
    PATH,
    RUN_OPTIONS,
    default_cache,
    models_option,
    predictions_option,
    write_and_print,
)
from eval.commands.score import name_and_folder, score_task
from eval.published import PublishedTable, read_published
from inpaint.cli.options import stack
from inpaint.errors import DataError, InpaintError

if TYPE_CHECKING:
    from eval.results import Report


@click.command()
@click.argument("name", type=click.Choice(tuple(read_published())))
@click.option("--data", type=PATH, help="Folder with gt/, mask/ and pred/METHOD/ in it.")
@predictions_option
@models_option
@click.option(
    "--report",
    "earlier",
    type=PATH,
    multiple=True,
    help="JSON report of score or run, in place of --data; one for each protocol.",
)
@stack(*RUN_OPTIONS)
def table(
    name: str,
    data: Path | None,
    predictions: tuple[str, ...],
    models: tuple[str, ...],
    earlier: tuple[Path, ...],
    **options: Any,
) -> None:
    """Print our rows beside those of a published table.

    DATA/gt and DATA/mask hold images and masks of equal names, DATA/pred/METHOD what a method made of them.
    All is scored twice, by the definitions of the print and by the standard ones, at the size of the table;
    the four fills without a network are always among the rows. What was not measured is a dash, with the
    reason; nothing is copied from the print.
    """
    from eval.report.comparison import STANDARD, Comparison, comparison_to_markdown
    from eval.report.files import write_report

    published = read_published()[name]
    protocols = tuple(dict.fromkeys((STANDARD, published.protocol.scored_as)))
    if earlier and not (data or predictions or models):
        reports = _read_reports(earlier, protocols)
    elif data and not earlier:
        inside = sorted(p for p in (data / "pred").glob("*") if p.is_dir() and p.name[0] != ".")
        folders = [*((path.name, path) for path in inside), *map(name_and_folder, predictions)]
        reports = _score(published, protocols, data, folders=folders, models=models, **options)
    else:
        raise InpaintError("got nothing to score, or too much; give --data ROOT, or only --report FILE.json")
    comparison = Comparison(published, reports)
    write_and_print(comparison, options["reports"], write_report, comparison_to_markdown)


def _score(
    published: PublishedTable, protocols: Sequence[str], data: Path, **options: Any
) -> dict[str, Report]:
    """Score everything by each protocol; images of fills are kept where a page will show them."""
    cache_dir = default_cache(options["cache_dir"], options["reports"])
    shown = cache_dir is not None and any(path.suffix == ".html" for path in options["reports"])
    options |= {"images": data / "gt", "masks": data / "mask", "baselines": True, "size": published.size}
    reports = {}
    for protocol in protocols:
        part: dict[str, Any] = options | {"cache_dir": cache_dir and cache_dir / protocol}
        save = cache_dir / "images" if cache_dir and shown and protocol == protocols[0] else None
        reports[protocol] = score_task(protocol=protocol, save=save, **part)
    return reports


def _read_reports(paths: Sequence[Path], protocols: Sequence[str]) -> dict[str, Report]:
    """Earlier reports by protocol, of one set of images and masks."""
    from eval.results import read_report

    reports: dict[str, Report] = {}
    for path in paths:
        report = read_report(path)
        if report.protocol not in protocols or report.protocol in reports:
            got, expected = report.protocol, " and ".join(protocols)
            raise DataError(f"{path} is a report by the {got} protocol; expected one each of {expected}")
        reports[report.protocol] = report
    if len({(report.images_hash, report.masks_hash) for report in reports.values()}) > 1:
        raise DataError(
            f"the reports {', '.join(map(str, paths))} are of other images or masks than each other"
        )
    return reports
