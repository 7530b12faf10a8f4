"""A report as sections of words and tables: what the Markdown file and the page both say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.measures.statistics import INTERVAL, Difference, against_baselines
from eval.report.charts import Chart, bin_charts
from eval.report.tables import Table, bins_table, interval_text, known_change_table, scores_table
from eval.results import Report

SMALL_NETWORKS_NOTE = (
    "sqd: SqueezeNet feature distance. fmd: Frechet distance on MobileNetV2 features, biased upward at small "
    "N: compare only at equal N. Neither is LPIPS or FID."
)
KNOWN_CHANGE_NOTE = (
    "What each method changed where the image was known. The scores do not see it: a prediction is "
    "composited, so that outside the hole it is the original."
)


@dataclass(frozen=True)
class Section:
    """A part of a report; what is empty is not printed.

    Attributes:
        title: heading; empty for none.
        table: numbers.
        text: one sentence or more.
        entries: of a list, as (word in front, text); the word may be empty.
        is_warning: to be read before any number is trusted.
        charts: the table as drawings, which the page shows in its place.
    """

    title: str
    table: Table | None = None
    text: str = ""
    entries: tuple[tuple[str, str], ...] = ()
    is_warning: bool = False
    charts: tuple[Chart, ...] = ()


def sections_of(report: Report) -> list[Section]:
    """Everything a report says in words and tables, in reading order."""
    return [
        Section("", table=scores_table(report)),
        *warnings_of(report),
        *against_of(report),
        *details_of(report),
    ]


def warnings_of(report: Report) -> list[Section]:
    """What a reader must know before trusting a number."""
    entries = tuple(("", warning) for warning in report.warnings)
    return [Section("Warnings", entries=entries, is_warning=True)] if entries else []


def against_of(report: Report) -> list[Section]:
    """Each method that is no baseline against the best baseline of each measure."""
    return [_against(name, found) for name, found in against_baselines(report).items() if found]


def details_of(report: Report) -> list[Section]:
    """What stands behind the scores: what is unmeasured, bins, changes outside the hole, how to repeat it."""
    sections = []
    if report.unmeasured:
        sections.append(Section("Not measured", entries=tuple((e.title, e.why) for e in report.unmeasured)))
    if bins := bins_table(report):
        sections.append(Section("By hole ratio", table=bins, charts=bin_charts(report)))
    if known_change := known_change_table(report):
        sections.append(Section("Outside the hole", text=KNOWN_CHANGE_NOTE, table=known_change))
    return [*sections, Section("What was measured", entries=_facts(report))]


def _facts(report: Report) -> tuple[tuple[str, str], ...]:
    small_networks = any(column.key in ("sqd", "fmd") for column in report.columns)
    pictures = (
        f"{report.protocol}, {report.size}, N = {report.n}, mean hole ratio {100 * report.hole_ratio:.1f} %"
    )
    found = {
        "Protocol": pictures,
        "Definitions": report.definition,
        "Small networks": SMALL_NETWORKS_NOTE if small_networks else "",
        "Intervals": f"{INTERVAL}; differences are paired by image",
        "Hash of the images": report.images_hash,
        "Hash of the masks": report.masks_hash,
        **report.notes,
    }
    return tuple((title, text) for title, text in found.items() if text)


def _against(name: str, differences: Sequence[Difference]) -> Section:
    named: dict[str, list[str]] = {"better": [], "worse": [], "within sampling error": []}
    entries = []
    for difference in differences:
        column, value = difference.column, difference.value
        texts = (column.format(value.value, signed=True), interval_text(value, column, signed=True))
        entries.append((column.title, f"{' '.join(filter(None, texts))} ({difference.baseline})"))
        named[_judgement(difference)].append(column.title)
    text = "; ".join(f"{judgement} in {', '.join(titles)}" for judgement, titles in named.items() if titles)
    return Section(
        f"{name} against the best baseline of each measure",
        text=f"{text[:1].upper()}{text[1:]}.",
        entries=tuple(entries),
    )


def _judgement(difference: Difference) -> str:
    """An interval that holds zero decides nothing; without one, the sign does."""
    low, high = difference.value.low, difference.value.high
    if difference.value.value == 0 or (low is not None and high is not None and low <= 0 <= high):
        return "within sampling error"
    return "better" if difference.better else "worse"
