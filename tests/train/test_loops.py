"""Both training loops on a handful of tiny pictures: they learn, resume exactly, and stop on NaN."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint.checkpoint import load_checkpoint, read_notes, save_checkpoint
from inpaint.data.config import Augment
from inpaint.errors import CheckpointError, InpaintError
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import build_inpainter
from inpaint.train.fit import fit
from inpaint.train.monitor import Monitor
from inpaint.train.state import load_latest_state
from tests.train.tiny_runs import BATCH, STEPS, acr_config, curve, fcmae_config, mae_config, stats


class Killed(BaseException):
    """Stands for the power going off."""


def run_killed_and_resumed(config, monkeypatch) -> Path:
    """Run with a state after every step, die in the fourth, and start again with the same command."""
    monkeypatch.setattr(Monitor, "due", lambda self, what: what == "save")

    def die(progress):
        if progress.images_seen == 4 * BATCH:
            raise Killed

    with pytest.raises(Killed):
        fit(config, die)
    return fit(config)


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = load_checkpoint(first).state_dict(), load_checkpoint(second).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


PRIORS = pytest.mark.parametrize("make_config", [mae_config, fcmae_config])


@PRIORS
def test_a_prior_learns_and_leaves_a_checkpoint(make_config, photos, tmp_path):
    config = make_config(photos, tmp_path / "run", images=40 * BATCH, learning_rate=3e-3)
    seen = []
    path = fit(config, seen.append)
    kinds = {"mae": MaskedAutoencoder, "fcmae": FullyConvolutionalAutoencoder}
    assert isinstance(load_checkpoint(path), kinds[config.kind])
    assert read_notes(path)["images_seen"] == str(config.images)
    losses = [record["loss"] for record in stats(config.out)]
    assert len(losses) == len(seen) == 40
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    problems = (config.out / "problems.jsonl").read_text().splitlines()
    assert len(problems) == 1 and "broken.png" in problems[0]


def test_both_loops_honour_every_setting_they_share(photos, tmp_path, perceptual_weights, monkeypatch):
    rates = []
    changes = {"photo_limit": 2, "schedule": "milestones", "milestones": (BATCH,), "images": 3 * BATCH}
    for config in (
        mae_config(photos, tmp_path / "mae", **changes),
        acr_config(photos, tmp_path / "acr", perceptual_weights, **changes),
    ):
        fit(config)
        state = load_latest_state(config.out)
        assert state is not None
        rates.append(state["optimizer"]["param_groups"][0]["lr"])
        assert not (config.out / "problems.jsonl").exists()  # the broken photo is beyond the limit
    assert rates == [5e-4, 5e-4]


@PRIORS
def test_a_prior_resumes_exactly(make_config, photos, tmp_path, monkeypatch):
    straight = fit(make_config(photos, tmp_path / "straight"))
    config = make_config(photos, tmp_path / "resumed")
    resumed = run_killed_and_resumed(config, monkeypatch)
    assert_same_weights(straight, resumed)
    seen = [record["images_seen"] for record in stats(config.out)]
    assert seen == [BATCH * (step + 1) for step in range(STEPS)]


@PRIORS
def test_a_prior_learns_features_beside_pixels(make_config, photos, tmp_path, mobilenet_weights, monkeypatch):
    changes = {"distillation": 1.0, "mobilenet_weights": mobilenet_weights, "learning_rate": 3e-3}
    config = make_config(photos, tmp_path / "resumed", images=12 * BATCH, **changes)
    resumed = run_killed_and_resumed(config, monkeypatch)
    assert_same_weights(fit(dataclasses.replace(config, out=tmp_path / "straight")), resumed)
    features = [record["features"] for record in stats(config.out)]
    assert np.mean(features[-3:]) < 0.9 * np.mean(features[:3])
    plain = fit(dataclasses.replace(config, out=tmp_path / "plain", distillation=0.0))
    ours, theirs = load_checkpoint(plain).state_dict(), load_checkpoint(resumed).state_dict()
    assert ours.keys() == theirs.keys()  # the heads stay behind
    assert not torch.equal(ours["to_decoder.weight"], theirs["to_decoder.weight"])
    with pytest.raises(InpaintError, match="without mobilenet_weights"):
        dataclasses.replace(config, mobilenet_weights=None)


def test_acr_resumes_exactly_with_every_loss(photos, tmp_path, perceptual_weights, monkeypatch):
    straight = fit(acr_config(photos, tmp_path / "straight", perceptual_weights))
    config = acr_config(photos, tmp_path / "resumed", perceptual_weights)
    resumed = run_killed_and_resumed(config, monkeypatch)
    assert_same_weights(straight, resumed)
    records = stats(config.out)
    assert "discriminator" not in records[0]  # joins after the first batch
    assert {"l1", "perceptual", "adversarial", "feature_matching", "discriminator", "hole_error"} <= records[
        1
    ].keys()
    assert "r1" in records[2] and "r1" not in records[1]


@pytest.mark.parametrize(
    ("make_config", "preset"),
    [(mae_config, "acr-tiny"), (fcmae_config, "acr-tiny-convnext")],
)
def test_acr_starts_from_a_trained_prior_and_never_changes_it(
    make_config, preset, photos, tmp_path, perceptual_weights
):
    prior = fit(make_config(photos, tmp_path / "prior"))
    config = acr_config(
        photos,
        tmp_path / "acr",
        perceptual_weights,
        preset=preset,
        prior_checkpoint=prior,
        sample_every_s=1.0,
    )
    model = load_checkpoint(fit(config))
    assert isinstance(model, Inpainter) and model.prior is not None and model.adapter is not None
    trained = load_checkpoint(prior).state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in model.prior.state_dict().items())
    assert any(alpha.item() != 0 for alpha in model.adapter.alphas)


def test_a_generator_trained_alone_is_joined_by_its_prior_later(photos, tmp_path, perceptual_weights):
    alone = fit(acr_config(photos, tmp_path / "alone", perceptual_weights, prior=False))
    before = load_checkpoint(alone)
    assert isinstance(before, Inpainter) and before.adapter is not None
    assert all(alpha.item() == 0 for alpha in before.adapter.alphas)
    together = fit(acr_config(photos, tmp_path / "together", perceptual_weights, init_checkpoint=alone))
    after = load_checkpoint(together)
    assert isinstance(after, Inpainter) and after.adapter is not None
    assert all(alpha.item() != 0 for alpha in after.adapter.alphas)


def test_sample_sheets_show_every_stage(photos, tmp_path, perceptual_weights, monkeypatch):
    monkeypatch.setattr(Monitor, "due", lambda self, what: what == "sample")
    config = acr_config(photos, tmp_path / "run", perceptual_weights, images=BATCH)
    fit(config)
    (sheet,) = (config.out / "samples").iterdir()
    with Image.open(sheet) as picture:
        assert picture.width >= 5 * 64 and picture.height >= BATCH * 64


def test_a_run_that_diverges_keeps_its_last_good_state(photos, tmp_path, monkeypatch):
    config = mae_config(photos, tmp_path / "run", images=2 * BATCH)
    fit(config)
    states = sorted((tmp_path / "run").glob("state-*.pt"))
    monkeypatch.setattr(
        "inpaint.train.recipes.prior.masked_patch_mse", lambda p, t, m: p.sum() * float("nan")
    )
    with pytest.raises(InpaintError, match=r"diverged at .* loss.* not finite"):
        fit(dataclasses.replace(config, images=4 * BATCH))
    assert sorted((tmp_path / "run").glob("state-*.pt")) == states


def test_a_checkpoint_of_another_preset_is_refused(photos, tmp_path, perceptual_weights):
    prior = fit(mae_config(photos, tmp_path / "mae", images=BATCH))
    config = acr_config(photos, tmp_path / "acr", perceptual_weights, init_checkpoint=prior)
    with pytest.raises(CheckpointError, match="holds another network, expected one of preset acr-tiny"):
        fit(config)
    other = fit(fcmae_config(photos, tmp_path / "fcmae", images=BATCH))
    config = acr_config(photos, tmp_path / "acr", perceptual_weights, prior_checkpoint=other)
    with pytest.raises(CheckpointError, match="does not hold the prior of preset acr-tiny"):
        fit(config)
    with pytest.raises(CheckpointError, match="does not hold the prior of preset mae-tiny"):
        fit(mae_config(photos, tmp_path / "prior", init_checkpoint=other))


def test_a_prior_starts_from_a_prior_or_from_the_inpainter_that_contains_one(photos, tmp_path):
    """At a learning rate of nothing the run's weights are those it started from."""
    torch.manual_seed(5)
    inpainter = build_inpainter("acr-tiny")
    save_checkpoint(tmp_path / "whole.safetensors", inpainter)
    save_checkpoint(tmp_path / "prior.safetensors", inpainter.prior)
    still = {"images": BATCH, "learning_rate": 1e-12, "ema_decay": 0.0}
    for name in ("whole", "prior"):
        start = tmp_path / f"{name}.safetensors"
        path = fit(mae_config(photos, tmp_path / name, init_checkpoint=start, **still))
        assert_same_weights(path, tmp_path / "prior.safetensors")
        assert read_notes(path)["started_from"] == f"prior from {name}.safetensors"


