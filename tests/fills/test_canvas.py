"""What is written into an image that is being filled, in every layout and depth."""

from __future__ import annotations

import numpy as np
import pytest

from inpaint.fills.canvas import BT601, Canvas
from inpaint.framing import Box
from inpaint.images.depth import ValueRange

BOX = Box(2, 3, 9, 11)
COLOUR = np.array([0.25, 0.5, 1.0], np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_a_fill_goes_where_it_is_wanted_and_alpha_stays(channels: int, dtype: str) -> None:
    """Into a part of a larger array, as pipelines do it."""
    photo = np.full((20, 24, channels)[: 2 + (channels > 0)], 100, dtype)
    pixels, where = photo[4:16, 5:20], np.random.default_rng(0).random(BOX.shape) < 0.5
    canvas = Canvas(pixels, np.ones(pixels.shape[:2], bool), ValueRange(0, 200))
    canvas.write(BOX, np.broadcast_to(COLOUR, (*BOX.shape, 3)), where)
    written = np.zeros(photo.shape[:2], bool)
    written[4:16, 5:20][BOX.slices] = where
    assert np.array_equal(canvas.unknown, ~written[4:16, 5:20])
    colours = COLOUR if channels >= 3 else COLOUR @ np.array(BT601, np.float32)[:, None]
    expected = np.full((20, 24, max(channels, 1)), 100.0)
    expected[written, : len(colours)] = np.rint(200 * colours) if photo.dtype.kind in "iu" else 200 * colours
    assert np.allclose(photo.reshape(expected.shape), expected, rtol=1e-3)


def test_nothing_is_written_where_nothing_is_wanted() -> None:
    told: list[float] = []
    pixels, unknown = np.zeros((12, 12, 3), np.uint8), np.ones((12, 12), bool)
    canvas = Canvas(pixels, unknown, ValueRange(0, 255))
    canvas.tell(told.append, 5)
    canvas.write(BOX, np.ones((*BOX.shape, 3), np.float32), np.zeros(BOX.shape, bool))
    assert not pixels.any() and unknown.all() and not told
