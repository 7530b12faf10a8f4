"""The published scripts' formulas: closed forms here, the scripts' own numbers among the reference cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from inpaint.errors import ShapeError
from inpaint.metrics import lama_ssim, mae_far_psnr_db, mae_far_ssim, psnr_db, ssim

PAIR = Path(__file__).parent / "goldens" / "metrics_pair.npz"


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 12, 12)


def published_pair() -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(PAIR) as file:
        first, second = (torch.from_numpy(file[f"in.{side}_p3"]) for side in "ab")
    return first.permute(2, 0, 1)[None].double() / 255, second.permute(2, 0, 1)[None].double() / 255


def test_mae_fars_psnr_is_one_decibel_too_high_and_ends_at_71() -> None:
    target = noise(3, 3, 8, 8)
    prediction = target + torch.tensor([0.1, 1.0, 0.0]).view(3, 1, 1, 1)
    assert mae_far_psnr_db(prediction, target).tolist() == pytest.approx([21.0, 1.0, 71.0], abs=1e-4)


def test_mae_fars_ssim_weighs_blue_as_red_and_doubles_the_range() -> None:
    grey = [0.2125 * blue + 0.7154 * green + 0.0721 * red for red, green, blue in ((1, 0, 0.5), (0, 0.25, 1))]
    c1 = (0.01 * 2) ** 2
    expected = (2 * grey[0] * grey[1] + c1) / (grey[0] ** 2 + grey[1] ** 2 + c1)
    assert mae_far_ssim(flat(1, 0, 0.5), flat(0, 0.25, 1)).item() == pytest.approx(expected, rel=1e-9)


def test_mae_fars_ssim_takes_the_covariance_of_a_sample() -> None:
    # One window, grey pictures: the formula by hand.
    a, b = noise(1, 1, 7, 7).expand(1, 3, 7, 7), noise(1, 1, 7, 7, seed=1).expand(1, 3, 7, 7)
    covariance = torch.cov(torch.stack([a[0, 0].flatten(), b[0, 0].flatten()]))
    means, c1, c2 = (a.mean(), b.mean()), (0.01 * 2) ** 2, (0.03 * 2) ** 2
    expected = (2 * means[0] * means[1] + c1) * (2 * covariance[0, 1] + c2)
    expected /= (means[0] ** 2 + means[1] ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
    assert mae_far_ssim(a, b).item() == pytest.approx(expected.item(), rel=1e-9)


def test_lamas_ssim_is_the_textbooks_with_zeros_around() -> None:
    a, b = noise(2, 3, 20, 17), noise(2, 3, 20, 17, seed=1)
    torch.testing.assert_close(lama_ssim(a, b), ssim(*(F.pad(image, (5, 5, 5, 5)) for image in (a, b))))


def test_lamas_ssim_on_a_pair_measured_with_its_own_class() -> None:
    # The class computes in float32 and is off by 2e-5 itself; its window sums to 1 - 1e-7.
    assert lama_ssim(*published_pair()).item() == pytest.approx(0.48705365, abs=1e-5)
    assert psnr_db(*published_pair()).item() == pytest.approx(26.0420615576, abs=1e-9)


@pytest.mark.parametrize("measure", [mae_far_psnr_db, mae_far_ssim, lama_ssim])
def test_equal_images_batches_and_shapes(measure) -> None:
    a, b = noise(3, 3, 15, 13), noise(3, 3, 15, 13, seed=1)
    best = 71.0 if measure is mae_far_psnr_db else 1.0
    assert measure(a, a).tolist() == pytest.approx([best] * 3)
    torch.testing.assert_close(measure(a, b)[[2, 0]], measure(a[[2, 0]], b[[2, 0]]))
    with pytest.raises(ShapeError, match=r"\(3, 3, 15, 12\)"):
        measure(a, b[..., :12])
    with pytest.raises(ShapeError, match=r"\(B, 3, H, W\)"):
        measure(a[:, :1], b[:, :1])


def test_an_image_smaller_than_the_window_is_named() -> None:
    with pytest.raises(ShapeError, match="6 x 20; expected at least 7"):
        mae_far_ssim(noise(1, 3, 6, 20), noise(1, 3, 6, 20))
