"""The mask law, checked against closed forms and slow, obvious computations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.errors import ShapeError
from inpaint.mask import (
    MAX_DISTANCE,
    binarize,
    check_pair,
    composite,
    hole_fields,
    shrink_to_grid,
)


def random_mask(seed: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(1, 1, height, width, generator=generator) < 0.3).float()


def test_half_is_a_hole():
    assert binarize(torch.tensor([0.0, 0.49, 0.5, 1.0])).tolist() == [0, 0, 1, 1]


def test_composite_keeps_known_values_bit_identical_even_next_to_nan():
    image = torch.rand(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1
    result = composite(torch.full_like(image, float("nan")), image, mask)
    assert torch.equal(result[..., 1:, :], image[..., 1:, :])
    assert result[..., 0, 0].isnan().all()


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 70))
def test_no_hole_pixel_is_lost_on_the_grid(seed, height, width):
    mask = random_mask(seed, height, width)
    grid = shrink_to_grid(mask, (32, 32))
    for y, x in mask[0, 0].nonzero().tolist():
        assert grid[0, 0, y * 32 // height, x * 32 // width] == 1
    assert grid.any() == mask.any()


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_distance_is_the_steps_of_a_king_on_a_chessboard(seed):
    mask = random_mask(seed, 12, 12)
    fields = hole_fields(mask, grid=12)
    known = (mask[0, 0] == 0).nonzero()
    for y, x in mask[0, 0].nonzero().tolist():
        steps = int((known - torch.tensor([y, x])).abs().max(dim=1).values.min())
        assert fields.distance[0, 0, y, x] == min(8 * steps, MAX_DISTANCE)
    assert (fields.distance[mask == 0] == 0).all()


def test_directions_point_to_the_known_corner():
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 0, 0] = 0  # the only known cell is at the top left
    direction = hole_fields(mask, grid=4).direction[0]
    up_left, down_left, up_right, down_right = direction[:, 1, 1].tolist()
    assert (up_left, down_left, up_right, down_right) == (1, 0, 0, 0)
    # In row 0 the border mirrors row 1, so "down-left" and "up-left" see the same cells.
    assert direction[:, 0, 1].tolist() == [1, 1, 0, 0]


def test_a_picture_without_known_cells_is_as_far_as_it_gets():
    fields = hole_fields(torch.ones(2, 1, 64, 64))
    assert (fields.distance == MAX_DISTANCE).all() and (fields.direction == 0).all()
    empty = hole_fields(torch.zeros(1, 1, 64, 64))
    assert (empty.distance == 0).all() and (empty.direction == 0).all()


def test_images_of_a_batch_do_not_touch_each_other():
    masks = torch.cat([random_mask(seed, 40, 64) for seed in range(3)])
    together = hole_fields(masks)
    for index in range(3):
        alone = hole_fields(masks[index : index + 1])
        assert torch.equal(together.distance[index], alone.distance[0])
        assert torch.equal(together.direction[index], alone.direction[0])


@pytest.mark.parametrize(
    ("image", "mask"), [((1, 3, 8, 8), (1, 1, 8, 9)), ((1, 1, 8, 8), (1, 1, 8, 8)), ((3, 8, 8), (1, 1, 8, 8))]
)
def test_unfit_pairs_name_both_shapes(image, mask):
    with pytest.raises(ShapeError, match=r"got image .* and mask .* expected"):
        check_pair(torch.zeros(image), torch.zeros(mask))
