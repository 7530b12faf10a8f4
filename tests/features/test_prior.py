"""MAE features: the encoder that reconstructs is the one that compares, whole pictures, frozen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inpaint.errors import ShapeError
from inpaint.features.perceptual import MaeFeatures
from inpaint.models.mae import MaePreset
from inpaint.models.presets import build_mae


@pytest.fixture(scope="module")
def network() -> MaeFeatures:
    torch.manual_seed(0)
    return MaeFeatures(build_mae("mae-tiny"))


def pictures(count: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(seed))


def test_the_last_tap_is_the_encoder_with_every_token_visible(network):
    mae, image = network.autoencoder, pictures()
    nothing_hidden = torch.zeros(2, 256, dtype=torch.bool)
    with torch.no_grad():
        latent, _ = mae.encode(mae.normalise(image), nothing_hidden)
        last = network(image)[-1]
    # a fresh encoder norm has weight 1 and bias 0: it standardises, as the taps do
    assert torch.allclose(last, latent, atol=1e-4)


@pytest.mark.parametrize(("depth", "taps"), [(1, [1]), (2, [1, 2]), (4, [2, 3, 4]), (12, [4, 8, 12])])
def test_taps_lie_at_thirds_of_the_depth(depth, taps):
    numbers = MaePreset(image_size=32, width=16, depth=depth, heads=2, decoder_width=16, decoder_depth=1)
    assert MaeFeatures(build_mae(numbers)).depths == taps


def test_distance_is_per_image_and_zero_for_equal_pictures(network):
    first, second = pictures(seed=0), pictures(seed=1)
    distance = network.feature_distance(first, second)
    assert distance.shape == (2,) and (distance > 0).all() and (distance < 4).all()
    assert torch.allclose(network.feature_distance(first[1:], second[1:]), distance[1:], atol=1e-5)
    assert network.feature_distance(first, first).abs().max() == 0


def test_distance_is_the_documented_formula(network):
    first, second = pictures(1, seed=2), pictures(1, seed=3)
    per_tap = [
        (2 - 2 * torch.cosine_similarity(a, b, dim=-1)).mean()
        for a, b in zip(network(first), network(second), strict=True)
    ]
    assert torch.allclose(network.feature_distance(first, second), torch.stack(per_tap).mean(), rtol=1e-3)


def test_it_gives_gradients_to_pictures_only_and_stays_frozen(network):
    first = pictures().requires_grad_(True)
    network.train()
    network.feature_distance(first, pictures(seed=1)).sum().backward()
    assert first.grad is not None and first.grad.isfinite().all()
    assert (first.grad.abs().amax((1, 2, 3)) > 0).all()
    assert not network.autoencoder.training and not any(p.requires_grad for p in network.parameters())


def test_pictures_of_any_size_and_a_class_token(network):
    assert network(pictures(1, 96))[0].shape == (1, 256, 16)
    assert network(pictures(1, 40))[0].shape == (1, 256, 16)
    with_class = MaePreset(image_size=32, width=16, depth=2, heads=2, decoder_depth=1, class_token=True)
    assert MaeFeatures(build_mae(with_class))(pictures(1, 32))[0].shape == (1, 5, 16)


def test_wrong_shapes_are_told(network):
    with pytest.raises(ShapeError, match="expected images"):
        network(torch.zeros(3, 64, 64))
    with pytest.raises(ShapeError, match="equal shapes"):
        network.feature_distance(pictures(1), pictures(2))
