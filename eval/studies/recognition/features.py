"""One vector an image: of an encoder, kept on disk as it is computed, or of colour and sharpness alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from eval.scoring import OnProgress, no_progress
from eval.studies.recognition.encoders import Candidate
from eval.studies.recognition.task import RecognitionTask
from eval.tasks.cache import ResultCache

_PICTURES_AT_ONCE = 32


@torch.inference_mode()
def encode_pictures(
    task: RecognitionTask,
    candidate: Candidate,
    seed: int,
    *,
    cache_dir: Path,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> NDArray[np.float32]:
    """The features of every image, in float32; what an earlier run kept is not computed again.

    Args:
        task: the images.
        candidate: the encoder.
        seed: of its weights, where they are random.
        cache_dir: folder for the features.
        device: where to compute.
        on_progress: called with what is being done, how many images are done, and of how many.

    Returns:
        ``(N, D)``.

    Raises:
        DataError: they cannot be kept.
    """
    encoder = candidate.build(seed).to(device).eval()
    identity = {
        "encoder": candidate.identity + (f" seed {seed}" if candidate.kind == "random" else ""),
        "architecture": candidate.architecture,
        "images": task.pictures_hash,
    }
    name = f"features-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}"
    cache = ResultCache(cache_dir, name, identity, {"features": encoder.width})
    for start in range(len(cache), len(task), _PICTURES_AT_ONCE):
        on_progress(f"features of {candidate.name}, seed {seed}", start, len(task))
        end = min(start + _PICTURES_AT_ONCE, len(task))
        image = task.photos.photos[start:end].to(device).float() / 255
        features = encoder(image).float().cpu().numpy()
        cache.append([{"image": name} for name in task.photos.names[start:end]], {"features": features})
    on_progress(f"features of {candidate.name}, seed {seed}", len(task), len(task))
    return np.array(cache.features()["features"])


def picture_statistics(task: RecognitionTask) -> NDArray[np.float32]:
    """What a source of photos can give away without any content: colour, contrast, sharpness.

    Returns:
        ``(N, 8)``: mean and deviation of each colour, and the mean absolute difference of neighbours in
        brightness, at full and at half size.
    """
    found = []
    for start in range(0, len(task), _PICTURES_AT_ONCE):
        image = task.photos.photos[start : start + _PICTURES_AT_ONCE].float() / 255
        deviation, mean = torch.std_mean(image, dim=(2, 3))
        grey = image.mean(dim=1, keepdim=True)
        differences = [
            level.diff(dim=2).abs().mean((1, 2, 3)) + level.diff(dim=3).abs().mean((1, 2, 3))
            for level in (grey, F.avg_pool2d(grey, 2))
        ]
        found.append(torch.cat([mean, deviation, torch.stack(differences, dim=1)], dim=1))
    return torch.cat(found).numpy()
