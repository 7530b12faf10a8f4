"""``python -m eval collapse``: channels that say the same are found, block by block."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from eval.__main__ import main
from eval.studies.convnext import collapse_table, measure_collapse
from inpaint.checkpoint import save_checkpoint
from inpaint.models.presets import FCMAE_PRESETS, build_fcmae, build_inpainter, build_mae
from tests.eval.conftest import smooth_picture

TINY = FCMAE_PRESETS["fcmae-tiny"]


def test_channels_that_are_one_and_channels_that_differ():
    torch.manual_seed(0)
    model = build_fcmae(TINY).eval()
    image = torch.rand(1, 3, 80, 70)
    first = model.encoder.stages[0].blocks[0].mlp
    with torch.no_grad():
        first.fc1.weight.copy_(torch.ones_like(first.fc1.weight[:1]).expand_as(first.fc1.weight))
        first.fc1.bias.fill_(10.0)  # beyond the bend of GELU, every channel is the same sum
        second = model.encoder.stages[1].blocks[0].mlp
        second.fc1.weight.mul_(100.0)
    found = measure_collapse(model, [image, image.flip(-1)])
    blocks = found["after GELU"]
    assert list(blocks) == ["1.1", "2.1", "3.1"]
    assert blocks["1.1"] == pytest.approx(0, abs=1e-9)
    assert blocks["2.1"] > 0.1
    assert found["after GRN"] == pytest.approx(blocks)  # GRN begins as the identity


def test_a_network_without_response_norm_has_nothing_after_it():
    found = measure_collapse(build_fcmae(dataclasses.replace(TINY, grn=False)), [torch.rand(1, 3, 64, 64)])
    assert len(found["after GELU"]) == 3 and found["after GRN"] == {}


def test_the_table():
    table = collapse_table(
        {
            "with": {"after GELU": {"1.1": 0.4, "10.1": 0.2}, "after GRN": {"1.1": 0.5, "10.1": 0.3}},
            "without": {"after GELU": {"1.1": 0.1, "2.1": 0.3}, "after GRN": {}},
        }
    )
    assert table.headings[1:3] == ("with, after GELU", "with, after GRN")
    assert table.headings[3:] == ("without, after GELU", "without, after GRN")
    assert [line.name for line in table.lines] == ["1.1", "2.1", "10.1", "mean"]
    rows = {line.name: [cell.text for cell in line.cells] for line in table.lines}
    assert rows == {
        "1.1": ["0.4000", "0.5000", "0.1000", "-"],
        "10.1": ["0.2000", "0.3000", "-", "-"],
        "2.1": ["-", "-", "0.3000", "-"],
        "mean": ["0.3000", "0.4000", "0.2000", "-"],
    }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for index in range(3):
        smooth_picture(50, 70, index).save(tmp_path / f"{index}.png")
    return tmp_path


def test_the_command(pictures, tmp_path):
    save_checkpoint(tmp_path / "plain.safetensors", build_fcmae(dataclasses.replace(TINY, grn=False)))
    save_checkpoint(tmp_path / "whole.safetensors", build_inpainter("acr-tiny-convnext"))
    options = ["--images", str(pictures), "--device", "cpu", "--limit", "2"]
    models = [
        word for name in ("plain", "whole") for word in ("--model", str(tmp_path / f"{name}.safetensors"))
    ]
    result = CliRunner().invoke(main, ["collapse", *models, *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 of 3 images\n")
    assert "| stage.block | plain, after GELU | plain, after GRN | whole, after GELU |" in result.stdout
    assert len(result.stdout.splitlines()) == 2 + 2 + 3 + 1
    save_checkpoint(tmp_path / "mae.safetensors", build_mae("mae-tiny"))
    result = CliRunner().invoke(main, ["collapse", "--model", str(tmp_path / "mae.safetensors"), *options])
    assert result.exit_code == 2
    assert "holds MaskedAutoencoder, expected a FullyConvolutionalAutoencoder" in result.stderr
