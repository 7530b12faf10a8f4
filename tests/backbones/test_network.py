"""Weights from files of every kind, made here with random numbers: no trained weights are needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

pytest.importorskip("timm")
import timm

from inpaint.backbones.isotropic import build_isotropic
from inpaint.backbones.network import build_network, load_backbone
from inpaint.backbones.registry import find_backbone, find_weights
from inpaint.errors import CheckpointError, InpaintError
from inpaint.weights import cache_folder

ATTO = find_backbone("convnextv2_atto")
ISOTROPIC = find_backbone("convnext_isotropic_small")


def make_atto(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(ATTO.name)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)


def official(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state under the names that the authors' isotropic files use."""
    names = {"conv_dw": "dwconv", "mlp.fc": "pwconv", "head.norm": "norm", "head.fc": "head"}
    state = {}
    for key, value in network.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value
    return state


def test_without_weights_it_says_so_and_the_random_ones_are_always_the_same() -> None:
    before = torch.random.get_rng_state()
    loaded = load_backbone(ATTO)
    assert loaded.weights is None
    assert loaded.missing == (
        "convnextv2_atto.fcmae_ft_in1k is not here and INPAINT_OFFLINE forbids fetching. By hand: put "
        "convnextv2_atto.fcmae_ft_in1k.safetensors (https://huggingface.co/timm/convnextv2_atto.fcmae_ft_in1k/"
        f"resolve/main/model.safetensors, sha256 not public) into {cache_folder('files')}; "
        "it is checked and used"
    )
    assert "and downloads are off" in load_backbone(ATTO, fetch=False).missing
    assert same(loaded.network, load_backbone(ATTO).network)
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's chance is touched


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INPAINT_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    missing = load_backbone(find_backbone("deit_small_patch16_224")).missing
    assert missing.startswith("cannot get deit_small_patch16_224.fb_in1k: ") and "refused" in missing
    assert load_backbone(ATTO).missing.endswith(
        "inpaint models download convnextv2_atto.fcmae_ft_in1k --accept-licence"
    )


def test_weights_from_the_folder(weights_folder: Path) -> None:
    made = make_atto(7)
    save_file(made.state_dict(), weights_folder / ATTO.file)
    loaded = load_backbone(ATTO)
    assert loaded.weights == ATTO.file and not loaded.missing
    assert same(loaded.network, made)


def test_weights_from_the_hubs_cache_need_no_network(weights_folder: Path) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    made, commit = make_atto(8), "0" * 40
    cache = Path(HF_HUB_CACHE) / f"models--timm--{ATTO.pretrained}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    assert find_weights(ATTO) is None
    save_file(made.state_dict(), cache / "snapshots" / commit / "model.safetensors")
    loaded = load_backbone(ATTO, fetch=False)
    assert loaded.weights == "as published" and same(loaded.network, made)
    save_file(make_atto(9).state_dict(), weights_folder / ATTO.file)
    assert load_backbone(ATTO).weights == ATTO.file  # one's own file wins


def test_weights_of_a_named_file(tmp_path: Path) -> None:
    made = make_atto(7)
    torch.save({"model": made.state_dict()}, tmp_path / "mine.pth")
    loaded = load_backbone(ATTO, weights=tmp_path / "mine.pth")
    assert loaded.weights == "mine.pth" and same(loaded.network, made)


class Trap:
    """Would leave a file behind if its pickle were executed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_files_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"x": torch.zeros(3)}, "other.safetensors")
    with pytest.raises(CheckpointError, match=r"^other\.safetensors does not fit convnextv2_atto \("):
        load_backbone(ATTO, weights=Path("other.safetensors"))
    with pytest.raises(CheckpointError, match=r"^no weights file at none\.pth; check the path$"):
        load_backbone(ATTO, weights=Path("none.pth"))
    torch.save({"model": make_atto(0).state_dict(), "optimizer": Trap()}, "trap.pth")
    with pytest.raises(
        CheckpointError, match=r"^trap\.pth holds more than weights, or none, and was not opened"
    ):
        load_backbone(ATTO, weights=Path("trap.pth"))
    assert not Path("sprung").exists()


def test_the_authors_isotropic_file_under_its_own_name(weights_folder: Path) -> None:
    assert "put convnext_iso_small_1k_224_ema.pth (https://dl.fb" in load_backbone(ISOTROPIC).missing
    torch.manual_seed(3)
    made = build_isotropic("small")
    state = official(made)
    assert {"stem.weight", "blocks.17.dwconv.bias", "blocks.0.pwconv2.weight", "norm.bias"} < state.keys()
    torch.save({"model": state}, weights_folder / "convnext_iso_small_1k_224_ema.pth")
    loaded = load_backbone(ISOTROPIC)
    assert loaded.weights == "convnext_iso_small_1k_224_ema.pth" and same(loaded.network, made)


def test_an_isotropic_network_by_its_definition() -> None:
    network: Any = build_isotropic("small").eval()
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = network.forward_intermediates(image, intermediates_only=True)
        scores = network(image)
        pooled = torch.nn.functional.layer_norm(maps[-1].mean((2, 3)), (384,), eps=1e-6)
        torch.testing.assert_close(scores, network.head.fc(pooled))
        block, before = network.blocks[0], network.stem(image)
        inner = torch.nn.functional.conv2d(
            before, block.conv_dw.weight, block.conv_dw.bias, padding=3, groups=384
        )
        inner = torch.nn.functional.layer_norm(inner.permute(0, 2, 3, 1), (384,), eps=1e-6)
        inner = block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(inner)))
        torch.testing.assert_close(maps[0], before + inner.permute(0, 3, 1, 2))
    assert [tuple(features.shape) for features in maps] == [(1, 384, 2, 4)] * 18
    assert not any("gamma" in name for name, _ in network.named_parameters())
    with torch.device("meta"):
        large = build_isotropic("large")
    assert sum("gamma" in name for name, _ in large.named_parameters()) == 36


def test_timm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        InpaintError,
        match=r"a backbone such as ConvNeXt needs timm, .*: pip install 'mae-acr-inpaint\[backbones\]'",
    ):
        build_network(ATTO)
