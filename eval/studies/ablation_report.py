"""The report of an ablation: scores, every row against two others in plain words, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.measures.statistics import BETTER, NOISE, WORSE, Difference, paired_difference, verdict_of
from eval.published import read_published
from eval.report.files import write_form
from eval.report.page import render
from eval.report.sections import Section, details_of, sections_to_markdown, warnings_of
from eval.report.tables import Cell, Line, Table, interval_text, scores_table, to_csv
from eval.results import Report, to_plain
from eval.studies.ablation import BASE, REFERENCE, REPEATED, TITLES, AblationResult

TITLE = "Ablation"
SEED_NOTE = (
    "Every row was trained once: an interval covers the choice of images, not the randomness of training. "
    f"{REPEATED} is {REFERENCE} with another seed; a difference no larger than theirs is called chance, "
    "which two runs can only hint at."
)
PUBLISHED_NOTE = (
    f"Differences from {REFERENCE}, published and here. sqd stands where the paper has LPIPS, fmd where it "
    "has FID: directions can be compared, sizes cannot. What its PSNR is too high by cancels in a difference."
)
PUBLISHED_ROWS = {
    "no_attention": "mixed masks, no attention",
    "contextual": "mixed masks, trainable contextual attention",
    "random_prior": "random masks, prior attention",
    REFERENCE: "mixed masks, prior attention",
}
"""Our rows and their labels in the published table."""
BESIDE = {"psnr": "psnr", "ssim": "ssim", "sqd": "lpips_alex", "fmd": "fid"}
"""Our columns and the published ones that stand beside them."""

CHANCE, NO_INTERVAL = "chance", "no interval"


def compare(report: Report, row: str, other: str) -> tuple[Difference, ...]:
    """``row`` minus ``other`` in every measure both have.

    Beside the usual verdicts there is chance (no larger than between two seeds) and no interval (a measure of
    the whole set).
    """
    found = _differences(report, row, other)
    chance = {}
    if {row, other} != {REFERENCE, REPEATED} and {REFERENCE, REPEATED} <= {row.name for row in report.rows}:
        seeds = _differences(report, REPEATED, REFERENCE)
        chance = {each.column.key: abs(each.value.value) for each in seeds}
    return tuple(
        replace(each, verdict=CHANCE)
        if each.verdict in (BETTER, WORSE) and abs(each.value.value) <= chance.get(each.column.key, 0.0)
        else each
        for each in found
    )


def sentence(row: str, other: str, differences: Sequence[Difference]) -> str:
    """In words, such as "layer6 against base: better in SSIM; within sampling error in PSNR, sqd"."""
    parts = []
    for verdict in (BETTER, WORSE, NOISE, CHANCE, NO_INTERVAL):
        if titles := [found.column.title for found in differences if found.verdict == verdict]:
            word = "no further apart than two seeds" if verdict == CHANCE else verdict
            parts.append(f"{word} in {', '.join(titles)}")
    return f"{row} against {other}: {'; '.join(parts)}."


def sections_of(result: AblationResult) -> list[Section]:
    """Everything the report says, in reading order."""
    report = result.report
    names = [row.name for row in report.rows]
    legend = tuple((name, TITLES[name]) for name in names if name in TITLES)
    sections = [
        Section("", text=f"Rows trained on an equal budget from one base. {SEED_NOTE}"),
        Section("", table=scores_table(report)),
        *warnings_of(report),
        Section("The rows", entries=legend),
    ]
    for other in (REFERENCE, BASE):
        if other in names and len(names) > 1:
            sections.append(_against(report, other))
    if (published := _beside_published(report)) is not None:
        source = read_published()["ablation"].source
        text = f"{PUBLISHED_NOTE} Published: {source}."
        sections.append(Section("Beside the published ablation", text=text, table=published))
    return [*sections, _costs(result)]


def to_markdown(result: AblationResult) -> str:
    """The whole report as Markdown, ending in a newline."""
    return f"# {TITLE}\n\n" + sections_to_markdown([*sections_of(result), *details_of(result.report)])


def write_ablation(result: AblationResult, path: Path) -> None:
    """Write the report as Markdown, JSON, HTML or (scores alone) CSV, by the file's suffix; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    forms = {
        ".md": to_markdown,
        ".json": _to_plain,
        ".csv": lambda result: to_csv(result.report),
        ".html": lambda result: render(TITLE, sections_of(result), result.report),
    }
    write_form(result, path, forms)


