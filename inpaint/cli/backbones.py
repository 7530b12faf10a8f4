"""``inpaint backbones``: list classification networks, run one, time them side by side."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.atomic import atomic_write
from inpaint.cli.options import PATH, device_option, plan_folder
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from inpaint.backbones.network import BackboneOutput, LoadedBackbone
    from inpaint.backbones.registry import Backbone
    from inpaint.backbones.speed import Speed

Row = dict[str, Any]
WIDE = 400  # characters: a file or a pipe has no width to keep to
YARDSTICK = "convnext_tiny"
# Measured where no names are given: two or three sizes of every family.
USUAL = (
    YARDSTICK, "convnext_small", "convnext_base", "convnext_isotropic_small", "convnext_isotropic_base",
    "convnextv2_tiny", "convnextv2_base", "deit_small_patch16_224", "deit_base_patch16_224",
    "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224",
    "poolformer_s12", "poolformer_s36",
)  # fmt: skip


@click.group(short_help="List classification networks, run one, time them.")
def backbones() -> None:
    """Classification networks: ConvNeXt V1 and V2, ViT, Swin and PoolFormer."""


@backbones.command("list")
@click.option("--count", is_flag=True, help="Also count parameters and MACs on the networks.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Write a Markdown table.")
def list_command(count: bool, as_json: bool, as_markdown: bool) -> None:
    """List the networks with published figures, sources, licences, and whether their weights are here."""
    if as_json and as_markdown:
        raise click.UsageError("got --json and --markdown, expected one of them")

    from inpaint.backbones.registry import BACKBONES

    rows = [_row_of(backbone, count) for backbone in BACKBONES]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_list(rows, as_markdown)


def _row_of(backbone: Backbone, count: bool) -> Row:
    """Everything about a network, plain enough for JSON; ``count`` adds what a counter finds."""
    from inpaint.backbones.registry import PUBLISHED, find_weights

    found = find_weights(backbone)
    missing = "to fetch" if backbone.tag else "not here"
    row: Row = {
        **_figures(backbone), "family": backbone.family,
        "accuracy_percent": backbone.accuracy, "source": backbone.source,
        "pretrained": backbone.pretrained if backbone.tag else None, "file": backbone.file,
        "licence": backbone.licence,
        "here": missing if found is None else "in the cache" if found.origin == PUBLISHED else "here",
        "path": str(found.path) if found else None,
    }  # fmt: skip
    if count:
        from inpaint.backbones.network import count_backbone

        row["counted_parameters_millions"], row["counted_macs_billions"] = count_backbone(backbone)
    return row


def _figures(backbone: Backbone) -> Row:
    return {
        "name": backbone.name, "title": backbone.title, "parameters_millions": backbone.parameters,
        "macs_billions": backbone.gigamacs,
    }  # fmt: skip


def _print_list(rows: Sequence[Row], markdown: bool) -> None:
    """Print the list, and the sources below it; as Markdown without what depends on this machine."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    numbers = {source: number for number, source in enumerate(dict.fromkeys(r["source"] for r in rows), 1)}
    counted = [", counted"] if "counted_parameters_millions" in rows[0] else []
    figures = [f"{what}{how}" for what in ("parameters", "MACs") for how in ("", *counted)]
    heads = ["name", "family", *figures, "top-1", "weights", "licence"]
    table = Table(*heads, box=box.MARKDOWN if markdown else None, header_style="bold")
    for row in rows:
        cells = []
        for what, unit in (("parameters_millions", "M"), ("macs_billions", "G")):
            cells.append(f"{row[what]:g} {unit}")
            cells += [f"{row[f'counted_{what}']:.4g} {unit}"] if counted else []
        cells.append(f"{row['accuracy_percent']:.1f} % [{numbers[row['source']]}]")
        name, weights = row["name"], row["here"]
        if markdown:
            name, weights = f"`{name}`", row["pretrained"] or f"{row['file']}, not in timm"
        table.add_row(*map(escape, (name, row["family"], *cells, weights, row["licence"])))
    _console(unbroken=markdown).print(table)
    for source, number in numbers.items():
        click.echo(f"[{number}] {source}" + ".  " * markdown)


def _console(*, unbroken: bool = False) -> Console:
    from rich.console import Console

    return Console(width=WIDE if unbroken or not sys.stdout.isatty() else None)


@backbones.command()
@click.argument("image", type=PATH)
@click.option(
    "--backbone", default="convnext_atto.d2_in1k", show_default=True, help="See `inpaint backbones list`."
)
@click.option(
    "--weights", type=PATH, metavar="FILE", help="Weights file: timm's, or for ConvNeXt also the authors'."
)
@click.option(
    "-o", "--output", type=PATH, metavar="DIR", help="Folder for feature maps: a PNG per stage and an .npz."
)
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


