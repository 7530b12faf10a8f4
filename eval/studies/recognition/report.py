"""The report of a recognition check: shares with intervals, pre-trained against random, how to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn
import torch

from eval.report.files import to_json, write_form
from eval.report.markdown import sections_to_markdown
from eval.report.sections import Section
from eval.report.tables import Cell, Line, Table, interval_text, value_cell
from eval.results import Value
from eval.studies.recognition.outcomes import (
    COLUMNS,
    INTERVAL,
    Difference,
    Outcome,
    differences_of,
    values_of,
)
from eval.studies.recognition.task import RecognitionTask

SUFFIXES = (".md", ".json")


@dataclass(frozen=True)
class Score:
    """One row: its name, what stands behind it, how many runs, and the measures by column key."""

    name: str
    kind: str
    runs: int
    values: Mapping[str, Value]


@dataclass(frozen=True)
class RecognitionReport:
    """What was measured, as plain data.

    Attributes:
        title: of the check.
        tested: images that the shares are of.
        scores: baselines first.
        differences: pre-trained minus random.
        facts: how it was measured, and what it takes to repeat it.
    """

    title: str
    tested: int
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    facts: Mapping[str, str]


def make_report(
    title: str,
    outcomes: Sequence[Outcome],
    task: RecognitionTask,
    *,
    seed: int,
    facts: Mapping[str, str],
) -> RecognitionReport:
    """Measure outcomes and compare them.

    Args:
        title: of the check.
        outcomes: all of the same images.
        task: that they are of.
        seed: of the resamples.
        facts: what the reader must know beside what the task says itself.
    """
    counts = np.bincount(task.labels).tolist()
    classes = ", ".join(f"{name} {count}" for name, count in zip(task.classes, counts, strict=True))
    size = task.photos.photos.shape[-1]
    return RecognitionReport(
        title=title,
        tested=len(outcomes[0].labels),
        scores=tuple(Score(o.name, o.kind, len(o.correct), values_of(o, seed)) for o in outcomes),
        differences=differences_of(outcomes, seed),
        facts={
            "Images": f"N = {len(task)} ({classes}), centre squares at {size} x {size}; "
            f"{task.photos.skipped} could not be read",
            "Split": f"{task.fold_count} folds, {len(np.unique(task.groups))} groups that stay together",
            **facts,
            "Intervals": INTERVAL,
            "Hash of the images": task.pictures_hash,
            "Hash of classes and split": task.split_hash,
            "Versions": f"torch {torch.__version__}, scikit-learn {sklearn.__version__}",
        },
    )


def to_markdown(report: RecognitionReport) -> str:
    """The report as Markdown, ending in a newline."""
    headings = ("", "runs", "tested", *(column.heading for column in COLUMNS))
    sections = [Section("", table=Table(headings, tuple(map(_line_of(report), report.scores))))]
    for found in report.differences:
        verdicts = [
            f"{_judge(found.values[column.key])} in {column.title}: "
            f"{column.format(found.values[column.key].value, signed=True)} "
            f"{interval_text(found.values[column.key], column, signed=True)}"
            for column in COLUMNS
        ]
        sections.append(
            Section(f"{found.name} minus {found.other}", entries=tuple(("", v) for v in verdicts))
        )
    sections.append(Section("What was measured", entries=tuple(report.facts.items())))
    return f"# {report.title}\n\n{sections_to_markdown(sections)}"


def write_report(report: RecognitionReport, path: Path) -> None:
    """Write the report as Markdown or JSON, by the file's suffix; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    write_form(report, path, {".md": to_markdown, ".json": lambda report: to_json(asdict(report))})


def _line_of(report: RecognitionReport) -> Callable[[Score], Line]:
    best = {column.key: max(s.values[column.key].value for s in report.scores) for column in COLUMNS}

    def line(score: Score) -> Line:
        values = [
            value_cell(score.values[c.key], c, best=score.values[c.key].value == best[c.key]) for c in COLUMNS
        ]
        counts = (Cell(str(score.runs)), Cell(str(report.tested)))
        return Line(score.name, "baseline" if score.kind == "baseline" else "", (*counts, *values))

    return line


def _judge(difference: Value) -> str:
    """An interval that holds zero decides nothing."""
    assert difference.low is not None and difference.high is not None
    if difference.low <= 0 <= difference.high:
        return "within sampling error"
    return "better" if difference.value > 0 else "worse"
