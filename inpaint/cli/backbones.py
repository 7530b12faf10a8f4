"""``inpaint backbones``: list classification networks, run one, time them side by side."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.atomic import atomic_write
from inpaint.cli.options import DIR, FILE, PATH, device_option, plan_folder

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from inpaint.backbones.network import BackboneOutput, LoadedBackbone
    from inpaint.backbones.registry import Backbone
    from inpaint.backbones.speed import Order, Speed, SpeedTable

WIDE = 400  # characters: a file or a pipe has no width to keep to
YARDSTICK = "convnext_tiny"


@click.group(short_help="List classification networks, run one, time them.")
def backbones() -> None:
    """Classification networks: ConvNeXt V1 and V2, ViT, Swin and PoolFormer."""


@backbones.command("list", short_help="List the networks and their published figures.")
@click.option("--count", is_flag=True, help="Also count parameters and MACs on the networks.")
@click.option("--markdown", is_flag=True, help="Write a Markdown table.")
def list_command(count: bool, markdown: bool) -> None:
    """List the networks with published figures, sources, licences, and whether their weights are here."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from inpaint.backbones.registry import BACKBONES

    figures = [f"{what}{how}" for what in ("parameters", "MACs") for how in ("", ", counted")[: 1 + count]]
    heads = ("name", "family", *figures, "top-1", "weights", "licence")
    table, sources = Table(*heads, box=box.MARKDOWN if markdown else None, header_style="bold"), {}
    for backbone in BACKBONES:
        number = sources.setdefault(backbone.source, len(sources) + 1)
        name, weights = backbone.name, _whereabouts(backbone)
        if markdown:  # without what depends on this machine
            name = f"`{name}`"
            weights = backbone.pretrained if backbone.tag else f"{backbone.file}, not in timm"
        accuracy = f"{backbone.accuracy:.1f} % [{number}]"
        cells = (name, backbone.family, *_figures(backbone, count), accuracy, weights, backbone.licence)
        table.add_row(*map(escape, cells))
    _console(unbroken=markdown).print(table)
    for source, number in sources.items():
        click.echo(f"[{number}] {source}" + ".  " * markdown)


def _figures(backbone: Backbone, count: bool = False) -> list[str]:
    """Published parameters and MACs; ``count`` adds after each what is counted on the network."""
    parameters, macs = [f"{backbone.parameters:g} M"], [f"{backbone.gigamacs:g} G"]
    if count:
        from inpaint.backbones.network import count_backbone

        counted = count_backbone(backbone)
        parameters.append(f"{counted[0]:.4g} M")
        macs.append(f"{counted[1]:.4g} G")
    return parameters + macs


def _whereabouts(backbone: Backbone) -> str:
    """Where the weights are, in a word or two."""
    from inpaint.backbones.registry import PUBLISHED, find_weights

    if (found := find_weights(backbone)) is None:
        return "to fetch" if backbone.tag else "not here"
    return "in the cache" if found.origin == PUBLISHED else "here"


def _console(*, unbroken: bool = False) -> Console:
    from rich.console import Console

    return Console(width=WIDE if unbroken or not sys.stdout.isatty() else None)


@backbones.command(short_help="Classify IMAGE, and write feature maps.")
@click.argument("image", type=PATH)
@click.option("--backbone", default="convnext_atto.d2_in1k", help="See `inpaint backbones list`.")
@click.option("--weights", type=FILE, help="Weights file: timm's, or for ConvNeXt also the authors'.")
@click.option("-o", "--output", type=DIR, help="Folder for feature maps: a PNG per stage and an .npz.")
def run(image: Path, backbone: str, weights: Path | None, output: Path | None) -> None:
    """Classify IMAGE: print the five most probable classes, and write feature maps.

    Weights that are not here are fetched, unless INPAINT_OFFLINE is 1; see `inpaint models`. Without trained
    weights no classes are printed, and the feature maps are those of random weights.
    """
    from inpaint.backbones.registry import find_backbone

    chosen = find_backbone(backbone)
    prefix = f"{image.stem}_{chosen.name}"
    sheets = []
    if output is not None:
        names = [f"{prefix}_stage{number}.png" for number in range(1, 5)]
        sheets = plan_folder(output, names, {"the image": image}, "--output")

    from inpaint.images import read_image

    photo = read_image(image)

    from inpaint.backbones.network import load_backbone, run_backbone

    loaded = load_backbone(chosen, weights=weights)
    found = run_backbone(loaded, photo)
    _tell(loaded, found)
    if output is not None:
        output.mkdir(exist_ok=True)
        _write_maps(loaded, found, sheets, output / f"{prefix}.npz")


