"""Reference cases of the training data: the order of sizes."""

from __future__ import annotations

import numpy as np

from inpaint.data.crops import cycling_sizes
from tests.golden_cases.case import Case


def check_sizes(case: Case) -> dict[str, np.ndarray]:
    """Sides of the batches of an epoch, as runs of equal sides; the first so many runs are stored."""
    ours = {}
    for number, setting in enumerate(case.config["cases"]):
        batch_size = setting["batch_size_per_gpu"] * setting["world_size"]
        sizes = cycling_sizes(setting["n_images"], batch_size, setting["round"], 256, 512)
        assert len(sizes) == setting["n_batches"]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(sizes)) + 1])
        stored = case.outputs[f"run_start_{number}"]["shape"][0]
        ours[f"run_start_{number}"] = starts[:stored]
        ours[f"run_size_{number}"] = sizes[starts][:stored]
    return ours
