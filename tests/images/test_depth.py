"""Images of any depth: what the network is shown, and what comes back in the image's own numbers."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from inpaint.errors import ImageError
from inpaint.images.depth import ValueRange, find_range
from inpaint.pipeline import InpaintPipeline

NO_HOLE = np.zeros((1, 4), bool)


class Painter(nn.Module):
    """Stands in for a network: paints one colour, and remembers what it was shown."""

    def __init__(self, *colour: float) -> None:
        super().__init__()
        self.preset = SimpleNamespace(name="painter", working_size=64)
        self.colour = torch.tensor(colour).view(1, 3, 1, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        self.shown = image
        return self.colour.expand_as(image)


def values(*numbers: float, kind: Any = np.uint16) -> np.ndarray:
    return np.array([numbers], kind)


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        pytest.param(values(0, 3, 9, 200, kind=np.uint8), 0, 255, id="8 bit is never stretched"),
        pytest.param(values(0, 3, 9, 200), 0, 255, id="8 bit in 16"),
        pytest.param(values(0, 3, 9, 1000), 0, 1023, id="10 bit in 16"),
        pytest.param(values(0, 3, 9, 4095), 0, 4095, id="12 bit in 16"),
        pytest.param(values(0, 3, 9, 4096), 0, 16383, id="14 bit in 16"),
        pytest.param(values(0, 3, 9, 65535), 0, 65535, id="16 bit"),
        pytest.param(values(0, 3, 9, 10**9, kind=np.uint32), 0, 10**9, id="32 bit"),
        pytest.param(values(-1024, 0, 700, 3071, kind=np.int16), -1024, 3071, id="signed, as in tomography"),
        pytest.param(values(0, 0.2, 0.5, 0.9, kind=np.float32), 0, 1, id="float to 1"),
        pytest.param(values(0, 0.2, 0.5, 0.9, kind=np.float16), 0, 1, id="half float"),
        pytest.param(values(0, 0.002, 0.005, 0.01, kind=np.float32), 0, 0.01, id="float in small units"),
        pytest.param(values(0, 40, 90, 250, kind=np.float64), 0, 255, id="float to 255"),
        pytest.param(values(0, 9000, 30000, 65000, kind=np.float32), 0, 65535, id="float to 65535"),
        pytest.param(values(-1, -0.3, 0.2, 1, kind=np.float32), -1, 1, id="float about zero"),
    ],
)
def test_ranges_are_found(image: np.ndarray, low: float, high: float) -> None:
    assert find_range(image, NO_HOLE) == ValueRange(low, pytest.approx(high))


def test_light_is_shown_by_its_logarithm() -> None:
    found = find_range(values(0.0, 0.1, 0.4, 300.0, kind=np.float32), NO_HOLE)
    assert found.scale and found.high == 300
    steps = found.to_unit(values(0.1, 1, 10, 100, kind=np.float32))[0]
    assert 0.1 < steps[0] < 0.5 and np.allclose(np.diff(steps, 2), 0, atol=0.02)  # ten times = one step


def test_what_the_hole_hides_does_not_count() -> None:
    image = values(10, 20, np.nan, 1e6, kind=np.float32) / 100
    assert find_range(image, np.array([[0, 0, 1, 1]], bool)) == ValueRange(0, 1)
    with pytest.raises(ImageError, match=r"1 values that are NaN"):
        find_range(image, NO_HOLE)


@pytest.mark.parametrize("odd", [-9999.0, -3.4e38, 3.4e38])
def test_a_range_that_cannot_be_understood_is_told(odd: float) -> None:
    image = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    image[3, 4] = odd
    with pytest.raises(ImageError, match=rf"values from .*{re.escape(f'{odd:g}')}"):
        find_range(image, np.zeros((40, 40), bool))
    with pytest.raises(ImageError, match="complex"):
        find_range(image.astype(np.complex64), np.zeros((40, 40), bool))


@pytest.mark.parametrize("share", [0.002, 0.05, 0.6])
@pytest.mark.parametrize(
    ("mark", "high", "kind"),
    [(-9999, 1, np.float32), (-9999, 255, np.float32), (-9999, 3000, np.float32), (-32768, 4000, np.int16)],
)
def test_a_mark_of_missing_data_is_told_however_many_have_it(
    mark: int, high: int, kind: type, share: float
) -> None:
    random = np.random.default_rng(0)
    image = (random.random((60, 60)) * high).astype(kind)
    image[random.random(image.shape) < share] = mark
    with pytest.raises(ImageError, match=f"{mark}.*mark such pixels in the mask"):
        find_range(image, np.zeros(image.shape, bool))


@pytest.mark.parametrize(
    ("least", "low", "high"),
    [(-1, -1, 1), (-1, 0.9, 1), (-128, 120, 127), (-40, 10, 25), (-1000, -120, 1500), (-1, 0, 0.01)],
    ids=["about zero", "black on white", "bytes about zero", "cold sky", "tomography", "a small step"],
)
def test_an_ordinary_image_may_have_many_equal_least_values(least: float, low: float, high: float) -> None:
    random = np.random.default_rng(0)
    image = (low + random.random((60, 60)) * (high - low)).astype(np.float32)
    image[random.random(image.shape) < 0.2] = least
    assert find_range(image, np.zeros(image.shape, bool)).low == least


@settings(max_examples=60)
@given(
    st.sampled_from([np.uint8, np.uint16, np.int16, np.uint32, np.float16, np.float32, np.float64]),
    st.floats(0.5, 1e4),
    st.integers(0, 2**31),
)
def test_there_and_back_is_the_same_value(kind: Any, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.lognormal(0, 2, (9, 9)) * size).clip(0, 60000)
    image = (
        (image - (1000 if kind is np.int16 else 0))
        .clip(-1000, 255 if kind is np.uint8 else 30000)
        .astype(kind)
    )
    found = find_range(image, np.zeros((9, 9), bool))
    again = found.from_unit(found.to_unit(image), image.dtype)
    assert again.dtype == kind
    if np.issubdtype(kind, np.floating):
        assert np.allclose(again, image, rtol=4e-3 if kind is np.float16 else 2e-4, atol=found.high * 1e-6)
    else:
        assert np.abs(again.astype(float) - image).max() <= max(0, (found.high - found.low) * 1e-7)


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_the_hole_is_filled_in_its_own_depth_and_the_rest_is_bit_identical(channels: int, kind: Any) -> None:
    shape = (70, 90, channels) if channels else (70, 90)
    image = np.random.default_rng(1).integers(1, 65536, shape).astype(kind)
    image = image / np.float32(65535) if kind is np.float32 else image
    mask = np.zeros((70, 90), bool)
    mask[20:44, 40:66] = True
    result = InpaintPipeline(Painter(0.30001, 0.5, 0.7), device="cpu")(
        image, Image.fromarray(mask), harmonise=False
    )
    assert result.dtype == image.dtype and result.shape == shape
    assert np.array_equal(result[~mask], image[~mask])
    fill = result[mask] if channels else result[mask][:, None]
    if channels in (2, 4):
        assert np.array_equal(result[..., -1], image[..., -1])
        fill = fill[:, :-1]
    white = 1 if kind is np.float32 else 65535
    grey = 0.299 * 0.30001 + 0.587 * 0.5 + 0.114 * 0.7
    expected = np.array([0.30001, 0.5, 0.7] if channels >= 3 else [grey]) * white
    assert np.abs(fill - expected).max() <= (0.51 if white > 1 else 1e-6)  # not a step of 8 bits: 257


def test_a_dark_12_bit_image_is_not_shown_black() -> None:
    image = np.full((64, 64, 3), 2048, np.uint16)
    mask = np.zeros((64, 64), bool)
    mask[:9] = True
    painter = Painter(0.5, 0.5, 0.5)
    InpaintPipeline(painter, device="cpu")(image, Image.fromarray(mask), harmonise=False)
    assert painter.shown[..., 20:, :].mean() == pytest.approx(2048 / 4095)


def test_an_array_of_other_channels_is_refused() -> None:
    with pytest.raises(ImageError, match=r"shape \(8, 8, 5\), expected"):
        InpaintPipeline(Painter(0, 0, 0), device="cpu")(np.zeros((8, 8, 5)), Image.new("L", (8, 8), 255))
