"""Linear prediction of fine damage: closed forms on made pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inpaint.baselines import GREY
from inpaint.fills.gaussian import predict_gaussian

Y, X = np.mgrid[0:96, 0:96].astype(np.float32)
STRIPES = (0.5 + 0.3 * np.sin((X + 2 * Y) / 3))[..., None].repeat(3, -1).astype(np.float32)
SCRATCH = np.abs(X - 40 - Y / 5) < 2


def predict(
    image: np.ndarray, unknown: np.ndarray, hole: np.ndarray, prediction: np.ndarray | None = None
) -> np.ndarray:
    predictions = {} if prediction is None else {0: prediction}
    return predict_gaussian(image[None], unknown[None], hole[None], predictions)[0]


def error(fill: np.ndarray, image: np.ndarray, hole: np.ndarray) -> float:
    return float(np.abs(fill - image)[hole].mean())


def test_stripes_go_on_across_a_scratch_where_a_smooth_fill_blurs_them() -> None:
    fill = predict(STRIPES, SCRATCH, SCRATCH)
    assert error(fill, STRIPES, SCRATCH) < 0.02
    smooth = predict(STRIPES, SCRATCH, np.zeros_like(SCRATCH))
    assert error(smooth, STRIPES, SCRATCH) > 0.1
    assert np.array_equal(fill[~SCRATCH], STRIPES[~SCRATCH])


def test_flat_surroundings_give_a_flat_fill() -> None:
    flat = np.full_like(STRIPES, 0.3)
    assert np.abs(predict(flat, SCRATCH, SCRATCH) - flat).max() < 1e-6


def test_what_is_unknown_is_not_read() -> None:
    hidden = np.where(SCRATCH[..., None], np.float32(7), STRIPES)
    part = SCRATCH & (Y > 50)
    assert np.array_equal(predict(STRIPES, SCRATCH, part)[part], predict(hidden, SCRATCH, part)[part])


def test_the_error_of_a_prediction_at_the_known_pixels_is_taken_off() -> None:
    noise = np.random.default_rng(0).random(STRIPES.shape, np.float32)
    hole = (abs(X - 48) < 6) & (abs(Y - 48) < 6)
    fill = predict(noise, hole, hole, noise + np.float32(0.1))  # white noise: neighbours say nothing
    assert error(fill, noise, hole) < 0.25 * error(predict(noise, hole, hole), noise, hole)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_a_known_pixel_the_fill_is_grey(value: float) -> None:
    everything = np.ones_like(SCRATCH)
    image = np.full_like(STRIPES, value)
    assert np.allclose(predict(image, everything, everything), GREY)


def test_parts_of_a_wide_hole_meet_without_a_seam() -> None:
    """Parts of 16 pixels are predicted one after the other, from what is known and what is filled."""
    noise = np.random.default_rng(0).standard_normal((96, 96, 1)).astype(np.float32)
    image = (0.5 + 1.5 * cv2.GaussianBlur(noise, (0, 0), 5)[..., None]).repeat(3, -1).astype(np.float32)
    hole = (abs(X - 48) < 8) & (abs(Y - 48) < 32)
    steps = np.abs(np.diff(predict(image, hole, hole)[..., 0], axis=0))[:, 41:56].mean(1)
    for row in (32, 48, 64):  # the last one of a part
        assert steps[row] < 1.2 * (steps[row - 1] + steps[row + 1]) / 2
