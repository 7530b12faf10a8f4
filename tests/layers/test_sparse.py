"""Computing visible cells alone gives what masked dense convolution gives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from inpaint.layers.convnext import GlobalResponseNorm, MaskedConvNeXt
from inpaint.layers.sparse import encode_visible, list_cells, neighbours


def network(depths=(2, 1, 2), grn=GlobalResponseNorm) -> MaskedConvNeXt:
    torch.manual_seed(0)
    made = MaskedConvNeXt(depths, (8, 12, 16, 20)[: len(depths)], grn)
    for parameter in made.parameters():
        scale = 0.5 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data = torch.randn_like(parameter) * scale
    return made.eval()


def mixed_masks() -> Tensor:
    """Half visible, all, none, one cell, a frame."""
    visible = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(2)) > 0.5
    visible[1], visible[2], visible[3] = True, False, False
    visible[3, 0, 2, 1] = True
    visible[4] = True
    visible[4, :, 1:3, 1:3] = False
    return visible


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
@pytest.mark.parametrize("depths", [(2, 1, 2), (1, 1, 2, 1)])
@torch.no_grad()
def test_sparse_equals_dense(depths, dtype, tolerance):
    encoder, visible = network(depths).to(dtype), mixed_masks()
    side = 4 * 4 * 2 ** (len(depths) - 1)
    image = torch.randn(5, 3, side, side, dtype=dtype)
    expected = encoder(image, visible)[-1]
    assert torch.allclose(encode_visible(encoder, image, visible), expected, atol=tolerance)
    same_count = visible[:1].expand(2, -1, -1, -1)  # no list is padded
    assert torch.allclose(
        encode_visible(encoder, image[:2], same_count), encoder(image[:2], same_count)[-1], atol=tolerance
    )


@pytest.mark.parametrize("aggregation", ["l1", "average", None])
@torch.no_grad()
def test_every_kind_of_response_norm(aggregation):
    grn = None if aggregation is None else partial(GlobalResponseNorm, aggregation=aggregation)
    encoder, visible, image = network(grn=grn).double(), mixed_masks(), torch.randn(5, 3, 64, 64).double()
    assert torch.allclose(encode_visible(encoder, image, visible), encoder(image, visible)[-1], atol=1e-9)


def test_hidden_pixels_are_not_read_and_gradients_are_the_same():
    encoder, visible, image = network().double(), mixed_masks(), torch.randn(5, 3, 64, 64).double()
    pixels = visible.repeat_interleave(16, 2).repeat_interleave(16, 3)
    poisoned = torch.where(pixels, image, float("nan"))
    gradients = []
    for output in (encode_visible(encoder, poisoned, visible), encoder(image, visible)[-1]):
        encoder.zero_grad()
        output.square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    assert all(torch.allclose(ours, theirs, atol=1e-9) for ours, theirs in zip(*gradients, strict=True))


@torch.no_grad()
def test_only_visible_cells_are_computed():
    encoder, visible = network(), mixed_masks()[3:4]  # one cell
    sizes = []
    for stage in encoder.stages:
        stage.blocks[0].mlp.fc1.register_forward_hook(
            lambda _, inputs, __: sizes.append(inputs[0].shape[1:3])
        )
    encode_visible(encoder, torch.randn(1, 3, 64, 64), visible)
    assert sizes == [(4, 4), (2, 2), (1, 1)]


def test_the_table_of_neighbours():
    visible = torch.tensor([[True, False], [True, True]]).view(1, 1, 2, 2)
    table = neighbours(list_cells(visible), rate=1, reach=1)
    nothing = 3
    assert table.tolist() == [
        [[nothing, nothing, nothing], [nothing, 0, nothing], [nothing, 1, 2]],
        [[nothing, 0, nothing], [nothing, 1, 2], [nothing] * 3],
        [[0, nothing, nothing], [1, 2, nothing], [nothing] * 3],
    ]
