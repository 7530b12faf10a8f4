"""Patches, positions and topping up."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.errors import ShapeError
from inpaint.tokens import normalise_patches, patchify, sincos_positions, token_masks, top_up, unpatchify


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 4]))
def test_unpatchify_undoes_patchify(batch, rows, columns, patch):
    image = torch.rand(batch, 3, rows * patch, columns * patch)
    patches = patchify(image, patch)
    assert patches.shape == (batch, rows * columns, patch * patch * 3)
    assert torch.equal(unpatchify(patches, patch, (rows, columns)), image)


def test_a_patch_lists_rows_then_columns_then_channels():
    image = torch.arange(12.0).reshape(1, 3, 2, 2)  # channel c, row y, column x holds 4c + 2y + x
    assert patchify(image, 2)[0, 0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_patchify_refuses_a_remainder():
    with pytest.raises(ShapeError, match="multiples of the patch side 4"):
        patchify(torch.zeros(1, 3, 6, 8), 4)


def test_any_and_full_tokens():
    mask = torch.zeros(1, 1, 4, 8)
    mask[..., :, :4] = 1
    mask[..., 0, 4] = 1
    masks = token_masks(mask, 4)
    assert masks.any.tolist() == [[True, True]] and masks.full.tolist() == [[True, False]]


def test_positions_have_the_column_first():
    table = sincos_positions(2, 3, 8)
    assert table.shape == (6, 8)
    assert torch.allclose(table[0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))
    assert torch.isclose(table[1, 0], torch.tensor(1.0).sin()) and table[1, 4] == 0  # column 1, row 0
    assert table[3, 0] == 0 and torch.isclose(table[3, 4], torch.tensor(1.0).sin())  # column 0, row 1


@settings(max_examples=40)
@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0.1, 0.9))
def test_top_up_hides_the_same_number_everywhere_and_the_hole_first(seed, share, ratio):
    generator = torch.Generator().manual_seed(seed)
    touched = torch.rand(3, 64, generator=generator) < share
    noise = torch.rand(3, 64, generator=generator)
    hidden = top_up(touched, ratio, noise)
    wanted = 64 - int(64 * (1 - ratio))
    assert (hidden.sum(dim=1) == wanted).all()
    for row in range(3):
        if touched[row].sum() <= wanted:
            assert hidden[row][touched[row]].all()
        else:
            assert touched[row][hidden[row]].all()


def test_normalised_patches_have_mean_zero_and_unbiased_variance_one():
    tokens = torch.rand(2, 5, 48) * 3 + 7
    normalised = normalise_patches(tokens)
    assert normalised.mean(2).abs().max() < 1e-5
    assert torch.allclose(normalised.var(2), torch.ones(2, 5), atol=1e-4)
    assert normalise_patches(torch.ones(1, 1, 48)).abs().max() == 0
