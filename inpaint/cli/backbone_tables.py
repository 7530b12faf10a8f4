"""What ``inpaint backbones`` shows: the list and the measurements, as rows, tables and Markdown."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inpaint.backbones.registry import BACKBONES, PUBLISHED, Backbone, find_weights

if TYPE_CHECKING:
    import torch

    from inpaint.backbones.speed import Speed

Row = dict[str, Any]
WIDE = 400  # characters: a file or a pipe has no width to keep to


def list_rows(*, count: bool) -> list[Row]:
    """Everything about every network, plain enough for JSON; ``count`` adds what a counter finds."""
    rows = []
    for backbone in BACKBONES:
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
        rows.append(row)
    return rows


def print_list(rows: Sequence[Row], *, markdown: bool) -> None:
    """Print the list, and the sources below it; as Markdown without what depends on this machine."""
    sources = {
        source: number for number, source in enumerate(dict.fromkeys(row["source"] for row in rows), 1)
    }
    counted = [", counted"] if "counted_parameters_millions" in rows[0] else []
    figures = [f"{what}{how}" for what in ("parameters", "MACs") for how in ("", *counted)]
    heads = ["name", "family", *figures, "top-1", "weights", "licence"]
    table = Table(*heads, box=box.MARKDOWN if markdown else None, header_style="bold")
    for row in rows:
        cells = []
        for what, unit in (("parameters_millions", "M"), ("macs_billions", "G")):
            cells.append(f"{row[what]:g} {unit}")
            cells += [f"{row[f'counted_{what}']:.4g} {unit}"] if counted else []
        cells.append(f"{row['accuracy_percent']:.1f} % [{sources[row['source']]}]")
        name, weights = row["name"], row["here"]
        if markdown:
            name, weights = f"`{name}`", row["pretrained"] or f"{row['file']}, not in timm"
        table.add_row(*map(escape, (name, row["family"], *cells, weights, row["licence"])))
    _console(unbroken=markdown).print(table)
    for source, number in sources.items():
        click.echo(f"[{number}] {source}" + ".  " * markdown)


def bench_report(measured: Mapping[Backbone, Speed], batch: int, device: torch.device, yardstick: str) -> Row:
    """Measurements beside ``yardstick``'s, and their order beside published ones, plain enough for JSON."""
    import timm
    import torch

    from inpaint.backbones.speed import compare_order, read_published_speeds

    medians = {backbone.name: speed.images_per_second for backbone, speed in measured.items()}
    networks = [
        {**_figures(backbone), **asdict(speed), "ratio": speed.images_per_second / medians[yardstick]}
        for backbone, speed in measured.items()
    ]
    on_cuda = device.type == "cuda"
    return {
        "hardware": torch.cuda.get_device_name(device) if on_cuda else f"{platform.machine()} {device.type}",
        "threads": torch.get_num_threads(), "torch": torch.__version__, "timm": timm.__version__,
        "batch": batch, "yardstick": yardstick, "networks": networks,
        "orders": [asdict(compare_order(medians, table)) for table in read_published_speeds()],
    }  # fmt: skip


def bench_as_table(report: Row) -> None:
    """Print a report of :func:`bench_report`, the fastest network first."""
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


def _figures(backbone: Backbone) -> Row:
    return {
        "name": backbone.name, "title": backbone.title, "parameters_millions": backbone.parameters,
        "macs_billions": backbone.gigamacs,
    }  # fmt: skip


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


def _console(*, unbroken: bool = False) -> Console:
    return Console(width=WIDE if unbroken or not sys.stdout.isatty() else None)
