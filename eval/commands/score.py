"""``python -m eval score``, ``run``, ``validate``, ``table`` and ``weights``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import eval.commands.options as common
from eval.published import read_published
from inpaint.cli.options import PATH, device_option, stack
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.results import Report


PROTOCOLS = ("standard", "mae-far", "lama")
LPIPS, FID = click.Choice(("alex", "vgg", "squeeze")), click.Choice(("64", "192", "768", "2048"))


def _names_and_folders(_context: Any, _parameter: Any, texts: tuple[str, ...]) -> list[tuple[str, Path]]:
    pairs = []
    for text in texts:
        name, _, folder = text.partition("=")
        if not (name and folder):
            raise InpaintError(f"got --pred {text}; expected NAME=DIR, such as lama=results/lama")
        pairs.append((name, Path(folder)))
    return pairs


baselines_option = click.option("--baselines", is_flag=True, help="Also score four fills without a network.")
models_option = click.option("--model", "models", multiple=True, help="Model name or file; repeatable.")
predictions_option = click.option(
    "--pred", "predictions", metavar="NAME=DIR", multiple=True, callback=_names_and_folders,
    help="A method's name in the table, and the folder of its predictions; repeatable.",
)  # fmt: skip
save_option = click.option("--save", type=PATH, help="Folder for the fills as PNG, one folder a method.")
weights_option = click.option("--weights", type=PATH, multiple=True, help="Folder of feature networks.")
MEASURES_OPTIONS = (
    weights_option,
    click.option("--lpips", type=LPIPS, multiple=True, help="Networks of LPIPS in place of the protocol's."),
    click.option("--fid", type=FID, multiple=True, help="FID features, not the protocol's (papers: 2048)."),
)
SET_OPTIONS = (
    click.option("--images", type=PATH, required=True, help="Folder of the ground truth."),
    click.option("--masks", type=PATH, required=True, help="Folder or zip of the masks: white = hole."),
    click.option("--protocol", type=click.Choice(PROTOCOLS), default=PROTOCOLS[0]),
    baselines_option,
    click.option("--size", type=common.COUNT, metavar="N", help="Crop to centre squares, resize to N x N."),
)
RUN_OPTIONS = (
    click.option("--cycle-masks", is_flag=True, help="Pair masks with images in turn, not by name."),
    click.option("--allow-missing", is_flag=True, help="Count missing masks and predictions; do not stop."),
    common.limit_option,
    *MEASURES_OPTIONS,
    common.reports_option(*common.SUFFIXES),
    common.cache_option,
    device_option,
)


@click.command()
@stack(*SET_OPTIONS, *RUN_OPTIONS, predictions_option)
def score(predictions: Sequence[tuple[str, Path]], **options: Any) -> None:
    """Score predictions on disk against the ground truth.

    An image, its mask and its predictions have the same name, whatever their suffixes; subfolders are not
    searched. Outside the hole every prediction is replaced by the ground truth before it is measured; the
    report says what it had changed there. A run that was stopped resumes when the same command is given.
    """
    _check_work("--pred NAME=DIR", predictions, options["baselines"])
    _print(_score(predictions=predictions, **options), options["reports"])


@click.command()
@stack(*SET_OPTIONS, *RUN_OPTIONS, models_option, save_option)
def run(models: tuple[str, ...], **options: Any) -> None:
    """Inpaint images with models, and score the results.

    An image and its mask have the same name, whatever their suffixes; subfolders are not searched. Models
    never see what lies under the hole. A run that was stopped resumes when the same command is given.
    """
    _check_work("--model NAME_OR_PATH", models, options["baselines"])
    _print(_score(models=models, **options), options["reports"])


@click.command(short_help="Run the fixed validation protocol.")
@click.option("--data", type=PATH, required=True, help="Training data folder.")
@stack(
    models_option, baselines_option, common.reports_option(*common.SUFFIXES), common.limit_option, save_option
)
@stack(device_option, *MEASURES_OPTIONS)
def validate(
    models: tuple[str, ...], baselines: bool, reports: tuple[Path, ...], device: str, **options: Any
) -> None:
    """Run the fixed validation protocol (DATA/val with the published masks, 256 x 256).

    Feature networks are looked for in DATA/metrics and in every --weights.
    """
    from eval.tasks.methods import baseline_methods, load_models
    from eval.validation import validate_methods
    from inpaint.device import choose_device

    _check_work("--model NAME_OR_PATH", models, baselines)
    place = choose_device(device)
    # All models are loaded before any is scored: a wrong name must not cost the minutes before it.
    rows = (baseline_methods() if baselines else []) + load_models(models, place)
    with common.shown_progress() as on_progress:
        report = validate_methods(methods=rows, device=place, on_progress=on_progress, **options)
    _print(report, reports)


@click.command()
@click.argument("name", type=click.Choice(tuple(read_published())))
@click.option("--data", type=PATH, required=True, help="Folder with gt/, mask/ and pred/METHOD/ in it.")
@stack(predictions_option, models_option, *RUN_OPTIONS)
def table(name: str, data: Path, predictions: Sequence[tuple[str, Path]], **options: Any) -> None:
    """Print our rows beside those of a published table.

    DATA/gt and DATA/mask hold images and masks of equal names, DATA/pred/METHOD what a method made of them.
    All is scored twice, by the definitions of the print and by the standard ones, at the size of the table;
    the four fills without a network are always among the rows. What was not measured is a dash, with the
    reason; nothing is copied from the print.
    """
    from eval.report.comparison import comparison_document

    published = read_published()[name]
    inside = sorted(p for p in (data / "pred").glob("*") if p.is_dir() and p.name[0] != ".")
    options["predictions"] = [*((path.name, path) for path in inside), *predictions]
    options |= {"images": data / "gt", "masks": data / "mask", "size": published.size}
    protocols = dict.fromkeys(("standard", published.protocol.scored_as))
    reports = {protocol: _score_for_table(protocol, **options) for protocol in protocols}
    common.write_and_print(comparison_document(published, reports), options["reports"])


@click.command(short_help="List the feature networks and their files.")
@click.option("--fetch", is_flag=True, help="Download what is missing, as `inpaint models download` does.")
@weights_option
def weights(fetch: bool, weights: tuple[Path, ...]) -> None:
    """List the feature networks: columns, file, SHA-256, and where each file is."""
    from eval.measures.networks import NETWORKS, fetch_file, find_file
    from eval.measures.protocols import columns_of

    for key, network in NETWORKS.items():
        click.echo(f"{network.title}: {', '.join(columns_of(key))}")
        found = find_file(network, weights)
        if found is None and fetch:
            found = fetch_file(network)
        if found is not None:
            click.echo(f"  {found.path}\n  sha256 {found.check()}")
            continue
        for file in network.files:
            where = f"{file.model} of `inpaint models`" if file.model else "comes with the training data"
            click.echo(f"  {file.name}: not here; {where}\n  sha256 {file.sha256}")


def _score(
    *,
    images: Path,
    masks: Path,
    protocol: str,
    baselines: bool,
    reports: tuple[Path, ...],
    cache_dir: Path | None,
    device: str,
    predictions: Sequence[tuple[str, Path]] = (),
    models: Sequence[str] = (),
    save: Path | None = None,
    **options: Any,
) -> Report:
    """Score baselines, image files made elsewhere and models, in this order, as the options say."""
    from eval.measures.protocols import build_measures
    from eval.scoring import score
    from eval.tasks.methods import Method, baseline_methods, check_names, load_models
    from eval.tasks.pairs import find_predictions, find_task
    from inpaint.device import choose_device

    place = choose_device(device)
    choice = {name: options.pop(name) for name in ("weights", "lpips", "fid")}
    task = find_task(images, masks, **options)
    methods = baseline_methods() if baselines else []
    for name, folder in predictions:
        files = find_predictions(folder, task, allow_missing=options["allow_missing"])
        methods.append(Method(name, "files", files, files.fingerprint))
    methods += load_models(models, place)
    check_names(methods)
    measures = build_measures(protocol, **choice, device=place)
    with common.cache_folder(cache_dir, reports) as kept, common.shown_progress() as on_progress:
        where = {"cache_dir": kept, "device": place, "save": save}
        return score(task, methods, measures, protocol=protocol, on_progress=on_progress, **where)


def _score_for_table(protocol: str, *, cache_dir: Path | None, **options: Any) -> Report:
    """Score everything by one protocol, in a cache of its own; fills are kept where a page will show them."""
    root = common.default_cache(cache_dir, options["reports"])
    shown = protocol == "standard" and any(path.suffix == ".html" for path in options["reports"])
    where = {"cache_dir": root and root / protocol, "save": root / "images" if root and shown else None}
    return _score(protocol=protocol, baselines=True, **where, **options)


def _check_work(option: str, given: Sequence[Any], baselines: bool) -> None:
    if not given and not baselines:
        raise InpaintError(f"nothing to score; give {option} or --baselines")


def _print(report: Report, reports: Sequence[Path]) -> None:
    from eval.report.sections import report_document

    common.write_and_print(report_document(report), reports)
