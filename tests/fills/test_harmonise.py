"""Steps at the rim, grain and detail: closed forms on made pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.fills.canvas import Canvas
from inpaint.fills.detail import Enlarged, add_detail
from inpaint.fills.harmonise import (
    LARGEST_OFFSET,
    add_grain,
    correlations,
    fine_part,
    match_colours,
    measure_grain,
    remove_step,
)
from inpaint.framing import Box
from inpaint.images.depth import ValueRange

Y, X = np.mgrid[0:160, 0:160].astype(np.float32)
HOLE = (Y - 80) ** 2 + (X - 80) ** 2 < 40**2
FLAT = np.full((160, 160, 3), 0.5, np.float32)
RAMP = np.stack([X / 200 + 0.1] * 3, axis=-1)


def noisy(deviation: float, blur: float = 0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(FLAT.shape).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    return FLAT + np.float32(deviation / 255) * noise / noise.std()


def grain_of(image: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    fine = fine_part(np.where(where[..., None], image, 0))
    deviation, calm = measure_grain(fine, where)
    return deviation, *correlations(fine, calm)


def without_step(fill: np.ndarray, *about: np.ndarray) -> np.ndarray:
    remove_step(moved := fill.copy(), *about)
    return moved


def with_grain(fill: np.ndarray, *about: np.ndarray, seed: int = 0) -> np.ndarray:
    add_grain(grained := fill.copy(), *about, seed=seed)
    return grained


def error(fill: np.ndarray, image: np.ndarray) -> float:
    return float(np.abs((fill - image)[HOLE]).mean() * 255)


def test_colours_are_those_around() -> None:
    cloud, sky, blend = np.array([[0.9, 0.88, 0.86], [0.4, 0.6, 0.8], [0.5, 0.75, 0.95]], np.float32)
    image = np.where(X[..., None] < 80, cloud, sky)
    image[HOLE] = 1, 0, 1  # what is to go counts for nothing
    image[:7] = 0.6, 0.8, 0.9  # a place too far away to count
    fill = np.where(X[..., None] < 70, cloud, blend)  # at the right a mix, bluer than both
    match_colours(moved := fill.copy(), image, ~HOLE, HOLE)
    assert np.array_equal(moved[~HOLE], fill[~HOLE])
    inner = cv2.erode(HOLE.astype(np.uint8), np.ones((13, 13))) > 0
    assert np.allclose(moved[inner & (X < 60)], cloud, atol=0.01)
    assert np.allclose(moved[inner & (X > 90)], sky, atol=0.01)


@pytest.mark.parametrize("image", [FLAT, RAMP, noisy(20, blur=8)])
def test_colours_that_are_around_stay(image: np.ndarray) -> None:
    match_colours(moved := image.copy(), image, ~HOLE, HOLE)
    assert error(moved, image) < 1.5


@pytest.mark.parametrize("side", [3, 37, 130])
def test_colours_of_holes_of_any_size(side: int) -> None:
    hole = np.zeros(HOLE.shape, np.bool_)
    hole[11 : 11 + side, 13 : 13 + side] = True
    red = np.broadcast_to(np.float32([1, 0, 0]), FLAT.shape)
    match_colours(moved := red.copy(), FLAT, ~hole, hole)
    assert np.abs(moved - np.where(hole[..., None] & (side > 4), FLAT, red)).mean() < 0.03
    match_colours(moved := red.copy(), FLAT, ~hole & (X > 158) & (Y > 158), hole)  # too little to take from
    assert np.array_equal(moved, red)


@pytest.mark.parametrize(("image", "left"), [(FLAT, 0.01), (RAMP, 1.5)], ids=["flat", "ramp"])
@pytest.mark.parametrize("step", [-4, 3])
def test_a_step_at_the_rim_of_a_smooth_picture_goes(image: np.ndarray, left: float, step: int) -> None:
    fill = image + np.float32(step / 255)
    moved = without_step(fill, image, ~HOLE, HOLE)
    assert error(moved, image) < left
    assert np.array_equal(moved[~HOLE], fill[~HOLE])


@pytest.mark.parametrize("image", [FLAT, RAMP, np.where(X[..., None] > 90, RAMP, FLAT)])
def test_a_fill_that_fits_stays(image: np.ndarray) -> None:
    assert error(without_step(image.astype(np.float32), image, ~HOLE, HOLE), image) < 0.2


def test_in_flat_surroundings_the_fill_is_flat() -> None:
    pattern = FLAT + np.float32(3 / 255) * np.sin(X / 3)[..., None]
    assert error(without_step(pattern.astype(np.float32), FLAT, ~HOLE, HOLE), FLAT) < 0.01
    assert error(without_step(pattern.astype(np.float32), RAMP, ~HOLE, HOLE), pattern) > 0.01


def test_a_step_between_textures_is_the_networks_choice() -> None:
    texture = (FLAT + 0.2 * (np.sin(X / 3) * np.sin(Y / 4))[..., None]).astype(np.float32)
    assert error(without_step(texture + np.float32(4 / 255), texture, ~HOLE, HOLE), texture) > 3


@pytest.mark.parametrize("blur", [0, 0.5, 0.7])
def test_grain_is_as_strong_and_as_coarse_as_around(blur: float) -> None:
    image = noisy(4, blur)
    inside = (with_grain(FLAT, image, ~HOLE, HOLE) - FLAT)[60:101, 60:101]
    around = (image - FLAT)[:40]
    assert inside.std() == pytest.approx(around.std(), rel=0.08)
    alike = [float(np.corrcoef(part[:, 1:].ravel(), part[:, :-1].ravel())[0, 1]) for part in (inside, around)]
    assert alike[0] == pytest.approx(alike[1], abs=0.1)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_nothing_moves_far_or_outside_the_hole(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, fill = (rng.random((height, width, 3), np.float32) for _ in range(2))
    hole = rng.random((height, width)) < rng.choice([0.1, 0.5, 1.0])
    known = ~hole & (rng.random((height, width)) < rng.choice([0.5, 1.0]))
    hidden = np.where(known[..., None], image, rng.random(image.shape, np.float32))
    moved = without_step(fill, image, known, hole)
    assert np.array_equal(moved, without_step(fill, hidden, known, hole))  # what is unknown is not read
    assert np.array_equal(moved[~hole], fill[~hole])
    near_values = image[known]
    if near_values.size and np.ptp(near_values, axis=0).max() > 0.1:
        assert np.abs(moved - fill).max() <= LARGEST_OFFSET + 1e-6
    grained = with_grain(fill, image, known, hole)
    assert np.array_equal(grained, with_grain(fill, hidden, known, hole))
    assert np.array_equal(grained[~hole], fill[~hole])


@pytest.mark.parametrize(("deviation", "blur"), [(4, 0), (6, 0), (4, 0.5)])
def test_grain_is_as_strong_and_as_fine_as_around(deviation: float, blur: float) -> None:
    image = noisy(deviation, blur)
    grained = with_grain(FLAT, image, ~HOLE, HOLE)
    inside, _, beside = grain_of(grained, HOLE)
    around, _, expected = grain_of(image, ~HOLE)
    assert np.allclose(inside, around, rtol=0.15)
    assert beside == pytest.approx(expected, abs=0.15)
    assert np.array_equal(grained, with_grain(FLAT, image, ~HOLE, HOLE))
    assert not np.array_equal(grained, with_grain(FLAT, image, ~HOLE, HOLE, seed=1))


def test_grain_has_the_colours_of_the_grain_around() -> None:
    """Grey grain stays grey, and grain of independent channels coloured."""
    coloured = noisy(5)
    grey = FLAT + (coloured - FLAT).mean(-1, keepdims=True) * np.float32(np.sqrt(3))
    for image, expected in ((grey, 1.0), (coloured, 0.0)):
        _, channels, _ = grain_of(with_grain(FLAT, image, ~HOLE, HOLE), HOLE)
        assert channels[~np.eye(3, dtype=bool)] == pytest.approx(expected, abs=0.1)


def test_grain_is_added_only_where_it_is_missing() -> None:
    texture = (FLAT + 0.05 * (np.sin(X / 3) * np.sin(Y / 4))[..., None]).astype(np.float32)
    for image in (FLAT, RAMP, texture, noisy(0.5)):
        assert np.array_equal(with_grain(FLAT, image, ~HOLE, HOLE), FLAT)
    already = noisy(4, seed=1)
    assert np.abs(with_grain(already, noisy(4), ~HOLE, HOLE) - already).std() * 255 < 1.5


def test_detail_comes_from_where_the_small_picture_is_alike() -> None:
    """Left half smooth, right half striped: a hole over the border gets stripes on the right alone."""
    x = np.mgrid[0:320, 0:320][1].astype(np.float32)
    stripes = np.where(x >= 160, 0.1 * (-1.0) ** np.floor(x), 0)  # finer than the small picture can show
    image = (0.3 + 0.4 * (x >= 160) + stripes)[..., None].repeat(3, -1).astype(np.float32)
    hole = np.zeros((320, 320), bool)
    hole[136:184, 128:192] = True
    small = cv2.resize(image, (80, 80), interpolation=cv2.INTER_AREA)
    small_hole = cv2.resize(hole.astype(np.uint8), (80, 80), interpolation=cv2.INTER_AREA) > 0
    whole = Box(0, 0, 320, 320)
    canvas = Canvas(np.where(hole[..., None], 9, image), hole, ValueRange(0, 1))
    detailed = add_detail(Enlarged(small, whole), small_hole, canvas, whole)
    contrast = np.abs(np.diff(detailed[144:176, :, 0], axis=1))
    assert contrast[:, 136:150].max() < 0.02
    assert contrast[:, 170:184].mean() == pytest.approx(0.2, abs=0.02)


def test_without_a_known_place_there_is_no_detail() -> None:
    enlarged = Enlarged(noisy(20)[:32, :32], Box(10, 0, 74, 64))
    where = Box(12, 3, 20, 9)
    fill = add_detail(enlarged, np.ones((32, 32), bool), Canvas(RAMP, HOLE, ValueRange(0, 1)), where)
    assert np.array_equal(fill, enlarged.read(where))


@given(height=st.integers(1, 9), width=st.integers(1, 9), grown=st.tuples(*[st.floats(1, 7)] * 2))
def test_any_part_of_an_enlarged_image_is_what_opencv_makes_of_the_whole(
    height: int, width: int, grown: tuple[float, float]
) -> None:
    small = noisy(40, seed=height)[:height, :width]
    shape = round(height * grown[0]), round(width * grown[1])
    whole = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    enlarged = Enlarged(small, Box(5, 6, 5 + shape[0], 6 + shape[1]))
    part = Box(5 + shape[0] // 3, 6 + shape[1] // 2, 5 + shape[0], 6 + shape[1])
    assert np.allclose(enlarged.read(part), whole[shape[0] // 3 :, shape[1] // 2 :], atol=1e-5)
