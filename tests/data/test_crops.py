"""Which part of a photo becomes a picture, and how it is resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaint.data.config import Augment
from inpaint.data.crops import choose_crops, crop_and_resize, crop_photo, random_boxes
from tests.train.photo_files import data_config


def draws(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 5))


@settings(max_examples=25)
@given(size=st.integers(3, 40), min_scale=st.floats(0.1, 1.0), seed=st.integers(0, 1000))
def test_crops_equal_the_library_resize_image_by_image(size, min_scale, seed):
    pixels = torch.randint(0, 256, (4, 3, 24, 24), generator=torch.Generator().manual_seed(1))
    photos = pixels.to(torch.uint8)
    boxes = random_boxes(draws(4, seed), 24, 24, min_scale=min_scale)
    mirrored = torch.tensor([True, False, True, False])
    resized = crop_and_resize(photos, torch.from_numpy(boxes), mirrored, size)
    for photo, box, mirror, result in zip(photos, boxes.tolist(), mirrored, resized, strict=True):
        top, left, height, width = box
        crop = photo[None, :, top : top + height, left : left + width].float() / 255
        expected = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True)[0]
        assert torch.allclose(result, expected.flip(-1) if mirror else expected, atol=2e-5)


@settings(max_examples=25)
@given(size=st.integers(3, 40), seed=st.integers(0, 1000))
def test_a_worker_cuts_the_same_crop_as_the_device(size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    boxes = random_boxes(draws(2, seed), 24, 24, min_scale=0.3)
    mirrored = np.array([True, False])
    device = crop_and_resize(photo, torch.from_numpy(boxes), torch.from_numpy(mirrored), size)
    for box, mirror, expected in zip(boxes, mirrored, device, strict=True):
        crop = crop_photo(Image.fromarray(pixels), box, mirror, size)
        assert crop.shape == (size, size, 3) and crop.dtype == np.uint8
        # Pillow rounds to whole levels after each axis.
        assert np.abs(crop / 255 - expected.permute(1, 2, 0).numpy()).max() < 1.6 / 255


@settings(max_examples=100)
@given(
    height=st.integers(2, 300),
    width=st.integers(2, 300),
    min_scale=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_boxes_stay_inside_and_keep_area_and_aspect(height, width, min_scale, seed):
    boxes = random_boxes(draws(16, seed), height, width, min_scale=min_scale)
    top, left, box_h, box_w = boxes.T
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (top + box_h <= height).all() and (left + box_w <= width).all()
    largest = min(height, width * 4 / 3) * min(width, height * 4 / 3)
    edge = np.sqrt(largest)
    assert (box_h * box_w >= min_scale * largest - 2 * edge - 1).all()  # each side rounds by a half
    assert ((box_h - 0.5) / (box_w + 0.5) <= 4 / 3 + 1e-9).all()
    assert ((box_w - 0.5) / (box_h + 0.5) <= 4 / 3 + 1e-9).all()


def test_boxes_reach_every_place_and_every_scale():
    boxes = random_boxes(draws(4000), 100, 100, min_scale=0.25)
    area = boxes[:, 2] * boxes[:, 3] / 1e4
    assert abs(area.mean() - 0.625) < 0.02 and area.min() < 0.27 and area.max() > 0.98
    assert (boxes[:, 0] == 0).any() and (boxes[:, 0] + boxes[:, 2] == 100).any()


def test_min_scale_one_is_the_whole_square():
    assert random_boxes(draws(9), 16, 16, min_scale=1).tolist() == [[0, 0, 16, 16]] * 9


def test_crops_of_a_picture_do_not_depend_on_its_batch():
    config = data_config(Path("photos"), Path("run"), min_scale=0.3, seed=7)
    boxes, mirrored = choose_crops(config, 32, 8, 20, 30, 16)
    alone, flip = choose_crops(config, 35, 1, 20, 30, 16)
    assert np.array_equal(alone[0], boxes[3]) and flip[0] == mirrored[3]
    other, _ = choose_crops(
        data_config(Path("photos"), Path("run"), min_scale=0.3, seed=8), 32, 8, 20, 30, 16
    )
    assert not np.array_equal(other, boxes)


def test_resize_takes_the_whole_photo_and_mirrors_half():
    config = data_config(Path("photos"), Path("run"), augment=Augment(kind="resize"))
    boxes, mirrored = choose_crops(config, 0, 400, 20, 30, 16)
    assert (boxes == [0, 0, 20, 30]).all() and 160 < mirrored.sum() < 240


def test_a_crop_is_enlarged_no_more_than_allowed():
    config = data_config(Path("photos"), Path("run"), min_scale=0.1, max_upscale=1.25)
    # 64 pixels from 51.2 at least; 128 pixels would need 102: whole photos
    for size, smallest in ((64, 0.32 * 90 * 90), (128, 90 * 90)):
        boxes, _ = choose_crops(config, 0, 500, 90, 90, size)
        areas = boxes[:, 2] * boxes[:, 3]
        assert areas.min() == pytest.approx(smallest, rel=0.03)
    free, _ = choose_crops(data_config(Path("photos"), Path("run"), min_scale=0.1), 0, 500, 90, 90, 64)
    assert (free[:, 2] * free[:, 3]).min() < 0.15 * 90 * 90


def test_what_is_large_enough_anyway_keeps_its_crops():
    plain = data_config(Path("photos"), Path("run"), min_scale=0.3)
    limited = data_config(Path("photos"), Path("run"), min_scale=0.3, max_upscale=1.0)
    assert np.array_equal(
        choose_crops(plain, 0, 50, 256, 256, 128)[0], choose_crops(limited, 0, 50, 256, 256, 128)[0]
    )
