"""Measures against closed forms and against other people's implementations."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.errors import ShapeError
from inpaint.metrics import (
    hole_l1,
    hole_psnr_db,
    l1,
    psnr_db,
    ssim,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def half_mask(batch: int, height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(batch, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


def test_psnr_of_a_known_error() -> None:
    target = noise(3, 3, 8, 8)
    # A constant difference of 10^-k has an MSE of 10^-2k: 20 k dB.
    prediction = target + torch.tensor([0.1, 0.01, 1.0]).view(3, 1, 1, 1)
    assert psnr_db(prediction, target).tolist() == pytest.approx([20.0, 40.0, 0.0], abs=1e-5)
    assert l1(prediction, target).tolist() == pytest.approx([0.1, 0.01, 1.0])


def test_ranges_are_equivalent() -> None:
    a, b = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    for measure in (psnr_db, ssim):
        torch.testing.assert_close(measure(a * 255, b * 255, data_range=255.0), measure(a, b))


def test_equal_images() -> None:
    image = noise(2, 3, 12, 12)
    assert psnr_db(image, image).isinf().all()
    assert ssim(image, image).tolist() == pytest.approx([1.0, 1.0])
    assert l1(image, image).tolist() == [0.0, 0.0]


def test_hole_measures_look_at_the_hole_only() -> None:
    target = noise(2, 3, 6, 10)
    mask = half_mask(2, 6, 10)
    prediction = torch.where(mask > 0.5, target + 0.1, torch.full_like(target, math.nan))
    assert hole_psnr_db(prediction, target, mask).tolist() == pytest.approx([20.0, 20.0])
    assert hole_l1(prediction, target, mask).tolist() == pytest.approx([0.1, 0.1])


def test_a_composite_spreads_the_hole_error_over_the_image() -> None:
    target = noise(1, 3, 8, 8)
    mask = half_mask(1, 8, 8)
    composite = torch.where(mask > 0.5, target + 0.2, target)
    gain = psnr_db(composite, target) - hole_psnr_db(composite, target, mask)
    assert gain.item() == pytest.approx(10 * math.log10(2))  # half of the pixels are hole


def test_no_hole_is_nan_not_a_number_somebody_averages() -> None:
    image = noise(1, 3, 4, 4)
    assert hole_psnr_db(image, image, torch.zeros(1, 1, 4, 4)).isnan().all()
    assert hole_l1(image, image, torch.zeros(1, 1, 4, 4)).isnan().all()


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_batches_do_not_mix(seed: int) -> None:
    a, b = noise(3, 3, 13, 17, seed=seed), noise(3, 3, 13, 17, seed=seed + 1)
    mask = (noise(3, 1, 13, 17, seed=seed + 2) < 0.5).float()
    order = [2, 0, 1]
    for measure in (psnr_db, ssim, l1):
        torch.testing.assert_close(measure(a, b)[order], measure(a[order], b[order]))
    for measure in (hole_psnr_db, hole_l1):
        torch.testing.assert_close(measure(a, b, mask)[order], measure(a[order], b[order], mask[order]))
    assert (ssim(a, b) - ssim(b, a)).abs().max() < 1e-12


def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    a, b = torch.full((1, 3, 20, 20), 0.25), torch.full((1, 3, 20, 20), 0.75)
    c1 = 0.01**2
    expected = (2 * 0.25 * 0.75 + c1) / (0.25**2 + 0.75**2 + c1)
    assert ssim(a, b).item() == pytest.approx(expected, rel=1e-9)


def test_ssim_against_opencv_filters() -> None:
    a, b = (noise(1, 3, 24, 31, seed=s)[0].permute(1, 2, 0).numpy() * 255 for s in (0, 1))

    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    ours = ssim(*(torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b)), data_range=255.0)
    assert ours.item() == pytest.approx(expected.mean(), abs=1e-9)


def test_wrong_shapes_are_named() -> None:
    a, b = torch.zeros(1, 3, 12, 12), torch.zeros(1, 3, 12, 13)
    for measure in (psnr_db, ssim, l1):
        with pytest.raises(ShapeError, match=r"\(1, 3, 12, 13\)"):
            measure(a, b)
    with pytest.raises(ShapeError, match="mask"):
        hole_psnr_db(a, a, torch.zeros(1, 1, 12, 13))
    with pytest.raises(ShapeError, match="11 x 11"):
        ssim(torch.zeros(1, 3, 10, 40), torch.zeros(1, 3, 10, 40))
