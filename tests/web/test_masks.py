from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from inpaint.errors import MaskError
from inpaint.web.masks import Drawing, draw, grow, place, read_masks_of, require_holes


def no_layer(key: str) -> np.ndarray:
    raise MaskError(key)


def stroke(*points: tuple[float, float], radius: float = 5, erase: bool = False) -> dict:
    return {"kind": "stroke", "points": points, "radius": radius, "erase": erase}


def drawn(*operations: dict, size: tuple[int, int] = (80, 100), layers: dict | None = None) -> np.ndarray:
    drawing = Drawing(operations=operations)
    return draw(drawing, *size, (layers or {}).__getitem__ if layers else no_layer)


def distance_to(points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """From every pixel's centre to a line, exactly."""
    y, x = np.mgrid[:height, :width] + 0.5
    nearest = np.full((height, width), np.inf)
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / (length or 1), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return nearest


places = st.tuples(st.floats(-20, 120), st.floats(-20, 100))


@given(st.lists(places, min_size=1, max_size=5), st.floats(1, 30))
def test_a_stroke_marks_what_the_round_brush_passed(points: list, radius: float) -> None:
    marked = drawn(stroke(*points, radius=radius))
    distance = distance_to(points, 80, 100)
    assert marked[distance < radius - 1.5].all()
    assert not marked[distance > radius + 1.5].any()


def test_operations_work_in_order() -> None:
    line, layer = stroke((20, 40), (80, 40)), np.zeros((80, 100), bool)
    layer[:10] = True
    both = drawn(line, {"kind": "layer", "id": "m"}, layers={"m": layer})
    assert np.array_equal(both, drawn(line) | layer)
    rubbed = drawn(line, {"kind": "layer", "id": "m", "erase": True}, layers={"m": layer | drawn(line)})
    assert not rubbed.any()
    assert np.array_equal(drawn(line, {"kind": "invert"}), ~drawn(line))
    cut = drawn(line, stroke((50, 20), (50, 60), radius=3, erase=True))
    assert not cut[:, 48:52].any() and cut[40, 30] and cut[40, 70]


@pytest.mark.parametrize("pixels", [-7, -1, 0, 1, 4, 12])
def test_growing_is_by_a_square(pixels: int) -> None:
    holes = drawn(stroke((20, 15), (30, 25), radius=8), size=(40, 50))
    target = np.argwhere(holes == (pixels > 0))
    apart = np.argwhere(np.ones((40, 50)))[:, None] - target[None]
    distance = np.abs(apart).max(axis=2).min(axis=1).reshape(40, 50)
    expected = distance <= pixels if pixels > 0 else distance > -pixels if pixels else holes
    assert np.array_equal(grow(holes, pixels), expected)


def test_shrinking_does_not_eat_from_the_edge_of_the_photo() -> None:
    holes = np.zeros((60, 60), bool)
    holes[:, :30] = True
    assert np.array_equal(grow(holes, -5).any(axis=0), np.arange(60) < 25)
    assert grow(holes, -5)[0, 0] and grow(holes, -5)[59, 10]


@pytest.mark.parametrize(
    "wrong",
    [
        {"operations": [stroke(*[(1, 1)] * 20_001)]},
        {"operations": [stroke((1, 1), radius=1e9)]},
        {"operations": [stroke((float("nan"), 1))]},
        {"operations": [stroke((1e12, 1))]},
        {"operations": [{"kind": "invert"}] * 5001},
        {"operations": [{"kind": "run", "command": "ls"}]},
        {"operations": [], "grow": 201},
        {"operations": [], "grow": -100_000},
    ],
)
def test_drawings_have_bounds(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Drawing(**wrong)


def test_the_largest_brush_on_a_large_photo_is_drawn() -> None:
    assert drawn(stroke((50, 50), (6000, 4000), radius=10_000), size=(4000, 6000)).all()


def test_a_mask_goes_to_photos_of_other_sizes() -> None:
    holes = np.zeros((40, 60), bool)
    holes[30:36, 50:58] = True
    larger = place(holes, 80, 120, "scale")
    assert np.array_equal(larger, np.kron(holes, np.ones((2, 2))) > 0)
    corner = place(holes, 100, 90, "bottom-right")
    assert np.argwhere(corner).min(axis=0).tolist() == [90, 80] and corner.sum() == holes.sum()
    assert np.array_equal(place(holes, 38, 55, "top-left"), holes[:38, :55])
    assert place(holes, 40, 60, "scale") is holes


def test_a_mask_file_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.new("L", (50, 40), 255).save(tmp_path / "m.png")
    assert [mask.size for mask in read_masks_of(tmp_path / "m.png", (50, 40), 10_000)] == [(50, 40)]
    with pytest.raises(MaskError, match="the mask is 50 x 40 pixels, the photo 51 x 40"):
        read_masks_of(tmp_path / "m.png", (51, 40), 10_000)
    (tmp_path / "n.png").write_bytes(b"no")
    with pytest.raises(MaskError, match="cannot read the mask"):
        read_masks_of(tmp_path / "n.png", (50, 40), 10_000)


def test_something_must_be_marked_and_something_left() -> None:
    with pytest.raises(MaskError, match="nothing is marked"):
        require_holes(np.zeros((5, 5), bool))
    with pytest.raises(MaskError, match="the whole photo is marked"):
        require_holes(np.ones((5, 5), bool))
