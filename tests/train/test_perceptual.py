"""Perceptual losses: each network trains a generator, and says what its weights file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from inpaint.checkpoint import save_checkpoint
from inpaint.errors import CheckpointError, ConfigError, WeightsError
from inpaint.features.perceptual import SceneFeatures, SqueezeNetFeatures
from inpaint.models.presets import build_inpainter, build_mae
from inpaint.train.config import WEIGHTS_FILES, PerceptualNetwork, ProjectedNetwork, config_from_table
from inpaint.train.fit import fit
from inpaint.train.recipes.initialise import load_perceptual
from inpaint.weights import ModelEntry, PublishedFile, catalogue


def write_random_weights(name: str, folder: Path) -> Path:
    """The file of one perceptual network, in its true format."""
    torch.manual_seed(0)
    if name == "squeezenet":
        save_file(SqueezeNetFeatures().state_dict(), folder / "features.safetensors")
    elif name == "ade20k":
        torch.save(SceneFeatures().state_dict(), folder / "encoder_epoch_20.pth")
    else:
        save_checkpoint(folder / "mae.safetensors", build_mae("mae-tiny"))
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("name", get_args(PerceptualNetwork))
def test_each_network_trains_a_generator_through_its_distance_alone(name, tmp_path):
    (tmp_path / "weights").mkdir()
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).save(tmp_path / "photo.png")
    config = config_from_table(
        {
            "kind": "acr", "name": "try",
            "preset": "lama-tiny", "out": "run", "photos": "photo.png", "prior": False,
            "photo_size": 32, "size": 32, "batch_size": 2, "images": 30, "learning_rate": 3e-3,
            "schedule": "constant", "log_every": 1, "device": "cpu", "perceptual_network": name,
            "perceptual_weights": str(write_random_weights(name, tmp_path / "weights")),
            "weights": {"adversarial": 0, "feature_matching": 0, "l1_known": 0, "perceptual": 1},
        },
        folder=tmp_path,
    )  # fmt: skip
    fit(config)
    curve = [json.loads(line)["perceptual"] for line in (tmp_path / "run/stats.jsonl").open()]
    assert len(curve) == 15 and np.mean(curve[-3:]) < 0.9 * np.mean(curve[:3])


def test_every_network_says_what_its_file_is(tmp_path):
    assert set(WEIGHTS_FILES) == {*get_args(PerceptualNetwork), *get_args(ProjectedNetwork)}
    run = {
        "kind": "acr",
        "name": "a",
        "preset": "lama",
        "out": "o",
        "photos": "p",
        "batch_size": 1,
        "images": 1,
    }
    for name in get_args(PerceptualNetwork):
        with pytest.raises(ConfigError) as caught:
            config_from_table({**run, "learning_rate": 1e-3, "perceptual_network": name})
        assert WEIGHTS_FILES[name] in str(caught.value)
        with pytest.raises(CheckpointError, match=r"none\.safetensors"):
            load_perceptual(name, tmp_path / "none.safetensors")


def test_the_prior_of_a_whole_network_serves_as_well_and_nothing_else(tmp_path):
    save_checkpoint(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    assert load_perceptual("mae", tmp_path / "mae.safetensors").depths == [1, 2]
    whole = build_inpainter("acr-tiny")
    save_checkpoint(tmp_path / "whole.safetensors", whole)
    features: Any = load_perceptual("mae", tmp_path / "whole.safetensors")
    token = features.autoencoder.mask_token
    assert torch.allclose(token, whole.prior.mask_token, atol=1e-3)
    save_checkpoint(tmp_path / "alone.safetensors", build_inpainter("lama-tiny"))
    with pytest.raises(CheckpointError, match="holds an inpainter without a prior, expected a MaskedAuto"):
        load_perceptual("mae", tmp_path / "alone.safetensors")


def test_the_published_network_is_fetched_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file put into the cache by hand stands in for the download."""
    files = tmp_path / "cache" / "files"
    files.mkdir(parents=True)
    torch.save(SqueezeNetFeatures().state_dict(), files / "published.pth")
    file = PublishedFile("published.pth")
    entry = ModelEntry("squeezenet", "network", "", "BSD", 1, (("published.pth",),), files=(file,))
    monkeypatch.setattr(catalogue, "_read_catalogue", lambda path: [entry])
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "cache"))
    assert isinstance(load_perceptual("squeezenet", tmp_path / "squeezenet"), SqueezeNetFeatures)
    (files / "published.pth").unlink()
    with pytest.raises(WeightsError, match="the weights of squeezenet are not on this machine"):
        load_perceptual("squeezenet", tmp_path / "squeezenet")
