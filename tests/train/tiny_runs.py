"""Runs of a few steps with tiny networks, for the tests of the training loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inpaint.train.config import (
    AcrRunConfig,
    FcmaeRunConfig,
    LossWeights,
    MaeRunConfig,
    RunConfig,
    plain_config,
)

STEPS, BATCH = 6, 4


def mae_config(photos: Path, out: Path, **changes) -> MaeRunConfig:
    return MaeRunConfig(**(_prior_settings(photos, out) | {"preset": "mae-tiny"} | changes))


def fcmae_config(photos: Path, out: Path, **changes) -> FcmaeRunConfig:
    return FcmaeRunConfig(**(_prior_settings(photos, out) | {"preset": "fcmae-tiny"} | changes))


def _prior_settings(photos: Path, out: Path) -> dict[str, Any]:
    return dict(
        name="tiny", out=out, photos=(photos,), photo_size=64, size=64, batch_size=BATCH,
        images=STEPS * BATCH, learning_rate=1e-3, schedule="constant", device="cpu", log_every=1,
    )  # fmt: skip


def acr_config(photos: Path, out: Path, perceptual_weights: Path, **changes) -> AcrRunConfig:
    """Every loss there is, R1 in every other step, the discriminator from the second step on."""
    settings = dict(
        name="tiny", preset="acr-tiny", out=out, photos=(photos,), photo_size=64, size=64, batch_size=BATCH,
        images=STEPS * BATCH, learning_rate=1e-3, schedule="constant", device="cpu", log_every=1,
        discriminator_width=4, r1_every=2, adversarial_after_images=BATCH,
        perceptual_weights=perceptual_weights,
        weights=LossWeights(adversarial=0.1, feature_matching=1.0, perceptual=1.0, l1_hole=10.0),
    )  # fmt: skip
    return AcrRunConfig(**(settings | changes))


def write_config(path: Path, config: RunConfig) -> Path:
    """Write a config as the TOML file it could have come from."""
    lines, tables = [], []
    for key, value in plain_config(config).items():
        if isinstance(value, dict):
            tables += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in value.items() if v is not None)]
        elif value is not None:
            lines.append(f"{key} = {json.dumps(value)}")
    path.write_text("\n".join([*lines, *tables]) + "\n")
    return path


def stats(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def curve(folder: Path) -> list[dict]:
    """The statistics without what depends on the machine."""
    return [{k: v for k, v in record.items() if k != "images_per_second"} for record in stats(folder)]
