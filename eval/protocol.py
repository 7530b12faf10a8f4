"""The fixed validation protocol: which pictures, which masks, what size.

Pictures of ``DATA/val/images`` sorted by name, centre-cropped to a square, resized to 256 x 256 (Lanczos).
Picture i has mask i of ``DATA/masks/published-test-1000.zip`` sorted by name. A fill is rounded to 8 bits and
composited before anything is measured, with the feature networks of ``DATA/metrics``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from eval.measures import build_measures
from eval.methods import FLOORS, Fill, Method
from eval.pairs import Task, find_task
from eval.results import Report
from eval.scoring import OnProgress, no_progress, score

PROTOCOL = "validation"
SIZE = 256
IMAGES_FOLDER = Path("val/images")
MASKS_FILE = Path("masks/published-test-1000.zip")
NETWORKS_FOLDER = Path("metrics")


def find_validation_task(data: Path, limit: int | None = None) -> Task:
    """The pictures and masks of the protocol.

    Args:
        data: the training data folder.
        limit: take only so many pictures, evenly spread over the sorted names; each keeps its own mask.

    Raises:
        DataError: something is missing or cannot be read.
    """
    return find_task(data / IMAGES_FOLDER, data / MASKS_FILE, size=SIZE, cycle_masks=True, limit=limit)


def validate_models(
    data: Path,
    fills: Mapping[str, Fill],
    device: torch.device,
    *,
    limit: int | None = None,
    save: Path | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Score fills by the fixed validation protocol.

    Args:
        data: the training data folder.
        fills: rows of the table, in its order; the names of ``FLOORS`` are the floors.
        device: where the fills compute, and the measures.
        limit: only so many pictures, evenly spread.
        save: folder for the composites as PNG, one folder a fill.
        on_progress: called with what is scored, how many pictures are done, and of how many.

    Raises:
        InpaintError: data or networks are missing or cannot be read, or a fill fails.
    """
    methods = [Method(name, "floor" if name in FLOORS else "model", fill) for name, fill in fills.items()]
    return validate_methods(data, methods, device, limit=limit, save=save, on_progress=on_progress)


def validate_methods(
    data: Path,
    methods: Sequence[Method],
    device: torch.device,
    *,
    limit: int | None = None,
    save: Path | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """As :func:`validate_models`, of methods that know their own kind and origin."""
    task = find_validation_task(data, limit)
    measures = build_measures(PROTOCOL, feature_networks=data / NETWORKS_FOLDER, device=device)
    with tempfile.TemporaryDirectory() as work:
        return score(
            task,
            methods,
            measures,
            protocol=PROTOCOL,
            work=Path(work),
            device=device,
            save=save,
            on_progress=on_progress,
        )
