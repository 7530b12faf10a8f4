"""The ADE20K feature network: size, stride, distance, and the message that says where to get its weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.perceptual import SceneFeatures


@pytest.fixture(scope="module")
def network() -> SceneFeatures:
    torch.manual_seed(0)
    return SceneFeatures()


def test_size_and_output_stride(network):
    values = sum(tensor.numel() for tensor in network.state_dict().values())
    assert (values, len(network.state_dict())) == (23_685_367, 330)
    stages = network(torch.rand(1, 3, 64, 48))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (256, 16, 12),
        (512, 8, 6),
        (1024, 8, 6),
        (2048, 8, 6),
    ]


def test_distance_is_a_sum_over_stages_per_image(network):
    first, second = torch.rand(2, 2, 3, 32, 32).unbind(0)
    distance = network.feature_distance(first, second)
    expected = sum(
        (a[1] - b[1]).square().mean() for a, b in zip(network(first), network(second), strict=True)
    )
    assert distance.shape == (2,)
    assert torch.allclose(distance[1], torch.as_tensor(expected), rtol=1e-3)


def test_clamping_ignores_what_no_picture_can_show(network):
    image = torch.rand(1, 3, 32, 32).round()
    beyond = (image * 1.5 - 0.25).requires_grad_(True)
    assert network.feature_distance(beyond, image).item() < 1e-8
    loose = network.feature_distance(beyond, image, clamp=False)
    loose.sum().backward()
    assert loose.item() > 0 and beyond.grad is not None and beyond.grad.isfinite().all()


def test_weights_are_read_strictly_and_the_message_says_where_they_are(network, tmp_path):
    state = network.state_dict()
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file(half, tmp_path / "good.safetensors")
    torch.save(half, tmp_path / "good.pth")
    for name in ("good.safetensors", "good.pth"):
        loaded = SceneFeatures().load_weights(tmp_path / name)
        weight = loaded.state_dict()["conv1.weight"]
        assert torch.allclose(weight, state["conv1.weight"], atol=1e-3)
    torch.save({"conv1.weight": state["conv1.weight"]}, tmp_path / "short.pth")
    (tmp_path / "text.pth").write_text("hello")
    for name in ("short.pth", "text.pth", "none.pth"):
        with pytest.raises(CheckpointError, match=r"encoder_epoch_20\.pth of .* CSAILVision/") as caught:
            SceneFeatures().load_weights(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_wrong_shapes_are_told(network):
    with pytest.raises(ShapeError, match="expected images"):
        network(torch.zeros(3, 32, 32))
    with pytest.raises(ShapeError, match="equal shapes"):
        network.feature_distance(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 48))
