"""Published ConvNeXt V2 weights become ours and go back unchanged."""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner, Result
from timm.models.convnext import ConvNeXt, checkpoint_filter_fn
from torch import Tensor

from inpaint.backbones.network import load_backbone
from inpaint.backbones.registry import find_backbone
from inpaint.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from inpaint.cli import main
from inpaint.convert import convert_state, detect_layout
from inpaint.convert.networks import convert_classifier, official_classifier, official_fcmae
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset, FullyConvolutionalAutoencoder
from inpaint.models.presets import FCMAE_PRESETS, build_fcmae, build_mae
from inpaint.weights import FOLDER_VARIABLE
from tests.golden_cases.case import rebuild_weights

GOLDENS = Path(__file__).parent / "goldens"
State = dict[str, Tensor]


@lru_cache
def rebuilt(model: str) -> State:
    return rebuild_weights(GOLDENS, model, "test")


def pretraining() -> State:
    return dict(rebuilt("fcmae_tinycfg"))


@lru_cache
def atto() -> State:
    """timm's smallest network with random weights everywhere."""
    torch.manual_seed(0)
    state = timm.create_model("convnextv2_atto", num_classes=10).state_dict()
    return {key: torch.randn_like(tensor) for key, tensor in state.items()}


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(
        first[key].shape == second[key].shape and torch.equal(first[key], second[key]) for key in first
    )


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, words)])


def test_layouts_are_found_out_from_the_keys():
    assert detect_layout({"model": pretraining(), "epoch": 800}) == "fcmae"
    assert detect_layout({"model": official_classifier(atto())}) == "convnextv2"


def test_the_pretraining_becomes_an_autoencoder_and_goes_back():
    preset, state = convert_state({"model": pretraining()})
    assert preset == FcmaePreset((1, 1, 2, 1), (8, 16, 24, 32), decoder_width=20, decoder_depth=1)
    build_fcmae(preset).load_state_dict(state)
    assert same(official_fcmae(preset, state), pretraining())


def test_a_classifier_becomes_timms_and_goes_back():
    official = official_classifier(atto())
    name, state = convert_state({"model": official})
    assert name == "convnextv2_atto" and same(state, atto())
    assert official["stages.0.0.pwconv1.weight"].ndim == 2 and official["stages.0.0.grn.gamma"].ndim == 4
    # timm's own reading of published files, found independently.
    network = timm.create_model("convnextv2_atto", num_classes=10)
    assert same(checkpoint_filter_fn(dict(official), network), atto())
    tiny = ConvNeXt(
        depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=10, use_grn=True, ls_init_value=None
    )
    assert official_classifier(tiny.state_dict()).keys() == rebuilt("cnx_tinycfg").keys()


BREAKS = {
    "missing": lambda state, key: state.pop(key),
    "unknown": lambda state, key: state.update({f"{key}.more": torch.zeros(1)}),
    "of another shape": lambda state, key: state.update({key: torch.zeros(3, 1, 2, 1)}),
}


@pytest.mark.parametrize("problem", BREAKS)
@pytest.mark.parametrize("key", ["proj.bias", "decoder.0.pwconv1.weight", "pred.weight"])
def test_one_tensor_amiss_in_the_pretraining_is_told(key, problem):
    state = pretraining()
    BREAKS[problem](state, key)
    with pytest.raises(CheckpointError, match=f"1 {problem}: {re.escape(key)}"):
        convert_state(state)


@pytest.mark.parametrize("problem", BREAKS)
def test_one_tensor_amiss_in_a_classifier_is_told(problem):
    state = official_classifier(atto())
    BREAKS[problem](state, "norm.bias")
    with pytest.raises(CheckpointError, match=f"1 {problem}: norm.bias"):
        convert_classifier(state)


def test_what_has_no_published_layout_is_told():
    with pytest.raises(CheckpointError, match=r"\(1, 1, 2, 1\) and width 8, expected a published size"):
        convert_classifier(rebuilt("cnx_tinycfg"))
    with pytest.raises(CheckpointError, match="no published name is known for gamma; expected"):
        official_classifier(atto() | {"gamma": torch.zeros(1)})
    model = build_fcmae(FCMAE_PRESETS["fcmae-tiny"])
    with pytest.raises(CheckpointError, match="published layout has four stages"):
        official_fcmae(model.preset, model.state_dict())
    preset, state = convert_state(pretraining())
    for change in ({"grn_aggregation": "l1"}, {"grn": False}):
        with pytest.raises(CheckpointError, match="GRN by L2 norms"):
            official_fcmae(dataclasses.replace(preset, **change), state)


def test_the_command_goes_there_and_back(tmp_path):
    source, ours, back = (tmp_path / name for name in ("fcmae.pt", "ours.safetensors", "back.safetensors"))
    torch.save({"model": pretraining()}, source)
    done = run(source, ours)
    assert done.exit_code == 0, done.output
    assert "masked autoencoder, 0.1 M parameters, from fcmae.pt (fcmae)" in done.output
    assert isinstance(load_checkpoint(ours), FullyConvolutionalAutoencoder)
    done = run("--official", ours, back)
    assert done.exit_code == 0 and "81 tensors in the published layout" in done.output
    assert same(read_tensors(back)[1], pretraining())


def test_the_command_turns_a_classifier_into_a_backbone_that_is_found(tmp_path, monkeypatch):
    source = tmp_path / "convnextv2_atto_1k_224_ema.pt"
    network = timm.create_model("convnextv2_atto")
    torch.save({"model": official_classifier(network.state_dict())}, source)
    backbone = find_backbone("convnextv2_atto")
    out = tmp_path / f"{backbone.pretrained}.safetensors"
    done = run(source, out)
    assert done.exit_code == 0 and "timm's convnextv2_atto" in done.output
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    loaded = load_backbone(backbone, fetch=False)
    assert loaded.weights == out.name
    assert same(dict(loaded.network.state_dict()), dict(network.state_dict()))
    back = tmp_path / "back.safetensors"
    assert run("--official", out, back).exit_code == 0
    assert same(read_tensors(back)[1], official_classifier(network.state_dict()))


def test_the_command_refuses_what_cannot_go_back(tmp_path):
    other, out = tmp_path / "mae.safetensors", tmp_path / "out.safetensors"
    save_checkpoint(other, build_mae("mae-tiny"))
    assert "holds a MaskedAutoencoder; only" in run("--official", other, out).stderr
    assert "got 2 files" in run("--official", other, other, out).stderr
    assert not out.exists()
