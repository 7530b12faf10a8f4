"""A linear probe: multinomial logistic regression on frozen features, tested on what it has not seen.

Source: linear classification of frozen features is how He et al. (CVPR 2022) and those before them judge a
representation; the penalty that the training part chooses, and folds in place of one held-out set, are ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eval.scoring import OnProgress, no_progress
from eval.studies.recognition.encoders import Candidate, encode_images, image_statistics
from eval.studies.recognition.outcomes import Outcome
from eval.studies.recognition.task import RecognitionTask

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse penalties (scikit-learn's C) on standardised features
MAX_ITERATIONS = 2000


def probe_candidates(
    task: RecognitionTask,
    candidates: list[Candidate],
    *,
    seeds: range,
    cache_dir: Path,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> list[Outcome]:
    """Probe the baselines and every encoder; each image is tested once, by the probe of the other folds.

    Pre-trained encoders are probed once, random ones with every seed. For the other arguments see
    :func:`eval.studies.recognition.encoders.encode_images`.
    """
    tested = np.ones(len(task), bool)
    outcomes = baselines_of(task, tested)
    for candidate in candidates:
        predictions = []
        for seed in seeds if candidate.kind == "random" else seeds[:1]:
            features = encode_images(
                task, candidate, seed, cache_dir=cache_dir, device=device, on_progress=on_progress
            )
            predictions.append(predict_by_fold(features, task))
        names = (candidate.name, candidate.kind, candidate.architecture)
        outcomes.append(Outcome.of_predictions(task, tested, predictions, *names))
    return outcomes


def baselines_of(task: RecognitionTask, tested: NDArray[np.bool_]) -> list[Outcome]:
    """The majority class, and a probe of colour and sharpness alone; ``tested`` ``(N,)`` images count."""
    baselines = {
        "majority class": majority_by_fold(task),
        "colour and sharpness alone": predict_by_fold(image_statistics(task), task),
    }
    return [
        Outcome.of_predictions(task, tested, [predicted[tested]], name, "baseline")
        for name, predicted in baselines.items()
    ]


def predict_by_fold(features: NDArray[np.float32], task: RecognitionTask) -> NDArray[np.int64]:
    """The class that the probe of the other folds gives each image, ``(N,)``, from features ``(N, D)``.

    The penalty is chosen by cross-validation among the folds it learns from.
    """
    predicted = np.empty(len(task), np.int64)
    for fold in range(task.fold_count):
        learned, tested = task.folds != fold, task.folds == fold
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
        choices = {"logisticregression__C": STRENGTHS}
        search = GridSearchCV(probe, choices, cv=PredefinedSplit(task.folds[learned]))
        search.fit(features[learned], task.labels[learned])
        predicted[tested] = search.predict(features[tested])
    return predicted


def majority_by_fold(task: RecognitionTask) -> NDArray[np.int64]:
    """The most frequent class among the other folds, for each image, ``(N,)``."""
    others = [np.bincount(task.labels[task.folds != fold]).argmax() for fold in range(task.fold_count)]
    return np.array(others)[task.folds]
