"""Attention with keys removed: from the values, and from the reported scores."""

import pytest
import torch

from inpaint.layers.transformer import Attention, TransformerBlock, _attend


def test_removed_keys_change_nothing():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    tokens = torch.rand(1, 5, 8)
    may_attend = torch.tensor([[True, True, True, False, True]])
    changed = tokens.clone()
    changed[:, 3] += 10
    first, _ = attention(tokens, may_attend)
    second, _ = attention(changed, may_attend)
    seen = [0, 1, 2, 4]
    assert torch.allclose(first[:, seen], second[:, seen], atol=1e-6)
    assert not torch.allclose(attention(tokens)[0], attention(changed)[0])


def test_scores_are_an_aside():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    tokens = torch.rand(2, 6, 8)
    keys = torch.ones(2, 6, dtype=torch.bool)
    keys[0, :4] = False
    plain, none = attention(tokens)
    output, scores = attention(tokens, score_keys=keys)
    assert none is None and torch.equal(plain, output)
    assert scores.shape == (2, 6, 6)
    assert torch.allclose(scores.sum(dim=-1), torch.ones(2, 6))
    assert (scores[0, :, :4] == 0).all()


def test_scores_without_any_key_are_uniform_for_that_image_alone():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    keys = torch.zeros(2, 4, dtype=torch.bool)
    keys[1] = True
    _, scores = attention(torch.rand(2, 4, 8), score_keys=keys)
    assert torch.allclose(scores[0], torch.full((4, 4), 0.25))
    assert not torch.allclose(scores[1], torch.full((4, 4), 0.25))


def test_scores_are_what_attention_weighs_with():
    torch.manual_seed(0)
    attention = Attention(4, 1)
    tokens = torch.rand(1, 3, 4)
    output, scores = attention(tokens, score_keys=torch.ones(1, 3, dtype=torch.bool))
    value = attention.qkv(tokens)[..., 8:]
    assert torch.allclose(output, attention.projection(scores @ value), atol=1e-6)


def test_a_block_is_two_shortcuts():
    block = TransformerBlock(8, 2)
    torch.nn.init.zeros_(block.attention.projection.weight)
    torch.nn.init.zeros_(block.attention.projection.bias)
    torch.nn.init.zeros_(block.mlp.get_parameter("contract.weight"))
    torch.nn.init.zeros_(block.mlp.get_parameter("contract.bias"))
    tokens = torch.rand(1, 3, 8)
    assert torch.equal(block(tokens)[0], tokens)
    assert block.norm_mlp.eps == 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_bfloat16_on_a_cpu_is_that_of_torch(masked):
    """Our products there replace torch's slow kernel: outputs and gradients agree to bfloat16's digits."""
    torch.manual_seed(0)
    tensors = [torch.randn(2, 3, 40, 8).bfloat16().requires_grad_(True) for _ in range(3)]
    allowed = None
    if masked:
        allowed = torch.rand(2, 1, 1, 40) > 0.5
        allowed[..., 0] = True
    ours = _attend(tensors[0], tensors[1], tensors[2], allowed)
    gradients = torch.autograd.grad(ours.float().square().sum(), tensors)
    exact = [tensor.detach().float().requires_grad_(True) for tensor in tensors]
    theirs = torch.nn.functional.scaled_dot_product_attention(*exact, attn_mask=allowed)
    expected = torch.autograd.grad(theirs.square().sum(), exact)
    for a, b in zip((ours, *gradients), (theirs, *expected), strict=True):
        assert (a.float() - b).norm() < 0.02 * b.norm()
