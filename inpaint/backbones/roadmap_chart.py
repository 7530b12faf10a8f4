"""The road as a bar chart: one SVG for the documentation and for the page, readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from inpaint.backbones.roadmap import Stop

WIDTH, SHOWN = 366, 480  # drawing units, pixels: narrow, so that it can be read on a phone
NAMES, NUMBERS = 2, 196
GAINS, COSTS = (204, 286), (296, 362)  # from where to where the bars go
TOP, ROW, BAR = 26, 22, 14
GAIN, LOSS, COST = "#3b82c4", "#c76f1e", "#6b7280"  # told apart on white, on black, and by most eyes


def draw_road(stops: Sequence[Stop], title: str) -> str:
    """Draw what each step gains and what it costs.

    Accuracy is drawn as steps: each bar begins where the last kept one ended. Text takes the colour of the
    page around it; in a file of its own, that of the reader's colour scheme. A screen reader says ``title``.
    """
    accuracies = [stop.printed.accuracy for stop in stops]
    low, high = math.floor(min(accuracies)), math.ceil(max(accuracies))
    most = max(max(stop.gigamacs, stop.printed.gigamacs) for stop in stops)
    bottom = TOP + ROW * len(stops)
    height = bottom + 46

    def across(accuracy: float) -> float:
        return GAINS[0] + (GAINS[1] - GAINS[0]) * (accuracy - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{SHOWN}" '
        f'height="{SHOWN * height / WIDTH:.0f}" role="img" aria-label="{title}" fill="currentColor" '
        'font-family="system-ui, sans-serif" font-size="12.5" style="max-width: 100%; height: auto">',
        # svg:root is the drawing only where it is a file of its own: within a page, the page's colour holds.
        "<style>svg:root { color: #1f2328 } "
        "@media (prefers-color-scheme: dark) { svg:root { color: #e6edf3 } }</style>",
        _text(NUMBERS, TOP - 11, "top-1, %", "end", small=True),
        _text(WIDTH - 2, TOP - 11, "G MACs", "end", small=True),
    ]
    for accuracy in range(low, high + 1, 2):
        x = across(accuracy)
        parts.append(f'<path d="M{x:.1f} {TOP - 4}V{bottom}" stroke="currentColor" opacity=".2"/>')
        parts.append(_text(x, bottom + 12, str(accuracy), "middle", small=True))
    before = None
    for index, stop in enumerate(stops):
        top = TOP + ROW * index
        parts += _row(stop, top, before, across, most)
        if stop.step.kept:
            before = stop.printed.accuracy
    parts += [*_legend(bottom + 32), "</svg>", ""]
    return "\n".join(parts)


def _row(
    stop: Stop, top: int, before: float | None, across: Callable[[float], float], most: float
) -> list[str]:
    """One step: name, accuracy, what it gains, what it costs."""
    accuracy, base, kept = stop.printed.accuracy, top + ROW - 7, stop.step.kept
    start, end = sorted((across(accuracy if before is None else before), across(accuracy)))
    cost = (COSTS[1] - COSTS[0]) / most
    printed = COSTS[0] + cost * stop.printed.gigamacs
    colour = LOSS if stop.gain is not None and stop.gain < 0 else GAIN
    return [
        _text(NAMES, base, stop.step.name if kept else f"{stop.step.name} (tried)"),
        _text(NUMBERS, base, f"{accuracy:.2f}", "end"),
        _bar(start, top + 4, max(end - start, 2), colour, kept),
        _bar(COSTS[0], top + 4, cost * stop.gigamacs, COST, kept),
        _mark(printed, top + 2),
        _text(COSTS[0] + 4, base, f"{stop.gigamacs:.2f}", small=True, colour="#fff" if kept else ""),
    ]


def _legend(base: int) -> list[str]:
    """What the colours say, below the drawing."""
    parts = []
    for x, colour, word in ((2, GAIN, "gain, published"), (112, LOSS, "loss"), (244, COST, "counted")):
        parts += [_bar(x, base - 12, 10, colour, True), _text(x + 16, base, word, small=True)]
    return [*parts, _mark(314, base - 14), _text(320, base, "printed", small=True)]


def _bar(x: float, top: int, width: float, colour: str, filled: bool) -> str:
    inside = "" if filled else f' fill-opacity=".2" stroke="{colour}"'
    return f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"{inside}/>'


def _mark(x: float, top: int) -> str:
    return f'<path d="M{x:.1f} {top}v{BAR + 4}" stroke="currentColor" stroke-width="1.5"/>'


def _text(
    x: float, base: int, text: str, anchor: str = "start", *, small: bool = False, colour: str = ""
) -> str:
    looks = (' font-size="11"' if small else "") + (f' fill="{colour}"' if colour else "")
    return f'<text x="{x:.1f}" y="{base}" text-anchor="{anchor}"{looks}>{text}</text>'
