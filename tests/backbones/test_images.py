import math

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("timm")
from inpaint.backbones.network import channel_distance, feature_sheet, load_backbone, run_backbone
from inpaint.backbones.registry import find_backbone


def test_channel_distance_in_closed_form() -> None:
    one = torch.rand(1, 5, 5).expand(8, 5, 5)
    assert channel_distance(one) == pytest.approx(0, abs=1e-12)
    apart = torch.eye(4).reshape(4, 2, 2)
    assert channel_distance(apart) == pytest.approx(0.5 * 12 / 16)
    opposite = torch.stack([torch.ones(2, 2), -torch.ones(2, 2)])
    assert channel_distance(opposite) == pytest.approx(0.5)
    assert not math.isnan(channel_distance(torch.zeros(3, 2, 2)))


@pytest.mark.parametrize(
    "name",
    [
        "convnextv2_atto",
        "convnext_isotropic_small",
        "deit_small_patch16_224",
        "swin_tiny_patch4_window7_224",
        "poolformer_s12",
    ],
)
def test_every_family_shows_its_stages(name: str) -> None:
    loaded = load_backbone(find_backbone(name), fetch=False)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    found = run_backbone(loaded, Image.fromarray(pixels))
    assert found.guesses == []  # random weights know no classes
    assert len(found.stages) == 4
    sides = [stage.shape[-1] for stage, _ in found.stages]
    assert sides == ([14] * 4 if "deit" in name or "isotropic" in name else [56, 28, 14, 7])
    assert all(stage.shape[-2] == stage.shape[-1] for stage, _ in found.stages)
    assert feature_sheet(found.stages[0][0]).size == (396, 396)


def test_guesses_where_there_are_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    loaded = load_backbone(find_backbone("convnextv2_atto"), fetch=False)
    head = loaded.network.get_classifier()  # type: ignore
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    head.bias.data[207] = 5.0  # golden retriever
    found = run_backbone(dataclasses.replace(loaded, weights="test"), Image.new("RGB", (30, 30)))
    assert "golden retriever" in found.guesses[0][0]
    assert found.guesses[0][1] == pytest.approx(math.exp(5) / (math.exp(5) + 999))
