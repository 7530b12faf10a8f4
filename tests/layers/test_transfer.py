"""Attention transfer: closed forms, and every size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.layers.transfer import AttentionTransfer, transfer_attention


@pytest.mark.parametrize("rate", [1, 2, 3, 4])
def test_identity_attention_returns_the_interior(rate):
    features = torch.rand(1, 2, 4 * rate, 4 * rate)
    moved = transfer_attention(features, torch.eye(16)[None], (4, 4))
    border = rate // 2 + rate % 2
    inner = (..., slice(border, -border), slice(border, -border))
    assert torch.allclose(moved[inner], features[inner], atol=1e-6)
    # Two patches instead of four meet at the left edge, one in the corner: published, and kept.
    if rate % 2 == 0:
        assert torch.allclose(
            moved[..., rate : 2 * rate, 0], features[..., rate : 2 * rate, 0] / 2, atol=1e-6
        )
        assert torch.allclose(moved[..., 0, 0], features[..., 0, 0] / 4, atol=1e-6)


def test_a_token_is_copied_from_where_attention_points():
    features = torch.zeros(1, 1, 8, 8)
    features[..., 2:4, 2:4] = 1  # token 5 of a 4 x 4 grid of 2 x 2 cells
    attention = torch.eye(16)[None].clone()
    attention[0, 10] = 0
    attention[0, 10, 5] = 1  # token 10 looks at token 5
    moved = transfer_attention(features, attention, (4, 4))
    assert moved[0, 0, 4:6, 4:6].min() > 0 and moved[0, 0, 6:, 6:].max() < 0.5


def test_it_is_linear_in_features():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 1, 3, 16, 16, generator=generator)
    attention = torch.rand(1, 16, 16, generator=generator).softmax(-1)
    total = transfer_attention(first + 2 * second, attention, (4, 4))
    parts = transfer_attention(first, attention, (4, 4)) + 2 * transfer_attention(second, attention, (4, 4))
    assert torch.allclose(total, parts, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40))
def test_every_size_keeps_its_size(height, width):
    features = torch.rand(2, 1, height, width)
    moved = transfer_attention(features, torch.full((2, 16, 16), 1 / 16), (4, 4))
    assert moved.shape == features.shape and torch.isfinite(moved).all()


def test_alpha_starts_at_zero_and_learns():
    transfer = AttentionTransfer()
    features = torch.rand(1, 2, 8, 8, requires_grad=True)
    attention = torch.full((1, 16, 16), 1 / 16, requires_grad=True)
    output = transfer(features, attention, (4, 4))
    assert torch.equal(output, features)
    output.sum().backward()
    assert transfer.alpha.grad is not None and transfer.alpha.grad != 0
    assert attention.grad is None


def test_an_alpha_fixed_at_one_adds_all_and_never_learns():
    transfer = AttentionTransfer("one")
    features = torch.rand(1, 2, 8, 8, requires_grad=True)
    attention = torch.full((1, 16, 16), 1 / 16)
    output = transfer(features, attention, (4, 4))
    assert torch.equal(output, features + transfer_attention(features, attention, (4, 4)))
    output.sum().backward()
    assert transfer.alpha.grad is None and features.grad is not None
