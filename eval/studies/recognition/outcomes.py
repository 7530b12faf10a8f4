"""Which images were recognised, in how many runs, with intervals; and the report of it.

An interval covers other images, drawn again by whole groups, and other runs, drawn again among those made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from eval.measures.statistics import RESAMPLES, verdict_of
from eval.report.files import write_form
from eval.report.sections import Section, sections_to_markdown
from eval.report.tables import Cell, Line, Table, interval_text, value_cell
from eval.results import Column, Value
from eval.studies.recognition.task import RecognitionTask

COLUMNS = (
    Column("accuracy", "accuracy", 3, higher_is_better=True),
    Column("balanced_accuracy", "balanced accuracy", 3, higher_is_better=True),
)
INTERVAL = (
    f"95 %, percentile bootstrap, {RESAMPLES:,} resamples over groups of images and over a row's runs; "
    "differences are of the same images"
)
Kind = Literal["baseline", "pre-trained", "random"]
Measured = NDArray[np.float64]
"""``(R, 2)`` or ``(2,)``: accuracy and balanced accuracy."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One row: S runs, tested on T images.

    ``correct`` is (S, T) bool; ``labels`` and ``groups`` (T,) are of the images tested; ``architecture`` is
    empty for a baseline.
    """

    name: str
    kind: Kind
    correct: NDArray[np.bool_]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    architecture: str = ""

    @classmethod
    def of_predictions(
        cls,
        task: RecognitionTask,
        tested: NDArray[np.bool_],
        predictions: Sequence[NDArray[np.int64]],
        name: str,
        kind: Kind,
        architecture: str = "",
    ) -> Self:
        """Compare each run's predictions ``(T,)`` with the truth; ``tested`` ``(N,)`` are their images."""
        labels = task.labels[tested]
        correct = np.stack([prediction == labels for prediction in predictions])
        return cls(name, kind, correct, labels, task.groups[tested], architecture)

    def measure(self) -> Measured:
        """Accuracy and balanced accuracy (the mean over classes of the share recognised), over all runs."""
        hits = self.correct.mean(axis=0)
        of_classes = [hits[self.labels == label].mean() for label in np.unique(self.labels)]
        return np.array([hits.mean(), np.mean(of_classes)], np.float64)

    def resample(self, seed: int) -> Measured:
        """Both measures of each resample ``(R, 2)``.

        A seed draws the same images for every outcome of them, and runs of the same numbers for every
        outcome of equally many.
        """
        labels, label_numbers = np.unique(self.labels, return_inverse=True)
        groups, group_numbers = np.unique(self.groups, return_inverse=True)
        shape = (len(labels), len(groups))
        cells = label_numbers * len(groups) + group_numbers

        def count(weights: NDArray[np.bool_] | None = None) -> NDArray[Any]:
            return np.bincount(cells, weights, minlength=len(labels) * len(groups)).reshape(shape)

        images, hits = count(), np.stack([count(run) for run in self.correct])
        of_groups, of_runs = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
        found = np.empty((RESAMPLES, 2))
        for resample in found:
            times = np.bincount(of_groups.integers(len(groups), size=len(groups)), minlength=len(groups))
            runs = of_runs.integers(len(hits), size=len(hits))
            there, right = images @ times, (hits @ times)[runs].mean(axis=0)
            drawn = there > 0  # a class of few groups may be in none of those drawn
            resample[:] = right.sum() / there.sum(), (right[drawn] / there[drawn]).mean()
        return found


@dataclass(frozen=True)
class Difference:
    """A pre-trained encoder minus the same network untrained, by column key."""

    name: str
    other: str
    values: Mapping[str, Value]


def values_of(outcome: Outcome, seed: int, minus: Outcome | None = None) -> dict[str, Value]:
    """Both measures with their intervals by column key, or of a difference on the same images."""
    measured, resampled = outcome.measure(), outcome.resample(seed)
    if minus is not None:
        measured, resampled = measured - minus.measure(), resampled - minus.resample(seed)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    ends = zip(COLUMNS, measured.tolist(), low.tolist(), high.tolist(), strict=True)
    return {column.key: Value(*numbers) for column, *numbers in ends}


def differences_of(outcomes: Sequence[Outcome], seed: int) -> tuple[Difference, ...]:
    """Every pre-trained encoder against the random one of its architecture, on the same images."""
    return tuple(
        Difference(outcome.name, other.name, values_of(outcome, seed, minus=other))
        for outcome in outcomes
        for other in outcomes
        if outcome.kind == "pre-trained"
        and (other.kind, other.architecture) == ("random", outcome.architecture)
    )


def make_report(
    title: str, outcomes: Sequence[Outcome], task: RecognitionTask, *, seed: int, facts: Mapping[str, str]
) -> dict[str, Any]:
    """Measure outcomes of the same images, baselines first, and compare them.

    Returns:
        ``title``, ``tested`` (images), ``scores``, ``differences`` and ``facts``.
    """
    counts = np.bincount(task.labels).tolist()
    classes = ", ".join(f"{name} {count}" for name, count in zip(task.classes, counts, strict=True))
    size = task.photos.photos.shape[-1]
    return {
        "title": title,
        "tested": len(outcomes[0].labels),
        "scores": [
            {"name": o.name, "kind": o.kind, "runs": len(o.correct), "values": values_of(o, seed)}
            for o in outcomes
        ],
        "differences": differences_of(outcomes, seed),
        "facts": {
            "Images": f"N = {len(task)} ({classes}), centre squares at {size} x {size}; "
            f"{task.photos.skipped} could not be read",
            "Split": f"{task.fold_count} folds, {len(np.unique(task.groups))} groups that stay together",
            **facts,
            "Intervals": INTERVAL,
            "Hash of the images": task.images_hash,
            "Hash of classes and split": task.split_hash,
            "Versions": f"torch {torch.__version__}, scikit-learn {sklearn.__version__}",
        },
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown, ending in a newline."""
    lines = []
    for score in report["scores"]:
        cells = [Cell(str(score["runs"])), Cell(str(report["tested"]))]
        for column in COLUMNS:
            value = score["values"][column.key]
            best = max(other["values"][column.key].value for other in report["scores"])
            cells.append(value_cell(value, column, best=value.value == best))
        lines.append(Line(score["name"], "baseline" if score["kind"] == "baseline" else "", tuple(cells)))
    headings = ("", "runs", "tested", *(column.heading for column in COLUMNS))
    sections = [Section("", table=Table(headings, tuple(lines)))]
    for found in report["differences"]:
        verdicts = []
        for column in COLUMNS:
            value = found.values[column.key]
            numbers = f"{column.format(value.value, signed=True)} {interval_text(value, column, signed=True)}"
            verdicts.append(("", f"{verdict_of(value, column)} in {column.title}: {numbers}"))
        sections.append(Section(f"{found.name} minus {found.other}", entries=tuple(verdicts)))
    sections.append(Section("What was measured", entries=tuple(report["facts"].items())))
    return f"# {report['title']}\n\n{sections_to_markdown(sections)}"


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as Markdown or JSON, by the file's suffix; atomic.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    write_form(report, path, {".md": to_markdown, ".json": dict})