def test_a_run_from_disk_that_is_stopped_goes_on_with_the_same_curve(photos, tmp_path, monkeypatch):
    """Five photos and a broken one, read by a worker; the run dies in its fourth step."""
    changes = {
        "keep": "disk",
        "workers": 1,
        "photo_size": None,
        "augment": Augment(hue=0.1),
    }
    straight = mae_config(photos, tmp_path / "straight", **changes)
    fit(straight)
    monkeypatch.setattr(Monitor, "due", lambda self, what: what == "save")

    def die(progress):
        if progress.images_seen == 4 * BATCH:
            raise KeyboardInterrupt

    resumed = mae_config(photos, tmp_path / "resumed", **changes)
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, die)
    fit(resumed)
    assert curve(resumed.out) == curve(straight.out)
    (problem,) = set((straight.out / "problems.jsonl").read_text().splitlines())
    assert "broken.png: cannot be read as a photo, left out (not an image file)" in problem


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("preset", ["acr-tiny", "acr-tiny-convnext"])
def test_a_gpu_trains_with_every_loss_in_bf16(preset, compiled, photos, tmp_path, perceptual_weights):
    config = acr_config(
        photos, tmp_path / "run", perceptual_weights, preset=preset, device="cuda", precision="bf16",
        channels_last=True, compile=compiled, images=3 * BATCH,
    )  # fmt: skip
    fit(config)
    resumed = fit(dataclasses.replace(config, images=STEPS * BATCH))
    assert isinstance(load_checkpoint(resumed), Inpainter)
    assert [record["images_seen"] for record in stats(config.out)] == [BATCH * n for n in range(1, STEPS + 1)]
