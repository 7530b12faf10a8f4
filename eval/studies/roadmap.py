"""The road from ResNet to ConvNeXt as Markdown and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.markdown import sections_to_markdown
from eval.report.sections import Section
from eval.report.tables import DASH, Cell, Line, Table
from inpaint.backbones.roadmap import Road, Stop, walk_road

TITLES: dict[Road, str] = {"tiny": "ResNet-50 to ConvNeXt-T", "base": "ResNet-200 to ConvNeXt-B"}
HEADINGS = ("step", "config", "M parameters", "GFLOPs", "printed", "apart", "top-1", "gain")
WORDS = (
    "GFLOPs are billions of MACs at 224 pixels, counted on the network. Nothing was trained: the "
    "accuracies, and the GFLOPs beside ours, are printed in Liu et al. 2022, tables 10 and 11. A gain is "
    "over the last step that was kept; what was only tried is marked."
)


def road_to_markdown() -> str:
    """Both roads: a table each, and what does not agree below it.

    Returns:
        Markdown, ending in a newline.
    """
    roads = [_section(title, walk_road(road)) for road, title in TITLES.items()]
    return sections_to_markdown([*roads, Section("", text=WORDS)])


def road_to_plain() -> dict[str, Any]:
    """Both roads by name, as JSON takes them; nothing is rounded."""
    return {
        road: {"title": title, "steps": [_plain(stop) for stop in walk_road(road)]}
        for road, title in TITLES.items()
    }


def _section(title: str, stops: Sequence[Stop]) -> Section:
    lines = [
        Line(stop.step.name, "" if stop.step.kept else "tried", tuple(map(Cell, _cells(stop))))
        for stop in stops
    ]
    doubts = tuple((stop.step.name, stop.doubt) for stop in stops if stop.doubt)
    return Section(title, table=Table(HEADINGS, tuple(lines)), entries=doubts)


def _cells(stop: Stop) -> tuple[str, ...]:
    return (
        _config(stop.change),
        f"{stop.parameters:.2f}",
        f"{stop.gigamacs:.3f}",
        f"{stop.printed.gigamacs:.2f}",
        f"{100 * stop.excess:+z.1f} %",
        f"{stop.printed.accuracy:.2f}",
        DASH if stop.gain is None else f"{stop.gain:+.2f}",
    )


def _config(change: Mapping[str, Any]) -> str:
    return " ".join(f"`{name}={value!r}`" for name, value in change.items())


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
