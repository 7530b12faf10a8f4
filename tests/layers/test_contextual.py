"""Contextual attention: it looks at known tokens that resemble its own, and learns from a zero start."""

import pytest
import torch

from inpaint.layers.transfer import ContextualAttention, transfer_attention

GRID = (4, 4)


@pytest.fixture
def attention() -> ContextualAttention:
    torch.manual_seed(0)
    return ContextualAttention(8)


def hole(height: int, width: int) -> torch.Tensor:
    """A hole over the upper left quarter."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : height // 2, : width // 2] = 1
    return mask


@torch.no_grad()
def test_scores_are_shares_of_tokens_that_hold_known_pixels(attention):
    mask = hole(64, 64)
    mask[..., 0, 0] = 0  # one known pixel makes its token worth looking at
    scores = attention.score(torch.rand(1, 8, 8, 8), mask, GRID)
    assert scores.shape == (1, 16, 16)
    assert torch.allclose(scores.sum(-1), torch.ones(1, 16))
    unknown = [1, 4, 5]
    assert (scores[0, :, unknown] == 0).all() and (scores[0][:, [0, 2, 3, *range(6, 16)]] > 0).all()


@torch.no_grad()
def test_without_a_known_token_the_scores_are_uniform(attention):
    mask = torch.cat([torch.ones(1, 1, 64, 64), hole(64, 64)])
    scores = attention.score(torch.rand(2, 8, 8, 8), mask, GRID)
    assert torch.allclose(scores[0], torch.full((16, 16), 1 / 16))
    assert (scores[1, :, 0] == 0).all()


@torch.no_grad()
def test_a_token_looks_at_its_like(attention):
    attention.key.load_state_dict(attention.query.state_dict())
    attention.log_sharpness.fill_(5.0)
    features = torch.rand(1, 8, 4, 4)
    features[..., 0, 0] = features[..., 3, 2]  # token 0, in the hole, looks like token 14
    scores = attention.score(features, hole(4, 4), GRID)
    assert scores[0, 0].argmax() == 14
    sharper = ContextualAttention(8)
    sharper.load_state_dict({**attention.state_dict(), "log_sharpness": torch.tensor(6.0)})
    assert sharper.score(features, hole(4, 4), GRID)[0, 0, 14] > scores[0, 0, 14]


def test_it_starts_silent_and_then_every_weight_learns(attention):
    features = torch.rand(1, 8, 8, 8)
    assert torch.equal(attention(features, hole(8, 8), GRID), features)
    attention(features, hole(8, 8), GRID).square().sum().backward()
    assert attention.alpha.grad != 0 and attention.query.weight.grad.abs().max() == 0
    attention.alpha.data.fill_(0.5)
    attention(features, hole(8, 8), GRID).square().sum().backward()
    for name, parameter in attention.named_parameters():
        if name != "key.bias":  # shifts all similarities of a query almost alike
            assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_it_moves_features_as_a_prior_would():
    attention = ContextualAttention(8, alphas="one")
    features, mask = torch.rand(2, 8, 12, 20), hole(96, 160).repeat(2, 1, 1, 1)
    moved = attention(features, mask, GRID) - features
    expected = transfer_attention(features, attention.score(features, mask, GRID), GRID)
    assert torch.allclose(moved, expected, atol=1e-6)
    assert not attention.alpha.requires_grad
