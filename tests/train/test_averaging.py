"""Averages of weights: closed forms, and what has no mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inpaint.checkpoint import average_checkpoints, load_checkpoint, read_notes, save_checkpoint
from inpaint.cli import main
from inpaint.errors import CheckpointError
from inpaint.models.presets import build_inpainter, build_mae
from inpaint.train.optimise import Ema


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """A network, the same with all weights one larger, and with all five larger."""
    torch.manual_seed(0)
    paths = []
    for more in (0, 1, 5):
        torch.manual_seed(0)
        network = build_inpainter("acr-tiny")
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor += more
        paths.append(tmp_path / f"{more}.safetensors")
        save_checkpoint(paths[-1], network, {"images_seen": str(100 + more)})
    return paths


def test_the_mean_is_that_of_every_weight_and_statistic(three, tmp_path):
    average_checkpoints(three, tmp_path / "mean.safetensors")
    mean, first = load_checkpoint(tmp_path / "mean.safetensors"), load_checkpoint(three[0])
    for key, tensor in first.state_dict().items():
        assert torch.allclose(mean.state_dict()[key].float(), tensor.float() + 2, atol=5e-3), key
    assert read_notes(tmp_path / "mean.safetensors") == {
        "mean_of": "0.safetensors, 1.safetensors, 5.safetensors",
        "images_seen": "306",
    }


def test_the_mean_of_equals_is_the_same_file_but_for_its_notes(three, tmp_path):
    average_checkpoints([three[0], three[0]], tmp_path / "mean.safetensors")
    mean, first = load_checkpoint(tmp_path / "mean.safetensors"), load_checkpoint(three[0])
    assert all(torch.equal(mean.state_dict()[key], tensor) for key, tensor in first.state_dict().items())
    seen = read_notes(three[0])["images_seen"]
    assert read_notes(tmp_path / "mean.safetensors") == {"mean_of": "2 x 0.safetensors", "images_seen": seen}


def test_what_has_no_mean_is_one_line(three, tmp_path):
    save_checkpoint(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    out = tmp_path / "mean.safetensors"
    for paths, message in (
        ([three[0]], "got 1 checkpoint, expected two or more"),
        (
            [three[0], tmp_path / "mae.safetensors"],
            r"mae\.safetensors holds another architecture than .*0\.saf",
        ),
        ([three[0], tmp_path / "none.safetensors"], "no checkpoint at"),
    ):
        with pytest.raises(CheckpointError, match=message):
            average_checkpoints(paths, out)
    with pytest.raises(CheckpointError, match="is one of the checkpoints"):
        average_checkpoints(three, three[1])
    assert not out.exists()


def test_the_command(three, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "average", *map(str, three), "-o", str(tmp_path / "mean.safetensors")])
    assert not ended.value.code
    assert capsys.readouterr().out == f"mean of 3: {tmp_path / 'mean.safetensors'}\n"


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


def test_average_approaches_the_trained_weights_and_copies_buffers():
    network = small_network()
    ema = Ema(network, decay=0.9)
    start = network[0].weight.detach().clone()  # type: ignore[union-attr]
    with torch.no_grad():
        network[0].weight.add_(1)  # type: ignore[union-attr]
    network(torch.randn(4, 3, 5, 5))
    for _ in range(3):
        ema.update_parameters(network)
    averaged = ema.module.state_dict()
    assert torch.allclose(averaged["0.weight"], start + (1 - 0.9**3), atol=1e-6)
    assert torch.equal(averaged["1.running_mean"], network.state_dict()["1.running_mean"])
    assert int(averaged["1.num_batches_tracked"]) == 1
    assert not ema.module.training and not any(p.requires_grad for p in ema.module.parameters())


def test_decay_zero_copies():
    network = small_network()
    ema = Ema(network, decay=0)
    with torch.no_grad():
        network[0].weight.mul_(3)  # type: ignore[union-attr]
    ema.update_parameters(network)
    assert torch.allclose(ema.module.state_dict()["0.weight"], network.state_dict()["0.weight"])


def test_an_average_shares_what_is_frozen():
    trained, frozen = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).requires_grad_(False)
    begun = trained.weight.detach().clone()
    ema = Ema(torch.nn.Sequential(trained, frozen), 0.5)
    with torch.no_grad():
        trained.weight += 1
    ema.update_parameters(torch.nn.Sequential(trained, frozen))
    assert ema.module.get_parameter("1.weight").data_ptr() == frozen.weight.data_ptr()
    assert torch.allclose(ema.module.get_parameter("0.weight"), begun + 0.5)
