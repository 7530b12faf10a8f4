"""The masked autoencoder: what it may not see, and every kind of mask."""

import dataclasses

import pytest
import torch

from inpaint.errors import ShapeError
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import MAE_PRESETS, build_mae
from inpaint.tokens import token_masks, top_up


@pytest.fixture
def model() -> MaskedAutoencoder:
    torch.manual_seed(0)
    return build_mae("mae-tiny").eval()


def hole(height: int, width: int, top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., top:bottom, left:right] = 1
    return mask


def test_nothing_of_a_touched_patch_reaches_the_result(model):
    image, mask = torch.rand(1, 3, 64, 64), hole(64, 64, 10, 10, 20, 30)
    touched = torch.nn.functional.interpolate(
        token_masks(mask, 4).any.float().view(1, 1, 16, 16), scale_factor=4, mode="nearest"
    )
    changed = torch.where(touched > 0, torch.rand_like(image), image)
    before, after = model(image, mask), model(changed, mask)
    assert torch.allclose(before.features, after.features, atol=1e-5)
    assert torch.allclose(before.attention, after.attention, atol=1e-6)
    assert torch.allclose(model.reconstruct(image, mask), model.reconstruct(changed, mask), atol=1e-5)


def test_different_masks_in_one_batch_equal_each_alone(model):
    image = torch.rand(4, 3, 64, 64)
    mask = torch.cat(
        [
            hole(64, 64, 0, 0, 30, 30),
            torch.zeros(1, 1, 64, 64),
            torch.ones(1, 1, 64, 64),
            hole(64, 64, 5, 5, 6, 64),
        ]
    )
    together = model(image, mask)
    for index in range(4):
        alone = model(image[index : index + 1], mask[index : index + 1])
        assert torch.allclose(together.features[index], alone.features[0], atol=1e-4)
        assert torch.allclose(together.attention[index], alone.attention[0], atol=1e-5)


def test_attention_rows_sum_to_one_and_skip_tokens_without_known_pixels(model):
    mask = hole(64, 64, 8, 8, 33, 40)
    attention = model(torch.rand(1, 3, 64, 64), mask).attention[0]
    full = token_masks(mask, 4).full[0]
    assert torch.allclose(attention.sum(dim=-1), torch.ones(256), atol=1e-5)
    assert (attention[:, full] == 0).all() and (attention[:, ~full] > 0).all()


def test_a_full_mask_gives_uniform_attention_and_one_hole_pixel_a_patch_no_nan(model):
    everything = model(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    assert torch.allclose(everything.attention, torch.full((1, 256, 256), 1 / 256))
    dots = torch.zeros(1, 1, 64, 64)
    dots[..., ::4, ::4] = 1  # touches every patch, fills none
    touched = model(torch.rand(1, 3, 64, 64), dots)
    for value in (*everything, *touched):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (100, 37), (20, 300), (1, 1)])
def test_any_picture_size(model, size):
    image, mask = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) > 0.7).float()
    features, attention = model(image, mask)
    assert features.shape == (2, 16, 16, 16) and attention.shape == (2, 256, 256)
    assert torch.isfinite(features).all()
    assert model.reconstruct(image, mask).shape == (2, 3, 64, 64)


def test_hidden_tokens_are_not_computed(model):
    widths = []
    model.encoder[0].register_forward_hook(lambda _m, inputs, _o: widths.append(inputs[0].shape[1]))
    model(torch.rand(1, 3, 64, 64), hole(64, 64, 0, 0, 32, 64))
    assert widths == [128]


def test_features_of_an_earlier_layer_with_attention_of_all():
    torch.manual_seed(0)
    late = build_mae("mae-tiny").eval()
    early = build_mae(dataclasses.replace(MAE_PRESETS["mae-tiny"], feature_layer=1)).eval()
    early.load_state_dict(late.state_dict())
    image, mask = torch.rand(1, 3, 64, 64), hole(64, 64, 8, 8, 40, 40)
    assert torch.allclose(early(image, mask).attention, late(image, mask).attention)
    assert not torch.allclose(early(image, mask).features, late(image, mask).features)


def test_training_targets(model):
    normalised = torch.randn(2, 3, 64, 64)
    standard = model.target_patches(normalised, per_patch=True)
    assert torch.allclose(standard.mean(dim=-1), torch.zeros(2, 256), atol=1e-5)
    assert torch.allclose(standard.var(dim=-1), torch.ones(2, 256), atol=1e-3)
    hidden = top_up(torch.zeros(2, 256, dtype=torch.bool), 0.75, torch.rand(2, 256))
    assert model.predict_patches(normalised, hidden).shape == model.target_patches(normalised).shape


def test_it_can_learn_one_picture(model):
    torch.manual_seed(0)
    model.train()
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    hidden = top_up(torch.zeros(1, 256, dtype=torch.bool), 0.75, torch.rand(1, 256))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        normalised = model.normalise(ramp)
        error = (
            (model.predict_patches(normalised, hidden) - model.target_patches(normalised)).square().mean(-1)
        )
        loss = (error * hidden).sum() / hidden.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_unfit_shapes_are_refused(model):
    with pytest.raises(ShapeError, match="expected"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 32))
