"""The report of an ablation: scores, every row against the reference in plain words, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from eval.measures.statistics import BETTER, NOISE, WORSE, Difference, paired_difference
from eval.published import read_published
from eval.report.sections import Document, Section, in_words, warnings_of
from eval.report.tables import Line, Table, score_lines, scores_table, text_line, value_cell
from eval.results import Report, Row, Value, to_plain
from eval.studies.ablation import REFERENCE, SECOND_SEED, TITLES, Cost

CHANCE, NO_INTERVAL = "within seed variation", "no interval"
SEED_NOTE = (
    "An interval covers the choice of images, not the randomness of training. A row whose name ends in "
    f"{SECOND_SEED} is the one before it with another seed, and such a pair is compared by its mean. "
    f"A difference no larger than the largest between two seeds of a row is called {CHANCE}."
)
PUBLISHED_NOTE = (
    f"Published differences from {REFERENCE}. Their directions can be compared with those above, sqd with "
    "LPIPS and fmd with FID; sizes cannot. What the published PSNR is too high by cancels in a difference."
)
PUBLISHED_REFERENCE = "mixed masks, prior attention"
PUBLISHED_ROWS = {
    "no_attention": "mixed masks, no attention",
    "contextual": "mixed masks, trainable contextual attention",
    "random_prior": "random masks, prior attention",
}
"""Our rows and their labels in the published table."""


def ablation_document(report: Report, costs: Sequence[Cost]) -> Document:
    """Scores of the rows, how they compare, and what their training took."""
    names = [row.name for row in report.rows]
    sections = [
        Section("", text=f"Rows trained on an equal budget from one base. {SEED_NOTE}"),
        Section("", table=scores_table(report)),
        *warnings_of(report),
        Section("The rows", entries=tuple((name, TITLES[name]) for name in names if name in TITLES)),
    ]
    compared = {}
    if REFERENCE in names and len(names) > 1:
        others = [name for name in names if name != REFERENCE and not _is_second_seed(report, name)]
        compared = {name: compare(report, name) for name in others}
        sections.append(_differences_table(report, compared))
        text = f"{PUBLISHED_NOTE} Source: {read_published()['ablation'].source}."
        sections.append(Section("The published ablation", text=text, table=_published_differences()))
    sections.append(_costs(costs, rows=names))
    plain = {"report": to_plain(report), f"against {REFERENCE}": compared, "costs": costs}
    return Document("Ablation", sections, plain, score_lines(report), report)


def compare(report: Report, row: str) -> list[Difference]:
    """``row`` minus the reference in every measure both have, each the mean of its two seeds if it has them.

    Beside the usual verdicts there are no interval (a measure of the whole set), and within seed variation:
    no larger than the largest difference between two runs of one row.
    """
    seeds: dict[str, float] = {}
    for name in (row.name for row in report.rows if _is_second_seed(report, row.name)):
        for found in _differences(report, report.row(name), report.row(name.removesuffix(SECOND_SEED))):
            seeds[found.column.key] = max(seeds.get(found.column.key, 0.0), abs(found.value.value))
    differences = []
    for found in _differences(report, _mean_of_seeds(report, row), _mean_of_seeds(report, REFERENCE)):
        if found.verdict != NOISE and abs(found.value.value) <= seeds.get(found.column.key, 0.0):
            found = replace(found, verdict=CHANCE)
        elif found.value.low is None:
            found = replace(found, verdict=NO_INTERVAL)
        differences.append(found)
    return differences


def _is_second_seed(report: Report, name: str) -> bool:
    first = name.removesuffix(SECOND_SEED)
    return first != name and first in (row.name for row in report.rows)


def _mean_of_seeds(report: Report, name: str) -> Row:
    """A row, its values the means of its two runs if there are two; without the images' bins."""
    rows = [row for row in report.rows if row.name in (name, name + SECOND_SEED)]
    if len(rows) == 1:
        return rows[0]
    first, second = rows
    values = {key: Value((value.value + second.values[key].value) / 2) for key, value in first.values.items()}
    images = [
        replace(image, values={key: (value + twin.values[key]) / 2 for key, value in image.values.items()})
        for image, twin in zip(first.images, second.images, strict=True)
    ]
    return replace(first, values=values, images=tuple(images), bins=())


def _differences(report: Report, row: Row, other: Row) -> list[Difference]:
    found = (paired_difference(row, other, column) for column in report.columns)
    return [each for each in found if each is not None]


def sentence(row: str, differences: Sequence[Difference]) -> str:
    """In words, such as "layer6: better in SSIM; within sampling error in PSNR, sqd"."""
    return f"{row}: {in_words(differences, (BETTER, WORSE, NOISE, CHANCE, NO_INTERVAL))}."


def _differences_table(report: Report, compared: Mapping[str, list[Difference]]) -> Section:
    lines = [
        Line(
            row,
            "",
            tuple(value_cell(d.value, d.column, signed=True, best=d.verdict == BETTER) for d in found),
        )
        for row, found in compared.items()
    ]
    table = Table(("row", *(column.heading for column in report.columns)), tuple(lines))
    sentences = tuple(("", sentence(row, found)) for row, found in compared.items())
    return Section(f"Differences from {REFERENCE}", table=table, entries=sentences)


def _published_differences() -> Table:
    table = read_published()["ablation"]
    columns, printed = table.protocol.columns, {row.label: row for row in table.rows}

    def score(label: str, key: str) -> Decimal:
        return table.score(printed[label], key) or Decimal(0)

    lines = []
    for name, label in PUBLISHED_ROWS.items():
        texts = (f"{score(label, key) - score(PUBLISHED_REFERENCE, key):+}" for key in columns)
        lines.append(text_line(name, texts))
    return Table(("row minus " + REFERENCE, *(column.title for column in columns.values())), tuple(lines))


def _costs(costs: Sequence[Cost], rows: Sequence[str]) -> Section:
    ours = sum(cost.minutes for cost in costs if cost.name in rows)
    priors = sum(cost.minutes for cost in costs if cost.name not in rows)
    before = f", after {priors:.0f} minutes for the priors they build on" if priors else ""
    text = f"Training all rows took {ours:.0f} minutes{before}, by the runs' own logs."
    lines = [text_line(c.name, (f"{c.images:,}", f"{c.minutes:.1f}", c.hardware)) for c in costs]
    table = Table(("run", "images", "minutes", "hardware"), tuple(lines))
    return Section("What it cost", text=text, table=table)
