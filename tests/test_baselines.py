"""Fills without a network: known pixels stay, holes follow the definition, edge cases are defined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.baselines import mean_colour, navier_stokes, push_pull, telea
from inpaint.errors import ShapeError

FILLS = [mean_colour, push_pull, telea, navier_stokes]


def make_pair(batch: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # Multiples of 1/255: the 8-bit fills then have nothing to round on the known side.
    image = torch.randint(0, 256, (batch, 3, height, width), generator=generator) / 255
    mask = (torch.rand(batch, 1, height, width, generator=generator) < 0.4).float()
    return image, mask


@pytest.mark.parametrize("fill", FILLS)
def test_known_pixels_are_bit_identical(fill) -> None:
    image, mask = make_pair(3, 17, 23)
    filled = fill(image, mask)
    assert filled.shape == image.shape
    known = (mask == 0).expand_as(image)
    assert torch.equal(filled[known], image[known])
    assert filled.isfinite().all() and filled.min() >= 0 and filled.max() <= 1


@pytest.mark.parametrize("fill", FILLS)
def test_what_lies_under_the_hole_does_not_matter(fill) -> None:
    image, mask = make_pair(2, 16, 20)
    other = torch.where(mask > 0.5, torch.full_like(image, float("nan")), image)
    assert torch.equal(fill(image, mask), fill(other, mask))


@pytest.mark.parametrize("fill", FILLS)
def test_all_hole_is_grey_and_no_hole_is_the_image(fill) -> None:
    image, _ = make_pair(2, 9, 12)
    mask = torch.stack([torch.ones(1, 9, 12), torch.zeros(1, 9, 12)])
    filled = fill(image, mask)
    assert (filled[0] == 0.5).all()
    assert torch.equal(filled[1], image[1])


@pytest.mark.parametrize("fill", FILLS)
def test_a_flat_image_is_restored(fill) -> None:
    _, mask = make_pair(1, 21, 14)
    image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(1, 3, 21, 14).contiguous()
    tolerance = 3.5 / 255 if fill is telea else 1e-6  # fast marching rounds at every step
    torch.testing.assert_close(fill(image, mask), image, atol=tolerance, rtol=0)


@pytest.mark.parametrize("fill", FILLS)
def test_images_of_a_batch_do_not_meet(fill) -> None:
    image, mask = make_pair(3, 16, 16)
    one_by_one = torch.cat([fill(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
    assert torch.equal(fill(image, mask), one_by_one)


@pytest.mark.parametrize("fill", FILLS)
def test_wrong_shapes_are_named(fill) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 5\).*expected"):
        fill(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ShapeError):
        fill(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def test_mean_colour_closed_form() -> None:
    image = torch.tensor([0.0, 0.25, 0.75, 9.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    mask = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    assert mean_colour(image, mask)[0, :, 1, 1].tolist() == pytest.approx([1 / 3] * 3)


def test_push_pull_two_levels_by_hand() -> None:
    # 4 x 4 with one unknown 2 x 2 cell at the top left. Level 1 knows three cells; its unknown cell takes
    # level 2, the mean of all known pixels. The hole pixels are the bilinear blend of level 1.
    image = torch.zeros(1, 1, 4, 4)
    image[..., :2, 2:], image[..., 2:, :2], image[..., 2:, 2:] = 0.3, 0.6, 0.9
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :2] = 1
    corner = (0.3 + 0.6 + 0.9) / 3
    level = torch.tensor([[corner, 0.3], [0.6, 0.9]])
    expected_11 = 0.5625 * level[0, 0] + 0.1875 * (level[0, 1] + level[1, 0]) + 0.0625 * level[1, 1]
    filled = push_pull(image, mask)[0, 0]
    assert filled[0, 0].item() == pytest.approx(corner)
    assert filled[0, 1].item() == pytest.approx(0.75 * corner + 0.25 * 0.3)
    assert filled[1, 1].item() == pytest.approx(expected_11.item())


def test_push_pull_one_known_pixel_fills_everything_also_in_half_precision() -> None:
    mask = torch.ones(1, 1, 700, 900)
    mask[..., 333, 444] = 0
    image = torch.zeros(1, 3, 700, 900)
    image[..., 333, 444] = 0.75
    assert torch.allclose(push_pull(image, mask), torch.tensor(0.75), atol=1e-5)
    half = push_pull(image.half(), mask.half())
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), torch.tensor(0.75), atol=1e-3)


@settings(max_examples=40)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_push_pull_stays_within_the_known_range_at_any_size(height: int, width: int, seed: int) -> None:
    image, mask = make_pair(2, height, width, seed)
    image = 0.25 + image / 2
    filled = push_pull(image, mask)
    for one, one_mask, one_filled in zip(image, mask, filled, strict=True):
        known = one[(one_mask == 0).expand_as(one)]
        low, high = (known.min(), known.max()) if known.numel() else (torch.tensor(0.5), torch.tensor(0.5))
        assert one_filled.min() >= low - 1e-5
        assert one_filled.max() <= high + 1e-5


def test_push_pull_follows_flips_of_a_power_of_two_image() -> None:
    image, mask = make_pair(1, 32, 64)
    flipped = push_pull(image.flip(-1), mask.flip(-1)).flip(-1)
    torch.testing.assert_close(push_pull(image, mask), flipped)


def test_push_pull_beats_the_mean_colour_on_a_ramp() -> None:
    image = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64).contiguous()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:30, 40:60] = 1
    error = {fill: (fill(image, mask) - image).square().mean().item() for fill in (mean_colour, push_pull)}
    assert error[push_pull] < error[mean_colour] / 4
