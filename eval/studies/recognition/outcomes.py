"""Which images were recognised, in how many runs, and how sure the shares are.

An interval covers what would have been otherwise: the images, drawn again by whole groups, and the runs,
drawn again among those there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from eval.measures.statistics import RESAMPLES
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
Measured = NDArray[np.float64]
"""``(R, 2)`` or ``(2,)``: accuracy and balanced accuracy."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One row: S runs, tested on T images.

    Attributes:
        name: as the tables print it.
        kind: what stands behind it.
        correct: (S, T) bool.
        labels: (T,) classes of the images tested.
        groups: (T,) which belong together.
        architecture: of the network; empty for a baseline.
    """

    name: str
    kind: Literal["baseline", "pre-trained", "random"]
    correct: NDArray[np.bool_]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    architecture: str = ""

    @classmethod
    def of_predictions(
        cls,
        name: str,
        kind: Literal["baseline", "pre-trained", "random"],
        predictions: Sequence[NDArray[np.int64]],
        task: RecognitionTask,
        tested: NDArray[np.bool_],
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
        cells = label_numbers * len(groups) + group_numbers
        shape = (len(labels), len(groups))
        pictures = np.bincount(cells, minlength=len(labels) * len(groups)).reshape(shape)
        hits = np.stack(
            [
                np.bincount(cells, run, minlength=len(labels) * len(groups)).reshape(shape)
                for run in self.correct
            ]
        )
        of_groups, of_runs = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
        found = np.empty((RESAMPLES, 2))
        for resample in found:
            times = np.bincount(of_groups.integers(len(groups), size=len(groups)), minlength=len(groups))
            runs = of_runs.integers(len(hits), size=len(hits))
            there, right = pictures @ times, (hits @ times)[runs].mean(axis=0)
            drawn = there > 0  # a class of few groups may be in none of those drawn
            resample[:] = right.sum() / there.sum(), (right[drawn] / there[drawn]).mean()
        return found


@dataclass(frozen=True)
class Difference:
    """A pre-trained encoder minus the same network untrained."""

    name: str
    other: str
    values: Mapping[str, Value]


def values_of(outcome: Outcome, seed: int) -> dict[str, Value]:
    """Both measures with their intervals, by column key."""
    return _with_intervals(outcome.measure(), outcome.resample(seed))


def differences_of(outcomes: Sequence[Outcome], seed: int) -> tuple[Difference, ...]:
    """Every pre-trained encoder against the random one of its architecture, on the same images."""
    return tuple(
        Difference(
            outcome.name,
            other.name,
            _with_intervals(
                outcome.measure() - other.measure(), outcome.resample(seed) - other.resample(seed)
            ),
        )
        for outcome in outcomes
        for other in outcomes
        if outcome.kind == "pre-trained"
        and (other.kind, other.architecture) == ("random", outcome.architecture)
    )


def _with_intervals(measured: Measured, resampled: Measured) -> dict[str, Value]:
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return {
        column.key: Value(float(measured[number]), float(low[number]), float(high[number]))
        for number, column in enumerate(COLUMNS)
    }
