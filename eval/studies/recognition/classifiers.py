"""Classifiers on an encoder: a linear probe of its frozen features, and a short fine-tune of all of it.

The probe is multinomial logistic regression, tested on what it has not seen: linear classification of frozen
features is how He et al. (CVPR 2022) and those before them judge a representation; the penalty that the
training part chooses, and folds in place of one held-out set, are ours.

The fine-tune trains the encoder and a linear layer on its pooled features. Those are standardised by the
batch first, as in He et al., appendix A: between images those of a trained encoder may differ by a tenth of
their size, which a short run would hardly come to see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from eval.scoring import OnProgress
from eval.studies.recognition.encoders import IMAGES_AT_ONCE, Candidate, encode_images
from eval.studies.recognition.outcomes import Outcome
from eval.studies.recognition.task import RecognitionTask
from inpaint.data.crops import random_boxes
from inpaint.data.randomness import indices_at, make_generator, random_rows
from inpaint.errors import InpaintError
from inpaint.train.optimise import decay_groups, schedule_factor

HELD_OUT = 0  # the fold that is tested
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse penalties (scikit-learn's C) on standardised features
MAX_ITERATIONS = 2000


def probe_candidates(
    task: RecognitionTask, candidates: Sequence[Candidate], *, seeds: range, **where: Any
) -> list[Outcome]:
    """Probe every encoder; each image is tested once, by the probe of the other folds.

    Pre-trained encoders are probed once, random ones with every seed; the majority class stands before them.
    ``where`` is of :func:`encode_images`.
    """
    outcomes = [majority_class(task, np.ones(len(task), bool))]
    for candidate in candidates:
        predictions = [
            predict_by_fold(encode_images(task, candidate, seed, **where), task)
            for seed in (seeds if candidate.kind == "random" else seeds[:1])
        ]
        truth = (task.labels, task.groups, candidate.architecture)
        outcomes.append(Outcome(candidate.name, candidate.kind, np.stack(predictions), *truth))
    return outcomes


def majority_class(task: RecognitionTask, tested: NDArray[np.bool_]) -> Outcome:
    """The baseline: the most frequent class of the other folds; ``tested`` ``(N,)`` images count."""
    others = [np.bincount(task.labels[task.folds != fold]).argmax() for fold in range(task.fold_count)]
    predicted = np.array(others)[task.folds][None, tested]
    return Outcome("majority class", "baseline", predicted, task.labels[tested], task.groups[tested])


def predict_by_fold(features: NDArray[np.float32], task: RecognitionTask) -> NDArray[np.int64]:
    """The class that the probe of the other folds gives each image, ``(N,)``, from features ``(N, D)``."""
    predicted = np.empty(len(task), np.int64)
    for fold in range(task.fold_count):
        learned, tested = task.folds != fold, task.folds == fold
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
        choices = {"logisticregression__C": STRENGTHS}
        # The penalty is chosen by cross-validation among the folds it learns from.
        search = GridSearchCV(probe, choices, cv=PredefinedSplit(task.folds[learned]))
        search.fit(features[learned], task.labels[learned])
        predicted[tested] = search.predict(features[tested])
    return predicted


@dataclass(frozen=True)
class FineTuning:
    """How long and how fast; the same for every encoder."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of the steps; half a cosine follows, to zero
    min_scale: float = 0.5  # smallest area of the random crops, as a share; half of them are mirrored


def fine_tune_candidates(
    task: RecognitionTask, candidates: Sequence[Candidate], settings: FineTuning, seeds: range, **where: Any
) -> list[Outcome]:
    """Fine-tune every encoder once for each seed, and test it on the first fold, beside the majority class.

    ``where`` is of :func:`fine_tune`.
    """
    tested = task.folds == HELD_OUT
    outcomes = [majority_class(task, tested)]
    for candidate in candidates:
        runs = [fine_tune(task, candidate, settings, seed, **where) for seed in seeds]
        truth = (task.labels[tested], task.groups[tested], candidate.architecture)
        outcomes.append(Outcome(candidate.name, candidate.kind, np.stack(runs), *truth))
    return outcomes


def fine_tune(
    task: RecognitionTask,
    candidate: Candidate,
    settings: FineTuning,
    seed: int,
    device: torch.device,
    on_progress: OnProgress = lambda *_: None,
) -> NDArray[np.int64]:
    """Fine-tune one encoder; the class it gives each image held out, ``(T,)``.

    A CUDA device multiplies in bfloat16, others in float32. InpaintError if numbers stop being finite.
    """
    encoder = candidate.build(seed).train()
    head = nn.Linear(encoder.width, len(task.classes))
    nn.init.trunc_normal_(head.weight, std=0.02, generator=make_generator(seed, "head", 0))
    nn.init.zeros_(head.bias)
    classifier = nn.Sequential(encoder, nn.BatchNorm1d(encoder.width, affine=False), head).to(device)
    optimizer = torch.optim.AdamW(decay_groups(classifier, settings.weight_decay))
    precision = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    photos, labels = task.photos.to(device), torch.from_numpy(task.labels).to(device)
    learned = torch.from_numpy(np.flatnonzero(task.folds != HELD_OUT))
    total = settings.steps * settings.batch_size
    for seen in range(0, total, settings.batch_size):
        on_progress(f"fine-tuning {candidate.name}, seed {seed}", seen, total)
        draws = random_rows(seed, "crops", seen, settings.batch_size, 5)
        boxes = random_boxes(draws, *photos.photos.shape[-2:], min_scale=settings.min_scale)
        chosen = learned[indices_at(len(learned), settings.batch_size, seed=seed, images_seen=seen)]
        image = photos.crop(chosen, boxes, draws[:, 4] < 0.5, size=candidate.size, device=device)
        warmup = settings.warmup * total
        factor = schedule_factor("cosine", seen + settings.batch_size, total, warmup=warmup)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        with precision:
            logits = classifier(image)
        loss = F.cross_entropy(logits.float(), labels[chosen.to(device)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    on_progress(f"fine-tuning {candidate.name}, seed {seed}", total, total)

    classifier.eval()
    predicted = []
    with torch.inference_mode(), precision:
        for numbers in torch.from_numpy(np.flatnonzero(task.folds == HELD_OUT)).split(IMAGES_AT_ONCE):
            logits = classifier(photos.photos[numbers.to(photos.photos.device)].to(device).float() / 255)
            if not logits.isfinite().all():
                raise InpaintError(
                    f"{candidate.name} ended with numbers that are not finite; expected a lower "
                    f"--learning-rate than {settings.learning_rate:g}"
                )
            predicted.append(logits.argmax(dim=1).cpu())
    return torch.cat(predicted).numpy()