def _to_plain(result: AblationResult) -> dict[str, Any]:
    report = result.report
    names = [row.name for row in report.rows]
    comparisons = [
        {"row": row, "other": other, "differences": compare(report, row, other)}
        for other in (REFERENCE, BASE)
        for row in names
        if other in names and row != other
    ]
    return {"report": to_plain(report), "comparisons": comparisons, "costs": result.costs}


def _differences(report: Report, row: str, other: str) -> list[Difference]:
    found = []
    for column in report.columns:
        value = paired_difference(report.row(row), report.row(other), column)
        if value is not None:
            verdict = NO_INTERVAL if value.low is None else verdict_of(value, column)
            found.append(Difference(column, other, value, verdict))
    return found


def _against(report: Report, other: str) -> Section:
    lines, sentences = [], []
    for row in report.rows:
        if row.name == other:
            continue
        differences = compare(report, row.name, other)
        cells = []
        for found in differences:
            text = found.column.format(found.value.value, signed=True)
            interval = interval_text(found.value, found.column, signed=True)
            cells.append(Cell(text, interval, best=found.verdict == BETTER))
        lines.append(Line(row.name, "", tuple(cells)))
        sentences.append(("", sentence(row.name, other, differences)))
    headings = ("row minus " + other, *(column.heading for column in report.columns))
    return Section(f"Against {other}", table=Table(headings, tuple(lines)), entries=tuple(sentences))


def _beside_published(report: Report) -> Table | None:
    table = read_published()["ablation"]
    printed = {row.label: row for row in table.rows}
    names = {row.name for row in report.rows}
    lines = []
    for name, label in PUBLISHED_ROWS.items():
        if name == REFERENCE or not {name, REFERENCE} <= names:
            continue
        cells = []
        for found in compare(report, name, REFERENCE):
            if (key := BESIDE.get(found.column.key)) is not None:
                theirs = [table.score(printed[name], key) for name in (label, PUBLISHED_ROWS[REFERENCE])]
                published = (theirs[0] or 0) - (theirs[1] or 0)
                # A measure without an interval is compared by its sign alone.
                same = (found.value.value > 0) == (published > 0)
                way = (
                    found.verdict
                    if found.verdict in (NOISE, CHANCE)
                    else f"{'same' if same else 'other'} way"
                )
                ours = found.column.format(found.value.value, signed=True)
                cells += [Cell(f"{published:+}"), Cell(f"{ours}, {way}")]
        lines.append(Line(name, "", tuple(cells)))
    headings = ["row minus " + REFERENCE]
    for column in report.columns:
        if column.key in BESIDE:
            title = table.protocol.columns[BESIDE[column.key]].title
            headings += [f"{title}, published", f"{column.title}, here"]
    return Table(tuple(headings), tuple(lines)) if lines else None


def _costs(result: AblationResult) -> Section:
    rows = {row.name for row in result.report.rows}
    ours = sum(cost.minutes for cost in result.costs if cost.name in rows)
    priors = sum(cost.minutes for cost in result.costs if cost.name not in rows)
    before = f", after {priors:.0f} minutes for the priors they build on" if priors else ""
    text = f"Training all rows took {ours:.0f} minutes{before}, by the runs' own logs."
    lines = [
        Line(cost.name, "", (Cell(f"{cost.images:,}"), Cell(f"{cost.minutes:.1f}"), Cell(cost.hardware)))
        for cost in result.costs
    ]
    table = Table(("run", "images", "minutes", "hardware"), tuple(lines))
    return Section("What it cost", text=text, table=table)
