"""Distortions on the device, and LaMa's in workers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from inpaint.data.augment import DISTORTION_DRAWS, distort, distort_as_lama, require_albumentations
from inpaint.data.config import Augment
from inpaint.errors import InpaintError

EVERYTHING = Augment(
    rotate=30, zoom=0.3, perspective=0.2, brightness=0.3, contrast=0.3, saturation=0.5, hue=0.1
)


def pictures(count: int = 3, size: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def smooth(size: int = 33) -> torch.Tensor:
    """A ramp to the right in red and one downwards in green."""
    ramp = torch.linspace(0, 1, size)
    return torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)])[
        None
    ]


def draws(count: int, **changes: float) -> np.ndarray:
    """Draws that change nothing, but for those named."""
    columns = [
        "angle",
        "zoom",
        *(f"corner{n}" for n in range(8)),
        "brightness",
        "contrast",
        "saturation",
        "hue",
    ]
    rows = np.full((count, DISTORTION_DRAWS), 0.5)
    rows[:, 2:10] = 0
    for name, value in changes.items():
        rows[:, columns.index(name)] = value
    return rows


def test_draws_in_the_middle_change_nothing():
    image = pictures()
    assert torch.allclose(distort(image, draws(3), EVERYTHING), image, atol=1e-5)


def test_a_quarter_turn_turns_the_picture():
    image = smooth()
    turned = distort(image, draws(1, angle=1), Augment(rotate=90))
    assert torch.allclose(turned, torch.rot90(image, -1, (2, 3)), atol=1e-4)


def test_zoom_is_about_the_centre_and_reflects_what_is_outside():
    image = smooth()
    larger = distort(image, draws(1, zoom=1), Augment(zoom=1))
    assert torch.allclose(larger[0, 0, 16], torch.linspace(0.25, 0.75, 33), atol=1e-4)
    smaller = distort(image, draws(1, zoom=0), Augment(zoom=1))
    assert torch.allclose(smaller[0, 0, 16, 8:25], torch.linspace(0, 1, 17), atol=1e-4)
    assert torch.allclose(smaller[0, 0, 16, :8], smaller[0, 0, 16, 9:17].flip(0), atol=1e-4)


def test_perspective_pulls_inner_points_to_the_corners():
    image = smooth()
    tilted = distort(image, draws(1, corner0=1, corner1=1), Augment(perspective=0.25))[0]
    assert tilted[:2, 0, 0].tolist() == pytest.approx([33 * 0.25 / 32] * 2, abs=1e-3)
    for row, column in ((0, 32), (32, 32), (32, 0)):
        assert torch.allclose(tilted[:, row, column], image[0, :, row, column], atol=1e-3)


def test_colours_change_by_their_factors():
    image = pictures() * 0.4 + 0.3
    brighter = distort(image, draws(3, brightness=1), Augment(brightness=0.2))
    assert torch.allclose(brighter, image * 1.2, atol=1e-5)
    flat = distort(image, draws(3, contrast=0), Augment(contrast=1))
    assert flat.std(dim=(1, 2, 3)).max() < 1e-5
    grey = distort(image, draws(3, saturation=0), Augment(saturation=1))
    assert torch.allclose(grey, image.amax(1, keepdim=True).expand_as(grey), atol=1e-4)
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    cyan = distort(red, draws(1, hue=1), Augment(hue=0.5))
    assert torch.allclose(cyan[0, :, 0, 0], torch.tensor([0.0, 1.0, 1.0]), atol=1e-3)


def test_a_picture_is_distorted_the_same_in_any_batch():
    image, rows = pictures(6), np.random.default_rng(0).random((6, DISTORTION_DRAWS))
    together = distort(image, rows, EVERYTHING)
    assert together.min() >= 0 and together.max() <= 1 and not torch.allclose(together, image, atol=0.1)
    assert torch.equal(distort(image[2:4], rows[2:4], EVERYTHING), together[2:4])


def test_lama_distortions_follow_from_the_seed_alone():
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    lama = distort_as_lama
    crops = [lama(photo, 32, seed) for seed in (1, 2, 1)]
    assert crops[0].shape == (32, 32, 3) and crops[0].dtype == np.uint8
    assert np.array_equal(crops[0], crops[2]) and not np.array_equal(crops[0], crops[1])


def test_lama_distortions_keep_some_photos_and_change_others():
    """Each of seven changes spares half of the photos, so a plain crop is rare and colours vary."""
    lama = distort_as_lama
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    slopes = np.array([np.diff(lama(ramp, 32, seed).mean((0, 2))).mean() for seed in range(60)])
    assert (slopes < 0).any() and (slopes > 0).any()  # mirrored and not
    sizes = np.abs(slopes)
    assert sizes.std() > 0.3  # zoomed, turned, and of other contrast
    assert (np.abs(sizes - 4) < 0.2).any()  # and some as they were


def test_a_photo_smaller_than_the_crop_is_mirrored_at_its_edges():
    photo = np.full((20, 40, 3), 100, np.uint8)
    crop = distort_as_lama(photo, 32, seed=5)
    assert crop.shape == (32, 32, 3) and crop.min() > 0  # no black border


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(InpaintError, match=r"needs albumentations, .*: pip install .*\[train\]"):
        require_albumentations()
