"""Losses: closed forms, and the published numbers on given logits and activations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaint.models.discriminator import PatchDiscriminator
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_weights,
    masked_patch_mse,
    r1_of,
    repetition_loss,
    scale_mask,
    weighted_l1,
)


def half_hole(side: int = 8) -> torch.Tensor:
    mask = torch.zeros(2, 1, side, side)
    mask[..., : side // 2] = 1
    return mask


def test_an_undecided_discriminator_costs_log_two():
    logits = torch.zeros(2, 1, 4, 4)
    for loss in (
        generator_adversarial_loss(logits),
        discriminator_real_loss(logits),
        discriminator_fake_loss(logits),
    ):
        assert loss.item() == pytest.approx(math.log(2))
    hole = scale_mask(half_hole(), (4, 4))
    assert discriminator_fake_loss(logits, hole).item() == pytest.approx(math.log(2) / 2)


def test_fake_and_real_are_opposites():
    right = torch.where(half_hole(4) > 0, -20.0, 20.0)
    assert discriminator_fake_loss(right, half_hole(4)).item() < 1e-6
    assert discriminator_real_loss(right, 1 - half_hole(4)).item() < 1e-6
    assert discriminator_fake_loss(-right, half_hole(4)).item() == pytest.approx(10)
    assert discriminator_fake_loss(right).item() == pytest.approx(10)


def test_generator_weights_stress_holes():
    logits = torch.randn(2, 1, 4, 4)
    hole = scale_mask(half_hole(), (4, 4))
    plain = generator_adversarial_loss(logits)
    only = generator_adversarial_loss(logits, hole)
    assert generator_adversarial_loss(logits, 1 + 1.5 * hole).item() == pytest.approx(
        (plain + 1.5 * only).item()
    )


def test_hole_weights_give_the_mean_over_hole_patches():
    logits = torch.randn(2, 4, 4, 4)
    weights = hole_weights(half_hole(), (4, 4))
    in_holes = torch.nn.functional.softplus(-logits[..., :2]).mean().item()
    assert discriminator_real_loss(logits, weights).item() == pytest.approx(in_holes)
    assert generator_adversarial_loss(logits, weights).item() == pytest.approx(in_holes)
    assert hole_weights(torch.zeros(1, 1, 8, 8), (4, 4)).abs().max() == 0


def test_hole_weights_of_a_batch_are_those_of_its_parts():
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, ..., :2], mask[1, ..., :6] = 1, 1
    logits = torch.randn(2, 1, 4, 4)
    parts = [
        generator_adversarial_loss(logits[i : i + 1], hole_weights(mask[i : i + 1], (4, 4))) for i in (0, 1)
    ]
    whole = generator_adversarial_loss(logits, hole_weights(mask, (4, 4)))
    assert whole.item() == pytest.approx((parts[0] + parts[1]).item() / 2)


def test_scaling_of_masks():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 0, 0] = 1
    assert scale_mask(mask, (2, 2)).flatten().tolist() == [1, 0, 0, 0]
    assert scale_mask(mask.roll(1, -1), (2, 2)).sum() == 0


def test_r1_of_a_linear_discriminator_is_its_squared_slope():
    slope = torch.randn(3, 8, 8)

    image = torch.rand(5, 3, 8, 8, requires_grad=True)
    penalty = r1_of((image * slope).sum((1, 2, 3))[:, None, None, None], image)
    assert penalty.item() == pytest.approx(slope.square().sum().item(), rel=1e-5)


def test_r1_reaches_the_discriminators_weights():
    torch.manual_seed(0)
    network = PatchDiscriminator(4).eval()
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    r1_of(network(image)[0], image).backward()
    gradient = network.get_parameter("convs.0.weight").grad
    assert gradient is not None and gradient.abs().max() > 0


def test_feature_matching_is_the_mean_of_level_means():
    real = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)]
    fake = [real[0] + 1, real[1] + 2]
    assert feature_matching_loss(fake, real).item() == pytest.approx((1 + 4) / 2)


def test_feature_matching_gives_no_gradient_to_the_real_side():
    real, fake = torch.rand(1, 2, 4, 4, requires_grad=True), torch.rand(1, 2, 4, 4, requires_grad=True)
    feature_matching_loss([fake], [real]).backward()
    assert real.grad is None and fake.grad is not None


def test_repetition_is_what_the_fill_has_and_the_photo_has_not():
    tiles, noise = torch.rand(1, 3, 8, 8).repeat(1, 1, 12, 12), torch.rand(1, 3, 96, 96)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 10:86, 8:90] = 1
    assert repetition_loss(tiles, noise, mask, 8) > 0.8
    assert repetition_loss(tiles, noise, mask, 16) > 0.9  # also by half its own period
    assert repetition_loss(tiles, noise, mask, 7) < 0.1  # another lattice
    assert repetition_loss(noise, torch.rand_like(noise), mask, 8) < 0.05
    assert repetition_loss(tiles, tiles, mask, 8) == 0
    assert repetition_loss(noise, tiles, mask, 8) < 0.02  # half a stride further on tiles are noise, too
    mask[..., 13:, :] = 0  # too little hole to say
    assert repetition_loss(tiles, noise, mask, 8) == 0
    assert torch.equal(repetition_loss(tiles * mask, noise, mask, 8), repetition_loss(tiles, noise, mask, 8))


def test_repetition_goes_down_its_gradient():
    image = (torch.rand(1, 3, 8, 8).repeat(1, 1, 8, 8) + 0.3 * torch.rand(1, 3, 64, 64)).requires_grad_()
    mask, photo = torch.ones(1, 1, 64, 64), torch.rand(1, 3, 64, 64)
    before = repetition_loss(image, photo, mask, 8)
    before.backward()
    assert image.grad is not None
    assert repetition_loss(image - 50 * image.grad, photo, mask, 8) < before - 0.01


def test_weighted_l1_is_a_plain_mean_over_all_pixels():
    target = torch.rand(2, 3, 8, 8)
    loss = weighted_l1(target + 0.5, target, half_hole(), known=10, hole=3)
    assert loss.item() == pytest.approx(0.5 * (10 + 3) / 2, rel=1e-5)
    assert weighted_l1(target + half_hole(), target, half_hole(), known=10, hole=0).item() == 0


@given(hidden=st.integers(0, 6), seed=st.integers(0, 20))
def test_patch_error_counts_hidden_tokens_only(hidden, seed):
    generator = torch.Generator().manual_seed(seed)
    target, error = torch.rand(1, 6, 4, generator=generator), torch.rand(1, 6, 4, generator=generator)
    token_mask = (torch.arange(6) < hidden)[None]
    loss = masked_patch_mse(target + error, target, token_mask)
    expected = error[0, :hidden].square().mean().item() if hidden else 0.0
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    visible_changed = masked_patch_mse(
        torch.where(token_mask[..., None], target + error, 9.0), target, token_mask
    )
    assert torch.equal(loss, visible_changed)
