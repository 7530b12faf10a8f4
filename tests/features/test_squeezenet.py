"""SqueezeNet with Caffe weights: its input, its taps, and the documented distance."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.perceptual import SqueezeNetFeatures


@pytest.fixture(scope="module")
def network() -> SqueezeNetFeatures:
    torch.manual_seed(0)
    return SqueezeNetFeatures()


def pictures(count: int = 2, side: int = 33, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 3, side, side + 8), generator=torch.Generator().manual_seed(seed))


def test_the_network_is_torchvisions(network):
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.squeezenet1_1(weights=None).eval()
    theirs.features.load_state_dict(network.features.state_dict())
    image = pictures()
    expected, features = [], image.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    for layer in theirs.features:
        features = layer(features)
        expected.append(features)
    taps = network(image)
    assert [tap.shape[1] for tap in taps] == [64, 128, 256, 512]
    for tap, index in zip(taps, (1, 4, 7, 12), strict=True):
        assert torch.allclose(tap, expected[index], rtol=1e-4, atol=1e-4)


def test_distance_is_per_image_and_zero_for_equal_pictures(network):
    first, second = pictures(seed=0), pictures(seed=1)
    distance = network.feature_distance(first, second)
    assert distance.shape == (2,) and (distance > 0).all() and (distance < 2).all()
    assert torch.allclose(network.feature_distance(first[1:], second[1:]), distance[1:], atol=1e-5)
    assert torch.allclose(network.feature_distance(second, first), distance, atol=1e-6)
    assert network.feature_distance(first, first).abs().max() == 0


def test_distance_is_the_documented_formula(network):
    first, second = pictures(1, seed=2), pictures(1, seed=3)
    per_tap = []
    for a, b in zip(network(first), network(second), strict=True):
        cosine = torch.cosine_similarity(a, b, dim=1)
        per_tap.append((2 - 2 * cosine).mean())  # squared distance of unit vectors
    assert torch.allclose(network.feature_distance(first, second), torch.stack(per_tap).mean(), atol=1e-4)


def test_it_gives_gradients_to_pictures_only_and_stays_frozen(network):
    first = pictures().requires_grad_(True)
    network.train()
    network.feature_distance(first, pictures(seed=1)).sum().backward()
    assert first.grad is not None and first.grad.isfinite().all() and first.grad.abs().max() > 0
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_flat_pictures_have_finite_gradients(network):
    flat = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    network.feature_distance(flat, pictures(1, 32)[..., :32]).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_half_precision_files_load_and_foreign_files_are_refused(network, tmp_path):
    state = {key: value.half() for key, value in network.state_dict().items()}
    save_file({**state, "classifier.1.bias": torch.zeros(3)}, tmp_path / "good.safetensors")
    key = "features.0.weight"
    loaded = SqueezeNetFeatures().load_weights(tmp_path / "good.safetensors")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert torch.allclose(loaded.get_parameter(key), network.get_parameter(key), atol=1e-3)

    state.pop("features.12.squeeze.bias")
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match=r"not the weights of SqueezeNet.*features\.12\.squeeze\.bias"):
        SqueezeNetFeatures().load_weights(tmp_path / "short.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("text.safetensors", "nowhere.safetensors"):
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            SqueezeNetFeatures().load_weights(tmp_path / name)
    (tmp_path / "photo.pth").write_bytes(b"\xff\xd8\xff\xe0" * 100)  # torch would advise to run its code
    with pytest.raises(
        CheckpointError, match=r"photo\.pth: cannot be read as weights \(no tensors in it\); exp"
    ):
        SqueezeNetFeatures().load_weights(tmp_path / "photo.pth")


def test_wrong_shapes_are_told(network):
    with pytest.raises(ShapeError, match="at least 17"):
        network(torch.zeros(1, 3, 16, 40))
    with pytest.raises(ShapeError, match="equal shapes"):
        network.feature_distance(pictures(1), pictures(2))
