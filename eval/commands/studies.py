"""``python -m eval ablation``, ``collapse``, ``roadmap``, ``linear-probe`` and ``fine-tune``: studies."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

import eval.commands.options as common
from inpaint.cli.options import DEVICE, device_option, stack
from inpaint.errors import InpaintError

AT_LEAST_3 = click.IntRange(min=3)
_RECOGNITION_OPTIONS = (
    click.option("--data", type=common.PATH, required=True, help="A folder per class, or CSV of file,class."),
    click.option("--classes", type=common.PATH, help="Classes of other columns: eval/studies/contents.toml."),
    click.option("--group-column", help="Of the list: rows that share its value are never split."),
    click.option("--per-class", type=AT_LEAST_3, metavar="N", help="At most N photos of a class, by seed."),
    click.option("--folds", type=AT_LEAST_3, default=5, help="Parts of the split."),
    click.option("--model", "models", required=True, multiple=True, help="MAE, also as a prior; repeatable."),
    click.option("--random", is_flag=True, help="Also the same networks untrained, and the difference."),
    click.option("--size", type=common.COUNT, help="Side of images; default: what a network was trained on."),
    click.option("--seeds", type=common.COUNT, default=3, help="Runs of whatever is random."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed for the split and the runs."),
    common.reports_option(".md", ".json"),
    device_option,
)  # fmt: skip


@click.command(short_help="Train on an equal budget, and score each change.")
@click.option("--data", type=common.PATH, required=True, help="Training data; configs find it as ${DATA}.")
@click.option("--configs", type=common.PATH, default=Path("configs/ablation"), help="Folder of the rows.")
@click.option("--rows", help="Only these, with commas between; the base is always scored beside them.")
@click.option("--images", type=common.COUNT, metavar="N", help="Budget of each row, in folders of its own.")
@stack(common.limit_option, common.reports_option(*common.SUFFIXES))
@click.option("--device", type=DEVICE, metavar="DEVICE", help="Without it training follows the configs.")
def ablation(
    data: Path,
    configs: Path,
    rows: str | None,
    images: int | None,
    limit: int | None,
    reports: tuple[Path, ...],
    device: str | None,
) -> None:
    """Train each row on an equal budget from one base, score all, and say what differs.

    What is trained already is only scored, and a run that was stopped goes on.
    """
    from eval.studies.ablation import plan_ablation, score_ablation, train_ablation
    from eval.studies.ablation_report import ablation_document
    from inpaint.device import choose_device

    place = choose_device(device or "auto")
    os.environ["DATA"] = str(data.resolve())  # what the configs call the folder
    wanted = [row.strip() for row in rows.split(",")] if rows else []
    runs = plan_ablation(configs, wanted, images=images, device=device)
    with common.shown_progress() as on_progress:
        train_ablation(runs, on_progress)
    with common.shown_progress() as on_progress:
        how = {"limit": limit, "command": common.typed_command(), "on_progress": on_progress}
        report = score_ablation(runs, data, place, **how)
    common.write_and_print(ablation_document(report, [run.cost() for run in runs]), reports)


@click.command(short_help="Print how alike the channels of encoders are.")
@click.option("--model", "models", type=common.PATH, required=True, multiple=True, help="FCMAE; repeatable.")
@click.option("--images", type=common.PATH, required=True, help="Folder of images.")
@click.option("--limit", type=common.COUNT, default=64, help="So many, evenly spread.")
@device_option
def collapse(models: tuple[Path, ...], images: Path, limit: int, device: str) -> None:
    """Print the mean cosine distance of channels in every block, after GELU and after GRN.

    Near 0 all channels of a block say the same; channels that have nothing in common are at 0.5. Images are
    seen whole.
    """
    from eval.report.sections import table_to_markdown
    from eval.studies.convnext import collapse_table, measure_collapse
    from eval.tasks.methods import short_names
    from eval.tasks.pairs import list_images, spread_evenly
    from eval.tasks.stream import image_tensor
    from inpaint.checkpoint import load_autoencoder
    from inpaint.device import choose_device
    from inpaint.models.fcmae import FullyConvolutionalAutoencoder

    place = choose_device(device)
    encoders = [load_autoencoder(path, FullyConvolutionalAutoencoder, place) for path in models]
    files = list_images(images, "images")
    chosen = [files[number] for number in spread_evenly(len(files), limit)]
    measured = {
        name: measure_collapse(encoder, (image_tensor([file.read()], place) for file in chosen))
        for name, encoder in zip(short_names([str(path) for path in models]), encoders, strict=True)
    }
    click.echo(f"{len(chosen)} of {len(files)} images\n\n{table_to_markdown(collapse_table(measured))}")


@click.command(short_help="Build every step from ResNet to ConvNeXt.")
@click.option("--chart", type=common.PATH, metavar="FILE.svg", help="Also draw the road to ConvNeXt-T.")
def roadmap(chart: Path | None) -> None:
    """Build and count every step from ResNet to ConvNeXt, beside what the paper prints.

    Both roads, as Markdown: ResNet-50 to ConvNeXt-T, ResNet-200 to ConvNeXt-B. Nothing is trained.
    """
    from eval.report.files import write_text
    from eval.studies.convnext import TITLES, road_to_markdown
    from inpaint.backbones.roadmap import draw_road, walk_road

    if chart is not None and chart.suffix.lower() != ".svg":
        raise InpaintError(f"got chart file {chart}; expected a name ending in .svg")
    text = road_to_markdown()
    if chart is not None:
        write_text(draw_road(walk_road("tiny"), TITLES["tiny"]), chart)
    click.echo(text, nl=False)


@click.command("linear-probe", short_help="Tell classes by an encoder's frozen features.")
@stack(*_RECOGNITION_OPTIONS, common.cache_option)
def linear_probe(cache_dir: Path | None, **options: Any) -> None:
    """Tell the classes of photos by logistic regression on an encoder's frozen features.

    Every photo is tested once, by a probe that learned from the other folds. Features are kept: a run that
    was stopped resumes, and a new checkpoint beside old ones costs its own features only.
    """
    from eval.studies.recognition.classifiers import probe_candidates

    facts = {
        "How": "frozen features, standardised; multinomial logistic regression, its penalty chosen by "
        "cross-validation on the training folds; every photo tested once, by a probe of the other folds",
        "Runs": "a pre-trained encoder is frozen and probed once, a random one with every seed",
    }
    with common.cache_folder(cache_dir, options["reports"]) as kept:
        _measure_and_report("Linear probe", partial(probe_candidates, cache_dir=kept), facts, **options)


@click.command("fine-tune", short_help="Train the whole encoder on classes for a few steps.")
@stack(*_RECOGNITION_OPTIONS)
@click.option("--steps", type=common.COUNT, default=100, help="Of each run.")
@click.option("--batch-size", type=click.IntRange(min=2), default=16)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=1e-3)
def fine_tune(steps: int, batch_size: int, learning_rate: float, **options: Any) -> None:
    """Train the whole encoder on the classes of photos for a few steps, and test it on the first fold.

    Every encoder, pre-trained or random, gets the same steps, images and rates, once for each seed. A CUDA
    device multiplies in bfloat16.
    """
    from eval.studies.recognition.classifiers import FineTuning, fine_tune_candidates

    facts = {
        "How": "the whole encoder and a linear layer on its standardised features, AdamW, "
        f"{steps} steps of {batch_size} images, learning rate {learning_rate:g} on a cosine; tested on the "
        "first fold, trained on the others",
        "Runs": "one for each seed: random weights, last layer, order and crops of the images",
    }
    measure = partial(fine_tune_candidates, settings=FineTuning(steps, batch_size, learning_rate))
    _measure_and_report("Fine-tune", measure, facts, **options)


def _measure_and_report(
    title: str,
    measure: Callable[..., Any],
    facts: Mapping[str, str],
    *,
    data: Path,
    folds: int,
    models: tuple[str, ...],
    random: bool,
    size: int | None,
    seeds: int,
    seed: int,
    reports: tuple[Path, ...],
    device: str,
    **selection: Any,
) -> None:
    """Load what the options name, measure, write the reports, print the Markdown."""
    import torch

    from eval.scoring import describe_device
    from eval.studies.recognition.encoders import load_candidates
    from eval.studies.recognition.outcomes import recognition_document
    from eval.studies.recognition.task import find_labelled, load_task
    from inpaint.device import choose_device

    place = choose_device(device)
    candidates = load_candidates(models, size=size, random=random)
    labelled = find_labelled(data, seed=seed, **selection)
    side = max(candidate.size for candidate in candidates)
    tell = partial(click.echo, err=True)
    task = load_task(labelled, side, folds=folds, seed=seed, on_problem=tell)
    try:
        with common.shown_progress() as on_progress:
            how = {"seeds": range(seed, seed + seeds), "device": place, "on_progress": on_progress}
            outcomes = measure(task, candidates, **how)
    except torch.OutOfMemoryError as error:
        raise InpaintError(f"out of memory on {place}; lower --size or --batch-size, or use cpu") from error
    hashes = [f"{c.name} ({c.identity[:16]})" for c in candidates if c.kind == "pre-trained"]
    repeat = {"Command": common.typed_command(), "Device": describe_device(place)}
    repeat["SHA-256 of models"] = ", ".join(hashes)
    document = recognition_document(title, outcomes, task, seed=seed, facts={**facts, **repeat})
    common.write_and_print(document, reports)