def _tell(loaded: LoadedBackbone, found: BackboneOutput) -> None:
    """Guesses, or why there are none; then the stages."""
    backbone = loaded.backbone
    click.echo(f"{backbone.title} ({backbone.name}), weights: {loaded.weights or 'random'}")
    if loaded.missing:
        click.echo(f"no guesses: {loaded.missing}. Or name it with --weights.")
    for name, probability in found.guesses:
        click.echo(f"{probability:7.1%}  {name}")
    for number, (stage, distance) in enumerate(found.stages, 1):
        channels, height, width = stage.shape
        size = f"{channels} channels of {height} x {width}"
        click.echo(f"stage {number}: {size}, channel distance {distance:.3f}")


def _write_maps(loaded: LoadedBackbone, found: BackboneOutput, sheets: list[Path], archive: Path) -> None:
    """A sheet for each stage, and an archive of all channels that says whose they are."""
    import numpy as np

    from inpaint.backbones.network import feature_sheet
    from inpaint.images import write_image

    distances = [distance for _, distance in found.stages]
    arrays: dict[str, Any] = {"weights": loaded.weights or "random", "channel_distance": distances}
    for number, ((stage, _), path) in enumerate(zip(found.stages, sheets, strict=True), 1):
        write_image(feature_sheet(stage), path)
        arrays[f"stage{number}"] = stage.numpy()
        click.echo(f"{click.format_filename(path)}: the first channels of stage {number}")
    with atomic_write(archive) as file:
        np.savez(file, **arrays)
    click.echo(f"{click.format_filename(archive)}: all channels of every stage")


@backbones.command(short_help="Measure images per second.")
@click.argument("names", nargs=-1)
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Images at a time.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=3.0,
    help="Time for each network, on average; at least three passes.",
)  # fmt: skip
@device_option
def bench(names: tuple[str, ...], batch: int, seconds: float, device: str) -> None:
    """Measure images per second at 224 pixels, and compare the order of the networks with published tables.

    NAMES are those of `inpaint backbones list`; without any, a selection is measured. ConvNeXt-T is always
    measured, as the reference. The networks run one pass each in turn, so that other load affects all of
    them alike. Weights are random, since speed does not depend on them.
    """
    from inpaint.backbones.registry import USUAL, find_backbone

    chosen = list(dict.fromkeys(find_backbone(name) for name in (YARDSTICK, *(names or USUAL))))

    from rich.console import Console

    from inpaint.backbones.network import build_network
    from inpaint.backbones.speed import compare_order, measure_speeds, read_published_speeds
    from inpaint.device import choose_device, explain_out_of_memory

    where = choose_device(device)
    work = f"{len(chosen)} networks and batches of {batch}"
    with Console(stderr=True).status("building the networks") as status:
        with explain_out_of_memory(where, work, "lower one of them"):
            networks = [build_network(backbone).to(where) for backbone in chosen]
            status.update(f"measuring for about {seconds * len(networks):.0f} s")
            speeds = measure_speeds(networks, batch=batch, seconds=seconds, device=where)
    _print_speeds(dict(zip(chosen, speeds, strict=True)), batch, where)
    medians = {backbone.name: speed.images_per_second for backbone, speed in zip(chosen, speeds, strict=True)}
    for published in read_published_speeds():
        click.echo(_say_order(published, compare_order(medians, published)))


def _print_speeds(measured: Mapping[Backbone, Speed], batch: int, device: torch.device) -> None:
    """Where it was measured, and a table with the fastest network first."""
    import timm
    import torch
    from rich.table import Table

    on_cuda = device.type == "cuda"
    hardware = torch.cuda.get_device_name(device) if on_cuda else f"{platform.machine()} {device.type}"
    click.echo(
        f"224 x 224 pixels, {batch} at a time, float32, random weights, on {hardware}, "
        f"threads: {torch.get_num_threads()}, torch {torch.__version__}, timm {timm.__version__}"
    )
    reference = next(iter(measured.values())).images_per_second
    table = Table("name", box=None, header_style="bold")
    for head in ("parameters", "MACs", "images/s", "middle half", "passes", f"x {YARDSTICK}"):
        table.add_column(head, justify="right")
    for backbone, speed in sorted(measured.items(), key=lambda item: -item[1].images_per_second):
        median, (low, high) = speed.images_per_second, speed.middle_half
        speeds = (f"{median:.2f}", f"{low:.2f} - {high:.2f}", f"{speed.passes}", f"{median / reference:.2f}")
        table.add_row(backbone.name, *_figures(backbone), *speeds)
    _console().print(table)


def _say_order(table: SpeedTable, order: Order) -> str:
    """Whether the order was as published, in a line."""
    told = f"order of {table.source} ({table.hardware}): "
    if not order.agree and not order.disagree:
        return told + "no two networks of it, far enough apart, are among these"
    told += f"{len(order.agree)} of {len(order.agree + order.disagree)} pairs agree"
    if order.disagree:
        told += "; the other way round: " + ", ".join(f"{one} > {other}" for one, other in order.disagree)
    if order.too_close_to_call:
        told += f"; {len(order.too_close_to_call)} within 10 %, not compared"
    return told