@backbones.command()
@click.argument("names", nargs=-1)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at a time.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True,
    help="Time for each network, on average; at least three passes.",
)  # fmt: skip
@device_option
@click.option("--out", type=PATH, metavar="FILE.json", help="Also write the results to this file.")
def bench(names: tuple[str, ...], batch: int, seconds: float, device: str, out: Path | None) -> None:
    """Measure images per second at 224 pixels, and compare the order of the networks with published tables.

    NAMES are those of `inpaint backbones list`; without any, a selection is measured. ConvNeXt-T is always
    measured, as the reference. The networks run one pass each in turn, so that other load affects all of
    them alike. Weights are random, since speed does not depend on them.
    """
    from inpaint.backbones.registry import find_backbone

    chosen = list(dict.fromkeys(find_backbone(name) for name in (YARDSTICK, *(names or USUAL))))
    if out is not None and not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise InpaintError(f"the folder {str(out.parent)!r} for --out cannot be written to: choose another")

    from rich.console import Console

    from inpaint.backbones.network import build_network
    from inpaint.backbones.speed import measure_speeds
    from inpaint.device import choose_device, explain_out_of_memory

    where = choose_device(device)
    work = f"{len(chosen)} networks and batches of {batch}"
    with Console(stderr=True).status("building the networks") as status:
        with explain_out_of_memory(where, work, "lower one of them"):
            networks = [build_network(backbone).to(where) for backbone in chosen]
            status.update(f"measuring for about {seconds * len(networks):.0f} s")
            speeds = measure_speeds(networks, batch=batch, seconds=seconds, device=where)
    report = _report(dict(zip(chosen, speeds, strict=True)), batch, where)
    _print_report(report)
    if out is not None:
        with atomic_write(out) as file:
            file.write(json.dumps(report, indent=2).encode())
        click.echo(f"{click.format_filename(out)}: the numbers")


def _report(measured: Mapping[Backbone, Speed], batch: int, device: torch.device) -> Row:
    """Measurements and their order beside the published ones, plain enough for JSON."""
    import timm
    import torch

    from inpaint.backbones.speed import compare_order, read_published_speeds

    medians = {backbone.name: speed.images_per_second for backbone, speed in measured.items()}
    networks = [
        {**_figures(backbone), **asdict(speed), "ratio": speed.images_per_second / medians[YARDSTICK]}
        for backbone, speed in measured.items()
    ]
    on_cuda = device.type == "cuda"
    return {
        "hardware": torch.cuda.get_device_name(device) if on_cuda else f"{platform.machine()} {device.type}",
        "threads": torch.get_num_threads(), "torch": torch.__version__, "timm": timm.__version__,
        "batch": batch, "yardstick": YARDSTICK, "networks": networks,
        "orders": [asdict(compare_order(medians, table)) for table in read_published_speeds()],
    }  # fmt: skip


def _print_report(report: Row) -> None:
    """Print a report of a measurement, the fastest network first."""
    from rich.table import Table

    click.echo(
        f"224 x 224 pixels, {report['batch']} at a time, float32, random weights, on {report['hardware']}, "
        f"threads: {report['threads']}, torch {report['torch']}, timm {report['timm']}"
    )
    table = Table("name", box=None, header_style="bold")
    for head in ("parameters", "MACs", "images/s", "middle half", "passes", f"x {report['yardstick']}"):
        table.add_column(head, justify="right")
    for row in sorted(report["networks"], key=lambda row: -row["images_per_second"]):
        low, high = row["middle_half"]
        figures = f"{row['parameters_millions']:g} M", f"{row['macs_billions']:g} G"
        speed = f"{row['images_per_second']:.2f}", f"{low:.2f} - {high:.2f}", str(row["passes"])
        table.add_row(row["name"], *figures, *speed, f"{row['ratio']:.2f}")
    _console().print(table)
    for order in report["orders"]:
        click.echo(_say_order(order))


def _say_order(order: Row) -> str:
    """Whether the order was as published, in a line."""
    agree, disagree = len(order["agree"]), order["disagree"]
    told = f"order of {order['source']} ({order['hardware']}): "
    if not agree and not disagree:
        return told + "no two networks of it, far enough apart, are among these"
    told += f"{agree} of {agree + len(disagree)} pairs agree"
    if disagree:
        told += "; the other way round: " + ", ".join(f"{one} > {other}" for one, other in disagree)
    if order["too_close_to_call"]:
        told += f"; {len(order['too_close_to_call'])} within 10 %, not compared"
    return told
