"""Checkpoints: round trip, strictness, and files that are not ours."""

import pytest
import torch
from safetensors.torch import save_file

from inpaint.checkpoint import load_checkpoint, read_notes, read_tensors, save_checkpoint, write_tensors
from inpaint.errors import CheckpointError
from inpaint.models.inpainter import Inpainter
from inpaint.models.presets import build_fcmae, build_inpainter, build_mae


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_inpainter("acr-tiny"),
        lambda: build_inpainter("acr-tiny-convnext"),
        lambda: build_mae("mae-tiny"),
        lambda: build_fcmae("fcmae-tiny"),
    ],
)
def test_round_trip_in_half_precision(tmp_path, build):
    torch.manual_seed(0)
    model = build()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, {"licence": "Apache-2.0"})
    torch.manual_seed(1)
    again = load_checkpoint(path)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    # Random weights are not made, only to be replaced; but for a small table of inpainters.
    assert isinstance(model, Inpainter) or torch.equal(torch.rand(3), drawn)
    for (name, buffer), read in zip(model.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(read, buffer) or name in model.state_dict()  # tables that no file holds are made
    assert not again.training and again.preset == model.preset
    for key, value in model.state_dict().items():
        read = again.state_dict()[key]
        assert read.dtype == value.dtype
        assert torch.equal(read, value.half().to(value.dtype) if value.is_floating_point() else value)
    assert read_notes(path) == {"licence": "Apache-2.0"}
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_writing_over_a_file_keeps_the_old_one_until_the_new_is_whole(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_mae("mae-tiny"))
    before = path.read_bytes()
    broken = build_mae("mae-tiny")
    broken.mask_token.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="mask_token"):
        save_checkpoint(path, broken)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_do_not_fit_say_why(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_mae("mae-tiny"))
    header, tensors = read_tensors(path)

    def rewritten(change) -> None:
        changed = dict(tensors)
        change(changed)
        write_tensors(path, changed, header)

    rewritten(lambda t: t.pop("mask_token"))
    with pytest.raises(CheckpointError, match=r"1 missing: mask_token"):
        load_checkpoint(path)
    rewritten(lambda t: t.update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointError, match=r"1 unknown: extra"):
        load_checkpoint(path)
    rewritten(lambda t: t.update(mask_token=torch.zeros(1, 1, 3)))
    with pytest.raises(CheckpointError, match=r"another shape: mask_token"):
        load_checkpoint(path)
    for value in (float("inf"), -float("inf"), float("nan")):
        rewritten(lambda t, value=value: t["mask_token"].index_fill_(2, torch.tensor([5]), value))
        with pytest.raises(CheckpointError, match=r"not finite: mask_token"):
            load_checkpoint(path)
        rewritten(lambda t: t["mask_token"].zero_())


def test_foreign_files_are_pointed_to_convert(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="inpaint convert"):
        load_checkpoint(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_bad_output_names(tmp_path):
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        save_checkpoint(tmp_path / "model.pt", build_mae("mae-tiny"))
    with pytest.raises(CheckpointError, match="does not exist"):
        save_checkpoint(tmp_path / "nowhere" / "model.safetensors", build_mae("mae-tiny"))
