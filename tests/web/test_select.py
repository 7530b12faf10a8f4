from pathlib import Path

import cv2
import numpy as np
import pytest

from inpaint.errors import InpaintError, MaskError
from inpaint.web.select import Rough, select_object, with_rim


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("kind", ["box", "scribble"])
def test_a_rough_hint_becomes_the_object(kind: str, scale: int) -> None:
    random = np.random.default_rng(0)
    height, width = 240, 320
    truth = np.zeros((height, width), np.uint8)
    cv2.ellipse(truth, (150, 120), (60, 38), 20, 0, 360, 1, -1)
    pixels = np.where(truth[..., None] > 0, (200, 60, 50), (70, 110, 80)) + random.normal(
        0, 18, (height, width, 3)
    )
    pixels = cv2.resize(pixels.clip(0, 255).astype(np.uint8), None, fx=scale, fy=scale)
    truth = cv2.resize(truth, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
    points = [(75, 60), (228, 182)] if kind == "box" else [(110, 110), (150, 120), (190, 132)]
    hint = Rough(kind=kind, points=[(x * scale, y * scale) for x, y in points], radius=6 * scale)
    found = select_object(pixels, hint)
    assert (found & truth).sum() / (found | truth).sum() > 0.93


def test_hints_that_mean_nothing_are_told(tmp_path: Path) -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    with pytest.raises(MaskError, match="too small"):
        select_object(grey, Rough(kind="box", points=[(10, 10), (11, 11)]))
    with pytest.raises(MaskError, match="covers the whole photo"):
        select_object(grey, Rough(kind="box", points=[(-5, -5), (150, 150)]))
    with pytest.raises(MaskError, match="too small"):
        select_object(grey, Rough(kind="box", points=[(500, 500), (700, 700)]))
    with pytest.raises(MaskError, match="a network that is not here"):
        select_object(grey, Rough(kind="click", points=[(10, 10)]))


@pytest.mark.parametrize(
    ("rough", "centre", "radius", "seen"),
    [
        ({"kind": "click", "points": [(500, 120)]}, (500, 120), 40, (300, 600)),
        ({"kind": "box", "points": [(360, 100), (300, 60)]}, (330, 80), 90, (160, 180)),
        (
            {"kind": "scribble", "points": [(200, 150), (230, 150), (260, 150)], "radius": 5},
            (230, 150),
            40,
            (150, 210),
        ),
    ],
)
def test_a_network_is_given_the_hint_in_its_own_coordinates(
    selector: Path, rough: dict, centre: tuple[int, int], radius: int, seen: tuple[int, int]
) -> None:
    """``seen`` is the part of the photo that the network is shown, ``(H, W)``."""
    found = select_object(np.zeros((300, 600, 3), np.uint8), Rough(**rough), selector)
    rows, columns = np.nonzero(found)
    assert abs(columns.mean() - centre[0]) < 1.5 and abs(rows.mean() - centre[1]) < 1.5
    across = (np.ptp(rows) + 1) / seen[0] * 1024, (np.ptp(columns) + 1) / seen[1] * 1024
    assert across == pytest.approx((2 * radius, 2 * radius), rel=0.15)


def test_weights_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "sam.onnx").write_bytes(b"no network")
    rough = Rough(kind="click", points=[(5, 5)])
    with pytest.raises(InpaintError, match=r"sam\.onnx is not a network that OpenCV can read"):
        select_object(np.zeros((50, 50, 3), np.uint8), rough, tmp_path / "sam.onnx")


@pytest.mark.parametrize(("side", "rim"), [(20, 2), (600, 6)])
def test_the_soft_edge_of_an_object_is_selected_with_it(side: int, rim: int) -> None:
    found = np.zeros((800, 900), np.bool_)
    found[100 : 100 + side, 200 : 200 + side] = True
    expected = np.zeros_like(found)
    expected[100 - rim : 100 + side + rim, 200 - rim : 200 + side + rim] = True
    assert np.array_equal(with_rim(found), expected)
