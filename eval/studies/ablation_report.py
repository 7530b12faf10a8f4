"""The report of an ablation: scores, every row against two others in plain words, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.measures.statistics import paired_difference
from eval.published import read_published
from eval.report.files import to_json, write_form
from eval.report.markdown import sections_to_markdown
from eval.report.page import render, summary
from eval.report.sections import Section, details_of, warnings_of
from eval.report.sheets import to_csv
from eval.report.tables import Cell, Line, Table, interval_text, scores_table
from eval.results import Column, Report, Value, to_plain
from eval.studies.ablation import BASE, REFERENCE, REPEATED, TITLES, AblationResult

TITLE = "Ablation"
SEED_NOTE = (
    "An interval covers the choice of images, not the luck of training: every row was trained once. "
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

BETTER, WORSE, NOISE, CHANCE, UNJUDGED = "better", "worse", "within sampling error", "chance", "no interval"


@dataclass(frozen=True)
class Difference:
    """One row against another in one measure.

    Attributes:
        column: the measure.
        value: row minus other, with the paired interval where the measure is of single images.
        verdict: better, worse, within sampling error (the interval holds zero), chance (no larger than
            between two seeds), or no interval (a measure of the whole set).
    """

    column: Column
    value: Value
    verdict: str


def compare(report: Report, row: str, other: str) -> tuple[Difference, ...]:
    """``row`` against ``other`` in every measure both have."""
    chance = _between_seeds(report) if {row, other} != {REFERENCE, REPEATED} else {}
    found = []
    for column in report.columns:
        value = paired_difference(report.row(row), report.row(other), column)
        if value is not None:
            found.append(Difference(column, value, _judge(column, value, chance.get(column.key, 0.0))))
    return tuple(found)


def sentence(row: str, other: str, differences: tuple[Difference, ...]) -> str:
    """In words, such as "layer6 against base: better in SSIM; within sampling error in PSNR, sqd"."""
    parts = []
    for verdict in (BETTER, WORSE, NOISE, CHANCE, UNJUDGED):
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
    return [*sections, Section("What it cost", text=_sum_of_costs(result), table=_costs(result))]


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
        ".json": _to_json,
        ".csv": lambda result: to_csv(result.report),
        ".html": lambda result: render(TITLE, summary(result.report), sections_of(result), result.report),
    }
    write_form(result, path, forms)


def _to_json(result: AblationResult) -> str:
    report = result.report
    names = [row.name for row in report.rows]
    comparisons = [
        {"row": row, "other": other, "differences": [asdict(found) for found in compare(report, row, other)]}
        for other in (REFERENCE, BASE)
        for row in names
        if other in names and row != other
    ]
    costs = [asdict(cost) for cost in result.costs]
    return to_json({"report": to_plain(report), "comparisons": comparisons, "costs": costs})


def _judge(column: Column, value: Value, chance: float) -> str:
    if value.low is None or value.high is None:
        return UNJUDGED
    if not (value.low > 0 or value.high < 0):
        return NOISE
    if abs(value.value) <= chance:
        return CHANCE
    return BETTER if (value.value > 0) == column.higher_is_better else WORSE


def _between_seeds(report: Report) -> Mapping[str, float]:
    """How far two runs that differ in the seed alone lie apart, by column key; empty without them."""
    if not {REFERENCE, REPEATED} <= {row.name for row in report.rows}:
        return {}
    pairs = [
        (column.key, paired_difference(report.row(REPEATED), report.row(REFERENCE), column))
        for column in report.columns
    ]
    return {key: abs(value.value) for key, value in pairs if value is not None}


def _against(report: Report, other: str) -> Section:
    lines, sentences = [], []
    for row in report.rows:
        if row.name == other:
            continue
        differences = compare(report, row.name, other)
        cells = [
            Cell(
                found.column.format(found.value.value, signed=True),
                interval_text(found.value, found.column, signed=True),
                best=found.verdict == BETTER,
            )
            for found in differences
        ]
        lines.append(Line(row.name, "", tuple(cells)))
        sentences.append(("", sentence(row.name, other, differences)))
    headings = ("row minus " + other, *(column.heading for column in report.columns))
    return Section(f"Against {other}", table=Table(headings, tuple(lines)), entries=tuple(sentences))


def _beside_published(report: Report) -> Table | None:
    table = read_published()["ablation"]
    titles = {key: column.title for key, column in table.protocol.columns.items()}
    printed = {row.label: row.scores for row in table.rows}
    names = {row.name for row in report.rows}
    columns = [column for column in report.columns if column.key in BESIDE]
    if REFERENCE not in names:
        return None
    lines = []
    for name, label in PUBLISHED_ROWS.items():
        if name == REFERENCE or name not in names:
            continue
        cells = []
        for found in compare(report, name, REFERENCE):
            if (key := BESIDE.get(found.column.key)) is not None:
                published = printed[label][key] - printed[PUBLISHED_ROWS[REFERENCE]][key]
                ours = found.column.format(found.value.value, signed=True)
                cells += [Cell(f"{published:+}"), Cell(f"{ours}, {_direction(float(published), found)}")]
        lines.append(Line(name, "", tuple(cells)))
    headings = ["row minus " + REFERENCE]
    for column in columns:
        headings += [f"{titles[BESIDE[column.key]]}, published", f"{column.title}, here"]
    return Table(tuple(headings), tuple(lines)) if lines else None


def _direction(published: float, found: Difference) -> str:
    """Do both point the same way? A measure that is no interval is compared by its sign."""
    if found.verdict in (NOISE, CHANCE):
        return found.verdict
    return "same way" if (found.value.value > 0) == (published > 0) else "other way"


def _costs(result: AblationResult) -> Table:
    lines = [
        Line(cost.name, "", (Cell(f"{cost.images:,}"), Cell(f"{cost.minutes:.1f}"), Cell(cost.hardware)))
        for cost in result.costs
    ]
    return Table(("run", "images", "minutes", "hardware"), tuple(lines))


def _sum_of_costs(result: AblationResult) -> str:
    rows = {row.name for row in result.report.rows}
    ours = sum(cost.minutes for cost in result.costs if cost.name in rows)
    priors = sum(cost.minutes for cost in result.costs if cost.name not in rows)
    before = f", after {priors:.0f} minutes for the priors they build on" if priors else ""
    return f"Training all rows took {ours:.0f} minutes{before}, by the runs' own logs."
