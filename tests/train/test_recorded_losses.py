"""The smoke configs still give the losses they gave before the loop was rewritten, at commit 4613656.

Recorded in float32 on one thread: the means of the first line of `stats.jsonl`, for acr with a seeded random
prior in place of the one that `smoke_mae.toml` trains, and with all losses from the second step on.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from inpaint.checkpoint import save_checkpoint
from inpaint.models.presets import build_mae
from inpaint.train.config import read_config
from inpaint.train.fit import fit
from inpaint.train.monitor import Progress
from tests.train.tiny_runs import curve

CONFIGS = Path(__file__).parents[2] / "configs"
RECORDED = {
    "mae": {"images_seen": 320, "loss": 1.4101964950561523, "gradient_norm": 1.1343382835388183},
    "fcmae": {"images_seen": 320, "loss": 1.0923327445983886, "gradient_norm": 0.05058370232582092},
    "acr": {
        "images_seen": 64, "l1": 1.8322707414627075, "perceptual": 0.41045403480529785,
        "loss": 2.458838701248169, "hole_error": 0.06021793559193611, "discriminator": 1.3967742919921875,
        "adversarial": 0.6892433961232504, "feature_matching": 0.2192275126775106, "r1": 15.143085479736328,
    },
}  # fmt: skip


class EnoughError(Exception):
    """Ends a run after its first line."""


@pytest.mark.parametrize("kind", RECORDED)
def test_losses_are_those_recorded(kind, tmp_path):
    changes: dict[str, Any] = {"out": tmp_path / "run", "precision": "float32"}
    if kind == "acr":
        torch.manual_seed(0)
        save_checkpoint(tmp_path / "prior.safetensors", build_mae("mae-tiny"))
        changes |= {
            "prior_checkpoint": None,
            "perceptual_weights": tmp_path / "prior.safetensors",
            "adversarial_after_images": 16,
            "r1_every": 2,
            "log_every": 4,
        }
    config = dataclasses.replace(read_config(CONFIGS / f"smoke_{kind}.toml"), **changes)

    def stop(_: Progress) -> None:
        raise EnoughError

    threads = torch.get_num_threads()
    with pytest.raises(EnoughError):
        fit(config, stop)
    torch.set_num_threads(threads)
    (first,) = curve(config.out)
    assert first == pytest.approx(RECORDED[kind], rel=1e-3)
