"""``inpaint backbones``: list classification networks, run one, time them side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.atomic import atomic_write
from inpaint.cli.options import PATH, device_option, plan_folder
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from inpaint.backbones.network import LoadedBackbone, Sight

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

    from inpaint.cli.backbone_tables import list_rows, print_list

    rows = list_rows(count=count)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        print_list(rows, markdown=as_markdown)


@backbones.command()
@click.argument("image", type=PATH)
@click.option(
    "--backbone", default="convnext_atto.d2_in1k", show_default=True, help="See `inpaint backbones list`."
)
@click.option(
    "--weights", type=PATH, metavar="FILE", help="Weights file: timm's, or for ConvNeXt also the authors'."
)
@click.option(
    *("-o", "--output"),
    type=PATH,
    metavar="DIR",
    help="Write feature maps to this folder: a PNG for each stage, and all channels as .npz.",
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

    from inpaint.backbones.network import load_backbone, look_at

    loaded = load_backbone(chosen, weights=weights)
    sight = look_at(loaded, photo)
    _tell(loaded, sight)
    if output is not None:
        output.mkdir(exist_ok=True)
        _write_maps(loaded, sight, sheets, output / f"{prefix}.npz")


@backbones.command()
@click.argument("names", nargs=-1)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at a time.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Time for each network, on average; at least three passes.",
)
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
    from inpaint.cli.backbone_tables import bench_as_table, bench_report
    from inpaint.device import choose_device, explain_out_of_memory

    where = choose_device(device)
    work = f"{len(chosen)} networks and batches of {batch}"
    with Console(stderr=True).status("building the networks") as status:
        with explain_out_of_memory(where, work, "lower one of them"):
            networks = [build_network(backbone).to(where) for backbone in chosen]
            status.update(f"measuring for about {seconds * len(networks):.0f} s")
            speeds = measure_speeds(networks, batch=batch, seconds=seconds, device=where)
    report = bench_report(dict(zip(chosen, speeds, strict=True)), batch, where, YARDSTICK)
    bench_as_table(report)
    if out is not None:
        with atomic_write(out) as file:
            file.write(json.dumps(report, indent=2).encode())
        click.echo(f"{click.format_filename(out)}: the numbers")


def _tell(loaded: LoadedBackbone, sight: Sight) -> None:
    """Guesses, or why there are none; then the stages."""
    backbone = loaded.backbone
    click.echo(f"{backbone.title} ({backbone.name}), weights: {loaded.weights or 'random'}")
    if loaded.missing:
        click.echo(f"no guesses: {loaded.missing}. Or name it with --weights.")
    for name, probability in sight.guesses:
        click.echo(f"{probability:7.1%}  {name}")
    for number, (stage, distance) in enumerate(zip(sight.stages, sight.collapse, strict=True), 1):
        channels, height, width = stage.shape
        click.echo(
            f"stage {number}: {channels} channels of {height} x {width}, channel distance {distance:.3f}"
        )


def _write_maps(loaded: LoadedBackbone, sight: Sight, sheets: list[Path], archive: Path) -> None:
    """A sheet for each stage, and an archive of all channels that says whose they are."""
    import numpy as np

    from inpaint.backbones.network import feature_sheet
    from inpaint.images import write_image

    arrays: dict[str, Any] = {"weights": loaded.weights or "random", "channel_distance": sight.collapse}
    for number, (stage, path) in enumerate(zip(sight.stages, sheets, strict=True), 1):
        write_image(feature_sheet(stage), path)
        arrays[f"stage{number}"] = stage.numpy()
        click.echo(f"{click.format_filename(path)}: the first channels of stage {number}")
    with atomic_write(archive) as file:
        np.savez(file, **arrays)
    click.echo(f"{click.format_filename(archive)}: all channels of every stage")
