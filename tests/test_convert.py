"""Published weights, rebuilt from the references' recipe, become complete networks of ours."""

from __future__ import annotations

import argparse
import os
import re
import sys
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import Tensor

from inpaint.checkpoint import load_checkpoint, read_notes
from inpaint.cli import main
from inpaint.convert import convert_state, detect_layout, networks
from inpaint.convert.files import Placeholder, read_foreign
from inpaint.errors import CheckpointError
from inpaint.models.generator import GeneratorPreset
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.mae import MaePreset
from inpaint.models.presets import build_inpainter, build_mae
from tests.golden_cases import acr as golden_acr
from tests.golden_cases import lama as golden_lama
from tests.golden_cases import mae as golden_mae
from tests.golden_cases.case import rebuild_weights

GOLDENS = Path(__file__).parent / "goldens"
State = dict[str, Tensor]


@lru_cache
def rebuilt(model: str) -> State:
    return rebuild_weights(GOLDENS, model, "test")


def official(model: str) -> State:
    return dict(rebuilt(model))


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def mae_far_lightning() -> dict[str, Any]:
    """A Lightning file as published: networks, discriminator, perceptual loss, and the run's bookkeeping."""
    state = prefixed("mae.", official("mae_far_tiny")) | prefixed("acr.", official("acr_narrow"))
    state |= {"D.conv1.0.weight": torch.zeros(1), "loss_resnet_pl.impl.conv1.weight": torch.zeros(1)}
    return {"epoch": 3, "state_dict": state, "optimizer_states": [{}]}


def lama_lightning(model: str = "lama_ngf8") -> dict[str, Any]:
    state = prefixed("generator.", official(model))
    state |= {"discriminator.model0.0.weight": torch.zeros(1), "loss_resnet_pl.impl.x": torch.zeros(1)}
    return {"epoch": 3, "state_dict": state}


