"""The road from ResNet to ConvNeXt as Markdown and as plain values."""

from __future__ import annotations

from typing import Any

from eval.report.sections import Section, sections_to_markdown
from eval.report.tables import DASH, Cell, Line, Table
from inpaint.backbones.roadmap import Road, Stop, walk_road

TITLES: dict[Road, str] = {"tiny": "ResNet-50 to ConvNeXt-T", "base": "ResNet-200 to ConvNeXt-B"}
HEADINGS = ("step", "config", "M parameters", "GFLOPs", "printed", "apart", "top-1", "gain")
NOTE = (
    "GFLOPs are billions of MACs at 224 pixels, counted on the network. Nothing was trained: the "
    "accuracies, and the printed GFLOPs, are those of Liu et al. 2022, tables 10 and 11. A gain is relative "
    "to the last step that was kept; steps that were only tried are marked."
)


def road_to_markdown() -> str:
    """Both roads: a table each, and what does not agree below it; Markdown, ending in a newline."""
    sections = []
    for road, title in TITLES.items():
        stops = walk_road(road)
        lines = (Line(stop.step.name, "" if stop.step.kept else "tried", _cells(stop)) for stop in stops)
        doubts = tuple((stop.step.name, stop.doubt) for stop in stops if stop.doubt)
        sections.append(Section(title, table=Table(HEADINGS, tuple(lines)), entries=doubts))
    return sections_to_markdown([*sections, Section("", text=NOTE)])


def road_to_plain() -> dict[str, Any]:
    """Both roads by name, as JSON takes them; nothing is rounded."""
    return {
        road: {"title": title, "steps": [_plain(stop) for stop in walk_road(road)]}
        for road, title in TITLES.items()
    }


def _cells(stop: Stop) -> tuple[Cell, ...]:
    texts = (
        " ".join(f"`{name}={value!r}`" for name, value in stop.change.items()),
        f"{stop.parameters:.2f}",
        f"{stop.gigamacs:.3f}",
        f"{stop.printed.gigamacs:.2f}",
        f"{100 * stop.excess:+z.1f} %",
        f"{stop.printed.accuracy:.2f}",
        DASH if stop.gain is None else f"{stop.gain:+.2f}",
    )
    return tuple(map(Cell, texts))


def _plain(stop: Stop) -> dict[str, Any]:
    return {
        "name": stop.step.name,
        "change": dict(stop.change),
        "kept": stop.step.kept,
        "parameters_millions": stop.parameters,
        "gigamacs": stop.gigamacs,
        "gigamacs_printed": stop.printed.gigamacs,
        "accuracy_printed": stop.printed.accuracy,
        "gain": stop.gain,
        "doubt": stop.doubt,
    }
