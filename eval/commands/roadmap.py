"""``python -m eval roadmap``: from ResNet to ConvNeXt, every step built and counted."""

from __future__ import annotations

from pathlib import Path

import click

from inpaint.errors import InpaintError

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--json", "plain", type=_PATH, metavar="FILE", help="Also write everything, unrounded.")
@click.option("--chart", type=_PATH, metavar="FILE.svg", help="Also draw the road to ConvNeXt-T.")
def roadmap(plain: Path | None, chart: Path | None) -> None:
    """Build and count every step from ResNet to ConvNeXt, beside what the paper prints.

    Both roads, as Markdown: ResNet-50 to ConvNeXt-T, ResNet-200 to ConvNeXt-B. Nothing is trained.
    """
    from eval.report.files import to_json, write_text
    from eval.studies.roadmap import TITLES, road_to_markdown, road_to_plain
    from inpaint.backbones.roadmap import walk_road
    from inpaint.backbones.roadmap_chart import draw_road

    if chart is not None and chart.suffix.lower() != ".svg":
        raise InpaintError(f"got chart file {chart}; expected a name ending in .svg")
    text = road_to_markdown()
    if plain is not None:
        write_text(to_json(road_to_plain()), plain)
    if chart is not None:
        write_text(draw_road(walk_road("tiny"), TITLES["tiny"]), chart)
    click.echo(text, nl=False)
