"""Holes from masks with soft edges, their default dilation, and masks that are doubted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageFilter

from inpaint.errors import MaskError
from inpaint.fills.holes import FAINTEST_RIM, default_dilation, doubt_mask, faint_rim, find_hole
from inpaint.images import HOLE, mask_from_image


def row(*levels: int) -> Image.Image:
    return Image.fromarray(np.array([levels], np.uint8))


def disc(side: int = 200, blur: float = 0) -> Image.Image:
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((side // 4, side // 4, side // 2, side // 2), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def photo(side: int = 200, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def test_a_soft_rim_belongs_to_the_hole_it_hangs_together_with() -> None:
    hole = find_hole(row(0, 5, 60, 127, 200, 255, 90, 8, 7, 0, 90, 90, 0), 0)
    assert "".join(".#"[int(value)] for value in hole[0]) == "..######....."
    assert faint_rim(
        np.asarray(row(0, 5, 60, 255, 0, 0)), find_hole(row(0, 5, 60, 255, 0, 0), 0)
    ).tolist() == [[False, True, False, False, False, False]]


def test_a_faint_mark_far_from_holes_is_noise() -> None:
    mask = row(255, *[0] * 20, 5, 0)
    assert not faint_rim(np.asarray(mask), find_hole(mask, 0)).any()


@settings(max_examples=60)
@given(arrays.arrays(np.uint8, (9, 14)), st.integers(0, 3))
def test_the_hole_lies_between_certain_and_touched_pixels(levels: np.ndarray, dilate: int) -> None:
    levels[4, 4], levels[0, 0], levels[0, 1] = 255, 0, 60  # more than two values: soft
    mask = Image.fromarray(levels)
    hole = find_hole(mask, 0)
    assert hole[levels >= HOLE].all() and not hole[levels < FAINTEST_RIM].any()
    rows, columns = np.nonzero(hole)
    grown = np.zeros_like(hole)
    for y, x in zip(rows, columns, strict=True):
        grown[max(y - dilate, 0) : y + dilate + 1, max(x - dilate, 0) : x + dilate + 1] = True
    assert np.array_equal(find_hole(mask, dilate), grown)


def test_the_default_dilation_follows_the_size_and_spares_fine_damage() -> None:
    assert [default_dilation((side, 10)) for side in (256, 700, 1000, 4000, 40_000)] == [0, 0, 1, 3, 4]
    mask = np.zeros((3000, 100), np.uint8)
    mask[100:104, 20:80] = 255  # a scratch
    mask[500:560, 20:80] = 255
    hole = find_hole(Image.fromarray(mask))
    assert hole[:400].sum() == 4 * 60
    assert hole[400:].sum() == 64 * 64
    assert np.array_equal(find_hole(Image.fromarray(mask), 0), mask > 0)


@pytest.mark.parametrize("dilate", [None, 0, 90])
def test_holes_far_apart_are_found_as_if_alone(dilate: int | None) -> None:
    parts = [Image.new("L", (1600, 1000)) for _ in range(3)]
    ImageDraw.Draw(parts[0]).line((0, 999, 1599, 60), fill=255, width=3)  # its box holds the other two
    ImageDraw.Draw(parts[1]).ellipse((60, 40, 240, 220), fill=255)
    ImageDraw.Draw(parts[2]).rectangle((1400, 800, 1599, 999), fill=255)
    parts = [np.asarray(part.filter(ImageFilter.GaussianBlur(2))) for part in parts]
    alone = np.logical_or.reduce([find_hole(part, dilate) for part in parts])
    assert np.array_equal(find_hole(np.maximum.reduce(parts), dilate), alone)


def test_an_empty_mask_says_what_it_has() -> None:
    with pytest.raises(MaskError, match="mask is empty: nothing"):
        find_hole(row(0, 0))
    with pytest.raises(MaskError, match="dilate -1"):
        find_hole(row(0, 255), -1)


def inverse(image: Image.Image) -> Image.Image:
    return Image.eval(image, lambda value: 255 - value)


def erased(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(inverse(disc()))
    return image


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (inverse(disc()), "marks 95% of the photo as hole"),
        (photo(), "looks like the photo itself"),
        (photo().convert("L"), "looks like the photo itself"),
        (inverse(photo()), "looks like a negative of the photo"),
        (erased(photo()), "looks like the photo itself"),
    ],
    ids=["inverted", "the photo", "in grey", "its negative", "rubbed out"],
)
def test_implausible_masks_are_doubted(mask: Image.Image, told: str) -> None:
    doubt = doubt_mask(photo(), np.asarray(mask_from_image(mask)), find_hole(mask))
    assert doubt is not None and told in doubt and "\n" not in doubt


@pytest.mark.parametrize("mask", [disc(), disc(blur=20), photo(seed=1)], ids=["disc", "soft", "other photo"])
def test_plausible_masks_are_believed(mask: Image.Image) -> None:
    hole = find_hole(mask, 0)
    if hole.mean() <= 0.8:
        assert doubt_mask(photo(), np.asarray(mask_from_image(mask)), hole) is None
    smooth = Image.linear_gradient("L").resize((200, 200))
    assert doubt_mask(smooth, np.asarray(disc(blur=20)), find_hole(disc(blur=20))) is None
    black_and_white = photo().convert("L").point([0] * 129 + [255] * 127)  # a scan is its own mask
    assert doubt_mask(black_and_white, np.asarray(black_and_white), find_hole(black_and_white, 0)) is None
