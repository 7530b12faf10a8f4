"""Where a run's weights come from: shared parts of another variant, and what starts fresh."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from inpaint.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from inpaint.errors import CheckpointError, ConfigError
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.presets import build_fcmae, build_inpainter, build_mae, vary_preset
from inpaint.train.config import AcrRunConfig, LossWeights, Variant
from inpaint.train.recipes.initialise import initialise_inpainter


def config(**changes) -> AcrRunConfig:
    settings = dict(
        name="row", preset="acr-tiny", out=Path("unused"), photos=(Path("unused"),), batch_size=1, images=1,
        learning_rate=1e-3, weights=LossWeights(perceptual=0),
    )  # fmt: skip
    return AcrRunConfig(**(settings | changes))


def start(run: AcrRunConfig) -> tuple[Inpainter, str]:
    preset = vary_preset(run.preset, **dataclasses.asdict(run.variant))
    return initialise_inpainter(preset, run.init_checkpoint, run.prior_checkpoint)


@pytest.fixture
def base(tmp_path) -> Path:
    """A trained network with the prior: every weight is 0.25 away from where it began."""
    return written(tmp_path / "base.safetensors", build_inpainter("acr-tiny"))


def written(path: Path, model) -> Path:
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.25
    save_checkpoint(path, model)
    return path


def taken(network: Inpainter, path: Path) -> set[str]:
    """The parts of a network whose weights are those of a file."""
    _, theirs = read_tensors(path)
    equal = {
        key
        for key, value in network.state_dict().items()
        if key in theirs and torch.equal(theirs[key].to(value.dtype), value)
    }
    known = (
        "prior",
        "adapter",
        "generator.positions",
        "generator.transfer",
        "generator.stem",
        "generator.head",
    )
    whole = set()
    for part in known:
        keys = {key for key in network.state_dict() if key.startswith(part) and "tracked" not in key}
        assert keys <= equal or not keys & equal, f"{part} came in halves"
        if keys and keys <= equal:
            whole.add(part)
    return whole


GENERATOR = {"generator.stem", "generator.head"}


def test_without_checkpoints_all_is_new():
    assert start(config())[1] == "all new"


def test_the_same_preset_takes_everything(base):
    network, note = start(config(init_checkpoint=base))
    assert taken(network, base) == GENERATOR | {
        "prior", "adapter", "generator.positions", "generator.transfer"
    }  # fmt: skip
    assert note == "adapter + alphas + generator + positions + prior from base.safetensors"


def test_a_prior_joins_a_generator_that_was_trained_alone(tmp_path):
    alone = InpainterPreset("alone", vary_preset("acr-tiny", attention="none").generator, working_size=64)
    base = written(tmp_path / "alone.safetensors", build_inpainter(alone))
    mae = written(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    network, note = start(config(init_checkpoint=base, prior_checkpoint=mae))
    assert taken(network, base) == GENERATOR | {"generator.positions"}
    assert torch.equal(network.prior.mask_token, load_checkpoint(mae).mask_token)
    assert all(alpha.item() == 0 for alpha in network.adapter.alphas)
    assert note == (
        "generator + positions from alone.safetensors, new: adapter + alphas + prior; "
        "prior from mae.safetensors"
    )


def test_attention_of_another_origin_starts_fresh_and_silent(base):
    network, note = start(config(init_checkpoint=base, variant=Variant(attention="contextual")))
    assert taken(network, base) == GENERATOR | {"prior", "adapter", "generator.positions"}
    assert network.generator.transfer_before.alpha.item() == 0
    assert "new: alphas + attention" in note and "not taken: alphas" in note


def test_alphas_fixed_at_one_stay_one(base):
    network, _ = start(config(init_checkpoint=base, variant=Variant(alphas="one")))
    alphas = [value for name, value in network.named_parameters() if "alpha" in name]
    assert len(alphas) == 6 and all(alpha.item() == 1 and not alpha.requires_grad for alpha in alphas)


def test_positions_are_left_out(base):
    network, note = start(config(init_checkpoint=base, variant=Variant(positional_encoding=False)))
    assert network.generator.positions is None and "not taken: positions" in note


def test_features_of_another_layer_keep_the_prior_but_not_the_adapter(base, tmp_path):
    mae = written(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    network, _ = start(config(init_checkpoint=base, variant=Variant(feature_layer=1)))
    assert taken(network, base) == GENERATOR | {"prior", "generator.positions", "generator.transfer"}
    network, _ = start(config(prior_checkpoint=mae, variant=Variant(feature_layer=1)))
    assert network.prior.preset.feature_layer == 1
    assert torch.equal(network.prior.mask_token, load_checkpoint(mae).mask_token)
    assert not any(parameter.requires_grad for parameter in network.prior.parameters())


def test_a_prior_of_the_other_kind_is_taken_where_it_belongs_and_refused_elsewhere(base, tmp_path):
    fcmae = written(tmp_path / "fcmae.safetensors", build_fcmae("fcmae-tiny"))
    run = config(preset="acr-tiny-convnext", init_checkpoint=base, prior_checkpoint=fcmae)
    network, note = start(run)
    assert torch.equal(network.prior.mask_token, load_checkpoint(fcmae).mask_token)
    assert all(alpha.item() == 0 for alpha in network.adapter.alphas)
    assert "prior from fcmae.safetensors" in note and "new: adapter + alphas + prior" in note
    with pytest.raises(CheckpointError, match="does not hold the prior of preset acr-tiny"):
        start(config(prior_checkpoint=fcmae))


def test_another_generator_or_prior_is_refused(base, tmp_path):
    other = written(tmp_path / "other.safetensors", build_inpainter("lama-tiny"))
    with pytest.raises(CheckpointError, match="holds another network, expected one of preset acr-tiny"):
        start(config(init_checkpoint=other))
    with pytest.raises(CheckpointError, match="holds an inpainter without a prior"):
        start(config(prior_checkpoint=other))
    mae = written(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    with pytest.raises(CheckpointError, match="lama-tiny has no prior for prior_checkpoint"):
        start(config(preset="lama-tiny", prior_checkpoint=mae))
    with pytest.raises(ConfigError, match="has no prior"):
        start(config(preset="lama-tiny", variant=Variant(attention="prior")))
