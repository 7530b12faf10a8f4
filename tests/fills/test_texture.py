"""Texture for fills that are too smooth: it comes from known places that look alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inpaint.fills.canvas import Canvas, shrink_hole
from inpaint.fills.detail import APART, Enlarged, add_detail, add_texture
from inpaint.framing import Box
from inpaint.images.depth import ValueRange

SIDE = 320
Y, X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
CORE = (np.abs(Y - 160) < 32) & (np.abs(X - 160) < 32)


def textured(seed: int = 0) -> np.ndarray:
    """Fine leaves on a background that changes slowly from left to right."""
    noise = np.random.default_rng(seed).standard_normal((SIDE, SIDE, 1)).astype(np.float32)
    leaves = cv2.GaussianBlur(noise, (0, 0), 1)[..., None]
    return (0.3 + X[..., None] / 800 + 0.3 * leaves).repeat(3, -1).astype(np.float32)


def smooth() -> np.ndarray:
    return (0.3 + X[..., None] / 800).repeat(3, -1).astype(np.float32)


def with_texture(fill: np.ndarray, image: np.ndarray, coarser: int = 4) -> np.ndarray:
    add_texture(filled := fill.copy(), image, CORE, CORE, coarser)
    return filled


def energy(image: np.ndarray) -> float:
    """Of the texture in the middle of the hole."""
    return float((image - smooth())[136:185, 136:185].std())


@pytest.mark.parametrize("coarser", [2, 4])
def test_a_smooth_fill_takes_the_texture_around_it(coarser: int) -> None:
    image = textured()
    filled = with_texture(smooth(), image, coarser)
    assert energy(smooth()) == 0
    expected = energy(image) * {2: 0.4, 4: 0.9}[coarser]  # the rest is coarser than what is replaced
    assert energy(filled) == pytest.approx(expected, rel=0.25)
    assert np.array_equal(filled[~CORE], smooth()[~CORE])
    hidden = np.where(CORE[..., None], 7, image).astype(np.float32)
    assert np.array_equal(with_texture(smooth(), hidden, coarser), filled)  # what is unknown is not read


def test_texture_goes_on_in_pieces_larger_than_a_block() -> None:
    """Most pieces across two blocks of 16 pixels are found in the photo as a whole."""
    image = textured()
    texture, photo = (with_texture(smooth(), image) - smooth())[..., 0], (image - smooth())[..., 0]
    alike = [
        cv2.matchTemplate(photo, texture[y : y + 16, x - 8 : x + 8].copy(), cv2.TM_CCORR_NORMED).max()
        for y in range(128, 192, 16)
        for x in (144, 160, 176)
    ]
    assert np.mean(np.array(alike) > 0.65) > 0.6  # 0.4 to 0.6 where blocks choose alone


def test_blocks_near_each_other_never_take_the_same_detail() -> None:
    """Where all look alike, one source would be the best for all of them: a lattice."""
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE, 3)).astype(np.float32)
    canvas = Canvas(0.5 + 0.05 * noise, CORE.copy(), ValueRange(0, 1))
    flat = Enlarged(np.full((SIDE // 4, SIDE // 4, 3), 0.5, np.float32), Box(0, 0, SIDE, SIDE))
    detail = add_detail(flat, shrink_hole(CORE, (SIDE // 4,) * 2), canvas, Box(128, 128, 192, 192))
    blocks = detail.reshape(4, 16, 4, 16, 3).swapaxes(1, 2)
    for y, x in np.ndindex(4, 4):
        near = blocks[max(0, y + 1 - APART) : y + APART, max(0, x + 1 - APART) : x + APART]
        assert sum(np.allclose(one, blocks[y, x], atol=1e-6) for one in near.reshape(-1, 16, 16, 3)) == 1


def test_a_fill_with_texture_of_its_own_stays() -> None:
    other = textured(seed=1)
    assert np.array_equal(with_texture(other, textured()), other)


def test_a_blade_of_grass_alone_on_water_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A faint spot in the fill looks more like the blade than like the water."""
    water = 0.5 + 0.002 * np.random.default_rng(0).standard_normal((SIDE, SIDE, 3)).astype(np.float32)
    image, fill = water.copy(), np.full_like(water, 0.5)
    image[32:64, 160:192] -= 0.06 + 0.05 * (-1.0) ** X[32:64, 160:192, None]
    fill[160:192, 160:192] -= 0.06
    assert np.abs(with_texture(fill, image) - fill).max() < 0.02
    monkeypatch.setattr("inpaint.fills.detail.STRAY", np.inf)
    assert np.abs(with_texture(fill, image) - fill).max() > 0.04


def test_a_fill_that_looks_like_nothing_known_stays() -> None:
    red = np.broadcast_to(np.array([0.9, 0.1, 0.1], np.float32), (SIDE, SIDE, 3)).copy()
    assert np.array_equal(with_texture(red, textured()), red)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (33, 20)])
def test_small_images_without_a_source_stay(shape: tuple[int, int]) -> None:
    fill = np.full((*shape, 3), 0.5, np.float32)
    everything = np.ones(shape, bool)
    add_texture(filled := fill.copy(), fill, everything, everything, 4)
    assert np.array_equal(filled, fill)
