"""Which images were recognised, in how many runs, with intervals; and the report of it.

An interval covers other images, drawn again by whole groups, and other runs, drawn again among those made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from eval.measures.statistics import RESAMPLES, verdict_of
from eval.report.sections import Document, Section
from eval.report.tables import Cell, Line, Table, value_cell
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


@dataclass(frozen=True, eq=False)
class Outcome:
    """One row: S runs, tested on T images."""

    name: str
    kind: Kind
    predicted: NDArray[np.int64]  # (S, T), the class that each run gave each image
    labels: NDArray[np.int64]  # (T,), the truth
    groups: NDArray[np.int64]  # (T,)
    architecture: str = ""  # of no baseline

    @property
    def correct(self) -> NDArray[np.bool_]:
        """``(S, T)``: which runs recognised which images."""
        return self.predicted == self.labels

    def measure(self) -> NDArray[np.float64]:
        """Accuracy and balanced accuracy (the mean over classes of the share recognised), over all runs."""
        hits = self.correct.mean(axis=0)
        of_classes = [hits[self.labels == label].mean() for label in np.unique(self.labels)]
        return np.array([hits.mean(), np.mean(of_classes)], np.float64)

    def resample(self, seed: int) -> NDArray[np.float64]:
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


def values_of(outcome: Outcome, seed: int, minus: Outcome | None = None) -> dict[str, Value]:
    """Both measures with their intervals by column key, or of a difference on the same images."""
    measured, resampled = outcome.measure(), outcome.resample(seed)
    if minus is not None:
        measured, resampled = measured - minus.measure(), resampled - minus.resample(seed)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    ends = zip(COLUMNS, measured.tolist(), low.tolist(), high.tolist(), strict=True)
    return {column.key: Value(*numbers) for column, *numbers in ends}


def untrained_twin(outcome: Outcome, outcomes: Sequence[Outcome]) -> Outcome | None:
    """Of a pre-trained encoder the random one of its architecture, if it was tested."""
    twins = (o for o in outcomes if (o.kind, o.architecture) == ("random", outcome.architecture))
    return next(twins, None) if outcome.kind == "pre-trained" else None


def recognition_document(
    title: str, outcomes: Sequence[Outcome], task: RecognitionTask, *, seed: int, facts: Mapping[str, str]
) -> Document:
    """Outcomes of the same images, the baseline first; pre-trained encoders compared with untrained ones."""
    values = [values_of(outcome, seed) for outcome in outcomes]
    best = {c.key: max(found[c.key].value for found in values) for c in COLUMNS}
    lines, scores, verdicts, differences = [], [], [], []
    for outcome, found in zip(outcomes, values, strict=True):
        runs, tested = outcome.correct.shape
        cells = (value_cell(found[c.key], c, best=found[c.key].value == best[c.key]) for c in COLUMNS)
        remark = "baseline" if outcome.kind == "baseline" else ""
        lines.append(Line(outcome.name, remark, (Cell(str(runs)), Cell(str(tested)), *cells)))
        scores.append({"name": outcome.name, "kind": outcome.kind, "runs": runs, "values": found})
        if (twin := untrained_twin(outcome, outcomes)) is not None:
            apart = values_of(outcome, seed, minus=twin)
            entries = []
            for column in COLUMNS:
                cell = value_cell(apart[column.key], column, signed=True)
                verdict = verdict_of(apart[column.key], column)
                entries.append(("", f"{verdict} in {column.title}: {cell.text} {cell.interval}"))
            verdicts.append(Section(f"{outcome.name} minus {twin.name}", entries=tuple(entries)))
            differences.append({"name": outcome.name, "other": twin.name, "values": apart})
    headings = ("", "runs", "tested", *(column.heading for column in COLUMNS))
    facts = {
        **_facts_of(task),
        **facts,
        "Intervals": INTERVAL,
        "Hash of the images": task.images_hash,
        "Hash of classes and split": task.split_hash,
        "Versions": f"torch {torch.__version__}, scikit-learn {sklearn.__version__}",
    }
    sections = [Section("", table=Table(headings, tuple(lines))), *verdicts]
    sections.append(Section("What was measured", entries=tuple(facts.items())))
    plain = {"title": title, "tested": len(outcomes[0].labels), "scores": scores}
    return Document(title, sections, plain | {"differences": differences, "facts": facts})


def _facts_of(task: RecognitionTask) -> dict[str, str]:
    counts = zip(task.classes, np.bincount(task.labels).tolist(), strict=True)
    size = task.photos.photos.shape[-1]
    return {
        "Images": f"N = {len(task)} ({', '.join(f'{name} {count}' for name, count in counts)}), centre "
        f"squares at {size} x {size}; {task.photos.skipped} could not be read",
        "Split": f"{task.fold_count} folds, {len(np.unique(task.groups))} groups that stay together",
    }
