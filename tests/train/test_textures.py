"""Losses of texture: closed forms, and a run with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from inpaint.errors import ConfigError
from inpaint.train.config import LossWeights
from inpaint.train.fit import fit
from inpaint.train.losses import block_losses, style_loss
from tests.train.tiny_runs import acr_config, stats

MASK = torch.zeros(1, 1, 8, 8)
MASK[..., :4] = 1


def test_style_compares_textures_in_the_hole_and_not_places():
    target = torch.rand(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    assert style_loss([target], [target], MASK).item() == pytest.approx(0, abs=1e-5)
    moved = target.clone()
    moved[..., :4] = target[..., [2, 0, 3, 1]]  # the same columns elsewhere: the same texture
    assert style_loss([moved], [target], MASK).item() == pytest.approx(0, abs=1e-5)
    known = target.clone()
    known[..., 4:] = 9.0
    assert style_loss([known], [target], MASK).item() == pytest.approx(0, abs=1e-5)
    # One channel of ones, doubled: Gram 4 instead of 1, energy 1.
    ones = torch.ones(1, 1, 8, 8)
    assert style_loss([2 * ones], [ones], MASK).item() == pytest.approx(3)


def test_blocks_are_compared_in_place_and_by_their_means():
    first = torch.zeros(1, 2, 1, 2)
    first[0, 0, 0, 0] = first[0, 1, 0, 1] = 2.0
    distance, means = block_losses([first], [first.flip(3)])  # orthogonal at both places, equal means
    assert distance.item() == pytest.approx(2) and means.item() == pytest.approx(0)
    distance, means = block_losses([2 * first], [first])  # scale is left out, but not of the means
    assert distance.item() == pytest.approx(0, abs=1e-6) and means.item() == pytest.approx(1)


def test_a_run_learns_from_them(photos, tmp_path: Path, perceptual_weights, mobilenet_weights):
    weights = dict(
        adversarial=0,
        feature_matching=0,
        perceptual=1,
        style=0.5,
        mobilenet=1,
        mobilenet_means=1,
        repetition=1,
        r1=0,
    )
    config = acr_config(
        photos,
        tmp_path / "run",
        perceptual_weights,
        weights=LossWeights(**weights),
        mobilenet_weights=mobilenet_weights,
    )
    fit(config)
    last = stats(config.out)[-1]
    assert last["style"] > 0 and last["mobilenet"] > 0 and last["mobilenet_means"] > 0
    assert 0 <= last["repetition"] < 1
    with pytest.raises(ConfigError, match=r"style needs weights\.perceptual"):
        dataclasses.replace(config, weights=LossWeights(**weights | {"perceptual": 0}))
    with pytest.raises(ConfigError, match="without mobilenet_weights"):
        dataclasses.replace(config, mobilenet_weights=None)
