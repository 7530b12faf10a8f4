"""The fixed validation protocol: which images, which masks, what size.

Images of ``DATA/val/images`` sorted by name, centre-cropped to a square, resized to 256 x 256 (Lanczos).
Image i has mask i of ``DATA/masks/published-test-1000.zip`` sorted by name. A fill is rounded to 8 bits and
composited before anything is measured, with the feature networks of ``DATA/metrics``.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from eval.measures.protocols import build_measures
from eval.results import Report
from eval.scoring import score
from eval.tasks.methods import Method
from eval.tasks.pairs import Task, find_task

PROTOCOL = "validation"
MASKS_FILE = Path("masks/published-test-1000.zip")


def find_validation_task(data: Path, limit: int | None = None) -> Task:
    """The images and masks of the protocol, of a training data folder; see :func:`find_task`."""
    return find_task(data / "val/images", data / MASKS_FILE, size=256, cycle_masks=True, limit=limit)


def validate_methods(
    data: Path,
    methods: Sequence[Method],
    device: torch.device,
    *,
    limit: int | None = None,
    weights: Sequence[Path] = (),
    lpips: Sequence[str] = (),
    fid: Sequence[str] = (),
    **options: Any,
) -> Report:
    """Score methods by the fixed validation protocol; folders of ``weights`` come before ``DATA/metrics``.

    For the other options, and for errors, see :func:`find_task`, :func:`build_measures` and :func:`score`.
    """
    task = find_validation_task(data, limit)
    folders = (*weights, *filter(Path.is_dir, [data / "metrics"]))
    measures = build_measures(PROTOCOL, weights=folders, lpips=lpips, fid=fid, device=device)
    with tempfile.TemporaryDirectory() as temporary:
        options |= {"cache_dir": Path(temporary), "device": device}
        return score(task, methods, measures, protocol=PROTOCOL, **options)