@pytest.fixture(autouse=True)
def narrow_widths_have_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test files are narrower than anything published: name their head counts, too."""
    monkeypatch.setitem(networks.HEADS, 64, 4)
    monkeypatch.setitem(networks.DECODER_HEADS, 32, 4)
    monkeypatch.setitem(networks.DECODER_HEADS, 48, 4)


# -- what a file is ----------------------------------------------------------------------------------------


def forms() -> dict[str, tuple[dict[str, Any], str]]:
    mae, acr, lama = official("mae_far_tiny"), official("acr_narrow"), official("lama_ngf8")
    generator, adapter = ({k: v for k, v in acr.items() if k.startswith(part)} for part in ("G.", "GCs."))
    bare = {"generator": generator, "gc_encoder": adapter}
    bare = {name: {key.split(".", 1)[1]: v for key, v in part.items()} for name, part in bare.items()}
    return {
        "lightning": (mae_far_lightning(), "mae-far"),
        "mae in model": ({"model": mae, "epoch": 1, "args": None}, "mae-far-mae"),
        "mae bare": (mae, "mae-far-mae"),
        "mae with module.": (prefixed("module.", mae), "mae-far-mae"),
        "original mae": ({"model": official("mae_tiny")}, "mae"),
        "generator and adapter": ({**bare, "iteration": 5}, "mae-far-acr"),
        "acr prefixed": (acr, "mae-far-acr"),
        "generator prefixed": (generator, "mae-far-generator"),
        "adapter prefixed": (adapter, "mae-far-adapter"),
        "generator bare": (bare["generator"], "mae-far-generator"),
        "adapter bare": (bare["gc_encoder"], "mae-far-adapter"),
        "adapter with module.": (prefixed("module.", bare["gc_encoder"]), "mae-far-adapter"),
        "lama lightning": (lama_lightning(), "lama"),
        "lama bare": (lama, "lama"),
    }


@pytest.mark.parametrize("form", forms())
def test_layout_is_found_out_from_the_keys(form: str) -> None:
    content, layout = forms()[form]
    assert detect_layout(content) == layout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "0 entries of no known layout"),
        ({"weight": torch.zeros(1)}, "first: weight"),
        ({"epoch": 3, "lr": 0.1}, "expected the weights of MAE-FAR"),
        ({"model": {"patch_embed.proj.weight": "text"}}, "no known layout"),
    ],
)
def test_an_unknown_layout_is_told(content: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        detect_layout(content)


def test_a_part_given_twice_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"same part \(mae\.\*\)"):
        detect_layout(official("mae_far_tiny"), official("mae_far_tiny"))


# -- what it becomes ---------------------------------------------------------------------------------------


def test_mae_far_file_becomes_a_whole_network() -> None:
    preset, state = convert_state(mae_far_lightning())
    assert isinstance(preset, InpainterPreset) and isinstance(preset.prior, MaePreset)
    assert (preset.generator.width, preset.generator.blocks, preset.prior.depth) == (4, 1, 2)
    build_inpainter(preset).load_state_dict(state)
    # The names the numeric references were checked with, found independently.
    for key, value in official("acr_narrow").items():
        if name := golden_acr.our_name(key):
            assert torch.equal(state[name], value), key
    for key, value in official("mae_far_tiny").items():
        if name := golden_mae.our_name(key):
            assert torch.equal(state[f"prior.{name}"], value), key


def test_separate_files_in_any_order_equal_the_lightning_file() -> None:
    whole_preset, whole = convert_state(mae_far_lightning())
    parts = forms()
    files = [parts[name][0] for name in ("adapter bare", "mae in model", "generator bare")]
    preset, state = convert_state(*files)
    assert preset == whole_preset
    assert state.keys() == whole.keys() and all(torch.equal(state[key], whole[key]) for key in whole)


@pytest.mark.parametrize(
    ("form", "lacking"),
    [
        ("generator bare", r"the MAE file \(patch_embed\.\*\) and the adapter"),
        ("adapter bare", r"the MAE file \(patch_embed\.\*\) and the generator"),
        ("generator and adapter", "the MAE file"),
    ],
)
def test_a_lone_part_says_what_else_is_needed(form: str, lacking: str) -> None:
    with pytest.raises(CheckpointError, match=lacking):
        convert_state(forms()[form][0])


@pytest.mark.parametrize("model", ["mae_far_tiny", "mae_far_ft_tiny", "mae_tiny"])
def test_mae_file_becomes_a_masked_autoencoder(model: str) -> None:
    theirs = official(model)
    preset, state = convert_state({"model": theirs})
    assert isinstance(preset, MaePreset)
    assert preset.class_token == (model == "mae_tiny") and preset.partial_patches == ("ft" in model)
    assert preset.image_size == (64 if model == "mae_tiny" else 256)
    build_mae(preset).load_state_dict(state)
    for key, value in theirs.items():
        if name := golden_mae.our_name(key):
            assert torch.equal(state[name], value), key


@pytest.mark.parametrize("model", ["lama_ngf8", "lama_ngf8_lfu"])
def test_lama_file_becomes_a_generator_without_prior(model: str) -> None:
    theirs = official(model)
    preset, state = convert_state(lama_lightning(model))
    assert isinstance(preset, InpainterPreset) and preset.prior is None and preset.name == "lama-custom"
    assert preset.generator.local_fourier == ("lfu" in model)
    build_inpainter(preset).load_state_dict(state)
    assert_lama(theirs, preset.generator, state)


def assert_lama(theirs: State, preset: GeneratorPreset, state: State) -> None:
    """Every tensor of ours is theirs, by the names that the reference cases use."""
    names = golden_lama.our_names(theirs, preset.blocks, preset.downsamplings)
    expected = prefixed("generator.", golden_lama.our_state(theirs, names, preset.downsamplings))
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_lama_file_with_two_down_samplings() -> None:
    """The narrow file without its first down-sampling, its ends twice as wide."""
    theirs = {}
    for key, value in official("lama_ngf8").items():
        number, rest = int(key.split(".")[1]), key.split(".", 2)[2]
        if number in (2, 15, 16):
            continue
        if number == 1 and value.ndim:
            value = torch.cat([value, value])
        if rest == "weight" and number == 19:
            value = torch.cat([value, value], dim=1)
        number -= (number > 2) + 3 * (number == 19)
        theirs[f"model.{number}.{rest}"] = value
    preset, state = convert_state({"state_dict": prefixed("generator.", theirs)})
    assert isinstance(preset, InpainterPreset)
    assert (preset.generator.width, preset.generator.downsamplings) == (16, 2)
    network = build_inpainter(preset)
    network.load_state_dict(state)
    assert network(torch.rand(1, 3, 21, 30), torch.ones(1, 1, 21, 30)).shape == (1, 3, 21, 30)
    assert_lama(theirs, preset.generator, state)


def stretch_lama(blocks: int) -> State:
    """Keys and shapes of a published LaMa, from the narrow one: 8 times as wide, more blocks, no memory."""
    sizes = {8: 64, 16: 128, 24: 192, 32: 256, 48: 384, 64: 512}
    state = {}
    for key, value in official("lama_ngf8").items():
        number, rest = int(key.split(".")[1]), key.split(".", 2)[2]
        shape = [*(sizes.get(n, n) for n in value.shape[:2]), *value.shape[2:]]
        numbers = range(5, 5 + blocks) if number == 5 else [number + (blocks - 3) * (number > 7)]
        if number not in (6, 7):
            state |= {f"{n}.{rest}": torch.zeros((), dtype=value.dtype).expand(shape) for n in numbers}
    return state


@pytest.mark.parametrize(("blocks", "name"), [(9, "lama"), (18, "big-lama"), (4, "lama-custom")])
def test_published_lama_sizes_get_their_names(blocks: int, name: str) -> None:
    preset, _ = networks.convert_lama(stretch_lama(blocks))
    assert preset.name == name


def test_a_mae_of_unpublished_width_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(networks.HEADS, 64)
    with pytest.raises(CheckpointError, match="number of heads"):
        networks.convert_mae(official("mae_far_tiny"))


def test_half_precision_becomes_float32() -> None:
    _, state = convert_state({key: v.half() for key, v in official("mae_tiny").items()})
    assert {value.dtype for value in state.values()} == {torch.float32}


# -- strictness --------------------------------------------------------------------------------------------

BREAKS = {
    "missing": lambda state, key: state.pop(key),
    "unknown": lambda state, key: state.update({f"{key}.more": torch.zeros(1)}),
    "of another shape": lambda state, key: state.update({key: torch.zeros(3, 1, 2)}),
}


@pytest.mark.parametrize("problem", BREAKS)
@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("mae_far_tiny", "decoder_blocks.1.attn.qkv.bias"),
        ("mae_tiny", "norm.weight"),
        ("lama_ngf8", "model.6.conv2.ffc.convg2g.fu.bn.running_var"),
        ("lama_ngf8", "model.3.bn_l.bias"),
    ],
)
def test_one_tensor_amiss_is_told_by_its_official_name(model: str, key: str, problem: str) -> None:
    state = official(model)
    BREAKS[problem](state, key)
    with pytest.raises(CheckpointError, match=f"1 {problem}: {re.escape(key.removeprefix('model.'))}"):
        convert_state(state)


@pytest.mark.parametrize(
    "half", ["model.4.ffc.convl2l.weight", "model.4.ffc.convl2g.weight", "model.4.bn_g.bias"]
)
def test_half_of_the_last_down_sampling_is_not_enough(half: str) -> None:
    state = official("lama_ngf8")
    del state[half]
    with pytest.raises(CheckpointError, match=r"unknown: 4\..*; 1 missing: 4\.whole"):
        convert_state(state)


def test_a_name_of_ours_is_unknown_in_a_published_file() -> None:
    state = official("mae_far_tiny")
    state["embed.weight"] = state.pop("patch_embed.proj.weight") + 1
    with pytest.raises(CheckpointError, match="no known layout"):
        convert_state(state)
    state = official("mae_far_tiny") | {
        "embed.weight": official("mae_far_tiny")["patch_embed.proj.weight"] + 1
    }
    with pytest.raises(CheckpointError, match=r"1 unknown: embed\.weight$"):
        convert_state(state)


def test_many_problems_are_counted_not_listed() -> None:
    content = mae_far_lightning()
    gone = [key for key in content["state_dict"] if ".bnt" in key]
    for key in gone:
        del content["state_dict"][key]
    with pytest.raises(CheckpointError, match=rf"{len(gone)} missing: .* and {len(gone) - 3} more"):
        convert_state(content)


def test_an_encoder_alone_is_told() -> None:
    encoder = {key: v for key, v in official("mae_tiny").items() if "decoder" not in key}
    with pytest.raises(CheckpointError, match="expected the whole network"):
        convert_state({"model": encoder})


@pytest.mark.parametrize("key", ["mae.pos_embed", "mae.decoder_pos_embed", "acr.GCs.rel_pos_emb.weight"])
def test_a_constant_that_is_not_ours_is_told(key: str) -> None:
    content = mae_far_lightning()
    content["state_dict"][key] = content["state_dict"][key] + 0.1
    with pytest.raises(CheckpointError, match=f"another table .*{key.split('.', 2)[-1].split('.')[0]}"):
        convert_state(content)
    del content["state_dict"][key]
    with pytest.raises(CheckpointError):
        convert_state(content)


# -- files and the command ---------------------------------------------------------------------------------


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, words)])


def test_command_writes_a_checkpoint_that_computes_the_same(tmp_path: Path) -> None:
    source, out = tmp_path / "last.ckpt", tmp_path / "ours.safetensors"
    torch.save(mae_far_lightning(), source)
    done = run(source, out)
    assert done.exit_code == 0, done.output
    assert "acr-custom" in done.output and "(mae-far)" in done.output
    assert "last.ckpt" in read_notes(out)["converted from"]
    loaded = load_checkpoint(out)
    assert isinstance(loaded, Inpainter)
    preset, state = convert_state(mae_far_lightning())
    assert isinstance(preset, InpainterPreset) and loaded.preset == preset
    direct = build_inpainter(preset).eval()
    direct.load_state_dict(state)  # every bit of it: nothing is rounded on the way
    image, mask = torch.rand(1, 3, 40, 56), torch.zeros(1, 1, 40, 56)
    mask[..., 10:20, 10:30] = 1
    with torch.no_grad():
        assert torch.equal(loaded(image, mask), direct(image, mask))


def test_command_joins_separate_files(tmp_path: Path) -> None:
    parts, out = forms(), tmp_path / "ours.safetensors"
    torch.save(parts["mae in model"][0], tmp_path / "mae.pth")
    torch.save(parts["generator and adapter"][0], tmp_path / "G_last.pth")
    assert run(tmp_path / "mae.pth", tmp_path / "G_last.pth", out).exit_code == 0
    assert isinstance(load_checkpoint(out), Inpainter)


def test_command_takes_foreign_safetensors_and_old_pickles(tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"
    save_file(official("mae_tiny"), tmp_path / "mae.safetensors")
    assert run(tmp_path / "mae.safetensors", out).exit_code == 0
    torch.save({"model": official("mae_tiny")}, tmp_path / "mae.pth", _use_new_zipfile_serialization=False)
    assert run(tmp_path / "mae.pth", out).exit_code == 0
    assert run(out, tmp_path / "again.safetensors").exit_code == 2


def test_objects_of_a_training_run_become_placeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    callback = module.ModelCheckpoint
    args = argparse.Namespace(lr=0.1, folder=Path("runs"))
    torch.save(
        lama_lightning() | {"callbacks": {callback: {"best": callback()}}, "args": args},
        tmp_path / "best.ckpt",
    )
    monkeypatch.undo()
    content = read_foreign(tmp_path / "best.ckpt")
    assert isinstance(content["args"], Placeholder) and list(content["callbacks"]) == [Placeholder]
    assert detect_layout(content) == "lama"


class Hostile:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, function: Any, zipped: bool) -> None:
    victim, source = tmp_path / "victim", tmp_path / "evil.pth"
    content = {"model": official("mae_tiny"), "extra": Hostile(function, f"open({str(victim)!r}, 'w')")}
    torch.save(content, source, _use_new_zipfile_serialization=zipped)
    done = run(source, tmp_path / "out.safetensors")
    assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is not a weights file"), (b"hello", "is not a weights file"), (None, "no file at")],
)
def test_unreadable_files_cost_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    source = tmp_path / "x.pth"
    if content is not None:
        source.write_bytes(content)
    done = run(source, tmp_path / "out.safetensors")
    assert done.exit_code == 2 and words in done.stderr and not (tmp_path / "out.safetensors").exists()


def test_a_truncated_file_and_a_list_are_told(tmp_path: Path) -> None:
    source = tmp_path / "x.pth"
    torch.save([torch.zeros(1)], source)
    assert "holds a list, expected a dict" in run(source, tmp_path / "out.safetensors").stderr
    torch.save(official("mae_tiny"), source)
    source.write_bytes(source.read_bytes()[:5000])
    assert "is not a weights file" in run(source, tmp_path / "out.safetensors").stderr


def test_the_output_may_not_be_an_input_nor_another_format(tmp_path: Path) -> None:
    source = tmp_path / "mae.safetensors"
    save_file(official("mae_tiny"), source)
    before = source.read_bytes()
    assert "is an input file" in run(source, source).stderr
    assert "ends in .safetensors" in run(source, tmp_path / "out.pth").stderr
    assert source.read_bytes() == before
