"""The MobileNetV2 graph: names, padding, input range; strict loading."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.measures import MobileNetV2Features


@pytest.fixture(scope="module")
def network() -> MobileNetV2Features:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MobileNetV2Features()


def test_same_padding_is_tensorflows(network: MobileNetV2Features) -> None:
    """On even sides the odd pixel of padding is at the end, so that stride 2 picks the odd pixels."""
    picked: dict[int, list] = {}
    for padded in network._graph[0].modules():
        if not (isinstance(padded, nn.Sequential) and isinstance(padded[0], nn.ZeroPad2d)):
            continue
        padded: Any = copy.deepcopy(padded)
        convolution = padded[1]
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
        convolution.weight.data[:, 0, 1, 1] = 1  # the pixel under its centre
        picture = torch.arange(6.0).expand(1, convolution.in_channels, 6, 6)
        across, down = padded(picture)[0, 0, 0], padded(picture.mT)[0, 0, :, 0]
        picked.setdefault(convolution.stride[0], []).append((across.tolist(), down.tolist()))
    assert all(pixels == ([0, 1, 2, 3, 4, 5],) * 2 for pixels in picked[1])
    assert all(pixels == ([1, 3, 5],) * 2 for pixels in picked[2]) and len(picked[2]) == 5


def test_the_graph_has_the_published_shape(network: MobileNetV2Features) -> None:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert set(shapes) == {f"c{i}.{kind}" for i in range(52) for kind in ("weight", "bias")}
    assert shapes["c0.weight"] == (32, 3, 3, 3)
    assert shapes["c1.weight"] == (32, 1, 3, 3)
    assert shapes["c3.weight"] == (96, 16, 1, 1)
    assert shapes["c50.weight"] == (320, 960, 1, 1)
    assert shapes["c51.weight"] == (1280, 320, 1, 1)
    # Published: 3.4 million with the classifier of 1,001 classes, that is 2.19 million of weights before it.
    assert sum(v.numel() for k, v in network.state_dict().items() if k.endswith("weight")) == 2_189_760
    assert sum(getattr(block, "use_res_connect", False) for block in network._graph[0]) == 10
    assert sum(conv.stride == (2, 2) for conv in network.modules() if isinstance(conv, nn.Conv2d)) == 5


def test_features_are_pooled_and_independent_of_the_batch(network: MobileNetV2Features) -> None:
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = network(image)
        assert features.shape == (2, 1280) and features.min() >= 0 and features.max() <= 6
        torch.testing.assert_close(features[1:], network(image[1:]), atol=1e-5, rtol=1e-4)
    with pytest.raises(ShapeError, match=r"\(2, 1, 64, 96\)"):
        network(image[:, :1])


def test_the_input_is_centred_at_mid_grey() -> None:
    network = MobileNetV2Features()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    assert network(torch.full((1, 3, 32, 32), 0.5)).abs().max() == 0
    assert network(torch.full((1, 3, 32, 32), 0.7)).abs().max() > 0


def test_it_stays_frozen(network: MobileNetV2Features) -> None:
    assert not network.train().training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_loading_is_strict(tmp_path: Path, network: MobileNetV2Features) -> None:
    state = {key: value.half() for key, value in network.state_dict().items()}
    path = tmp_path / "net.safetensors"
    save_file(state | {"c52.weight": torch.zeros(1001, 1280, 1, 1), "c52.bias": torch.zeros(1001)}, path)
    loaded = MobileNetV2Features().load_weights(path)
    assert torch.equal(loaded.state_dict()["c7.weight"], load_file(path)["c7.weight"].float())
    for wrong in (
        {key: value for key, value in state.items() if key != "c7.bias"},
        state | {"c53.bias": torch.zeros(3)},
        state | {"c7.bias": torch.zeros(3)},
    ):
        save_file(wrong, path)
        with pytest.raises(CheckpointError, match="not the weights of MobileNetV2"):
            MobileNetV2Features().load_weights(path)
    path.write_text("no tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        MobileNetV2Features().load_weights(path)
