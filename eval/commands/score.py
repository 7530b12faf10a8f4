"""``python -m eval score``, ``run``, ``validate`` and ``weights``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eval.commands.options import (
    MEASURES_OPTIONS,
    PATH,
    RUN_OPTIONS,
    SET_OPTIONS,
    SUFFIXES,
    baselines_option,
    cache_folder,
    limit_option,
    models_option,
    predictions_option,
    reports_option,
    save_option,
    shown_progress,
    weights_option,
    write_and_print,
)
from inpaint.cli.options import device_option, stack
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.results import Report


@click.command()
@stack(*SET_OPTIONS, *RUN_OPTIONS, predictions_option)
def score(predictions: tuple[str, ...], **options: Any) -> None:
    """Score predictions on disk against the ground truth.

    An image, its mask and its predictions have the same name, whatever their suffixes; subfolders are not
    searched. Outside the hole every prediction is replaced by the ground truth before it is measured; the
    report says what it had changed there. A run that was stopped resumes when the same command is given.
    """
    if not predictions and not options["baselines"]:
        raise InpaintError("nothing to score; give --pred NAME=DIR or --baselines")
    folders = [name_and_folder(text) for text in predictions]
    _print(score_task(folders=folders, **options), options["reports"])


@click.command()
@stack(*SET_OPTIONS, *RUN_OPTIONS, models_option, save_option)
def run(models: tuple[str, ...], **options: Any) -> None:
    """Inpaint images with models, and score the results.

    An image and its mask have the same name, whatever their suffixes; subfolders are not searched. Models
    never see what lies under the hole. A run that was stopped resumes when the same command is given.
    """
    _check_work(models, options["baselines"])
    _print(score_task(models=models, **options), options["reports"])


@click.command()
@click.option("--data", type=PATH, required=True, help="Training data folder.")
@stack(models_option, baselines_option, reports_option(*SUFFIXES), limit_option(2), save_option)
@stack(device_option, *MEASURES_OPTIONS)
def validate(
    models: tuple[str, ...], baselines: bool, reports: tuple[Path, ...], device: str, **options: Any
) -> None:
    """Run the fixed validation protocol (DATA/val with the published masks, 256 x 256).

    Feature networks are looked for in DATA/metrics and in every --weights.
    """
    from eval.protocol import validate_methods
    from eval.tasks.methods import baseline_methods, load_models
    from inpaint.device import choose_device

    _check_work(models, baselines)

    place = choose_device(device)
    # All models are loaded before any is scored: a wrong name must not cost the minutes before it.
    rows = (baseline_methods() if baselines else []) + load_models(models, place)
    with shown_progress() as on_progress:
        report = validate_methods(methods=rows, device=place, on_progress=on_progress, **options)
    _print(report, reports)


@click.command()
@click.option("--fetch", is_flag=True, help="Download what is missing, as `inpaint models download` does.")
@weights_option
def weights(fetch: bool, weights: tuple[Path, ...]) -> None:
    """List the feature networks: columns, file, SHA-256, and where each file is."""
    from eval.measures.definitions import columns_of
    from eval.measures.networks import NETWORKS, fetch_file, find_file, missing_package

    for key, network in NETWORKS.items():
        click.echo(f"{network.title}: {', '.join(columns_of(key))}")
        if (need := missing_package(network)) is not None:
            click.echo(f"  {need}")
        found = find_file(network, weights)
        if found is None and fetch:
            found = fetch_file(network)
        if found is not None:
            click.echo(f"  {found.path}\n  sha256 {found.check()}")
            continue
        for file in network.files:
            where = f"{file.model} of `inpaint models`" if file.model else "comes with the training data"
            click.echo(f"  {file.name}: not here; {where}\n  sha256 {file.sha256}")


def score_task(
    *,
    images: Path,
    masks: Path,
    protocol: str,
    baselines: bool,
    reports: tuple[Path, ...],
    cache_dir: Path | None,
    device: str,
    folders: Sequence[tuple[str, Path]] = (),
    models: Sequence[str] = (),
    save: Path | None = None,
    **options: Any,
) -> Report:
    """Score baselines, image files made elsewhere (names and folders) and models, in this order.

    The other arguments are the options of ``SET_OPTIONS`` and ``RUN_OPTIONS``.
    """
    from eval.measures.build import build_measures
    from eval.scoring import score
    from eval.tasks.methods import Method, baseline_methods, check_names, load_models
    from eval.tasks.pairs import find_predictions, find_task
    from inpaint.device import choose_device

    place = choose_device(device)
    choice = {name: options.pop(name) for name in ("weights", "lpips", "fid")}
    task = find_task(images, masks, **options)
    methods = baseline_methods() if baselines else []
    for name, folder in folders:
        files = find_predictions(folder, task, allow_missing=options["allow_missing"])
        methods.append(Method(name, "files", files, files.fingerprint))
    methods += load_models(models, place)
    check_names(methods)
    measures = build_measures(protocol, **choice, device=place)
    with cache_folder(cache_dir, reports) as kept, shown_progress() as on_progress:
        where = {"cache_dir": kept, "device": place, "save": save}
        return score(task, methods, measures, protocol=protocol, on_progress=on_progress, **where)


def name_and_folder(text: str) -> tuple[str, Path]:
    """What ``--pred`` names.

    Raises:
        InpaintError: it is not NAME=DIR.
    """
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise InpaintError(f"got --pred {text}; expected NAME=DIR, such as lama=results/lama")
    return name, Path(folder)


def _check_work(models: tuple[str, ...], baselines: bool) -> None:
    if not models and not baselines:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --baselines")


def _print(report: Report, reports: Sequence[Path]) -> None:
    from eval.report.files import write_report
    from eval.report.sections import to_markdown

    write_and_print(report, reports, write_report, to_markdown)
