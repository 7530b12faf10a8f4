"""``python -m eval ablation``, ``collapse`` and ``roadmap``: studies made with the scorer."""

from __future__ import annotations

import os
from pathlib import Path

import click

from eval.commands.options import (
    COUNT,
    PATH,
    SUFFIXES,
    limit_option,
    reports_option,
    shown_progress,
    typed_command,
    write_and_print,
)
from inpaint.cli.options import DEVICE, device_option, stack
from inpaint.errors import InpaintError


@click.command()
@click.option("--data", type=PATH, required=True, help="Training data folder; configs find it as ${DATA}.")
@click.option("--configs", type=PATH, default=Path("configs/ablation"), help="Folder of the rows.")
@click.option("--rows", help="Only these, with commas between; the base is always scored beside them.")
@click.option(
    "--images",
    type=COUNT,
    metavar="N",
    help="Budget of each row, in place of the configs'; such runs get folders of their own.",
)
@stack(limit_option(2), reports_option(*SUFFIXES))
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
    with shown_progress() as on_progress:
        train_ablation(runs, on_progress)
    with shown_progress() as on_progress:
        how = {"limit": limit, "command": typed_command(), "on_progress": on_progress}
        report = score_ablation(runs, data, place, **how)
    write_and_print(ablation_document(report, [run.cost() for run in runs]), reports)


@click.command()
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    required=True,
    help="Checkpoint of inpaint train fcmae, or of a network on top of one; repeatable.",
)
@click.option("--images", type=PATH, required=True, help="Folder of images.")
@click.option("--limit", type=COUNT, default=64, help="So many, evenly spread.")
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


@click.command()
@click.option("--chart", type=PATH, metavar="FILE.svg", help="Also draw the road to ConvNeXt-T.")
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
