from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.errors import MaskError
from inpaint.web.marks import (
    grow,
    holes_from_file,
    holes_from_layers,
    layer_picture,
    mask_picture,
    require_holes,
)
from inpaint.web.photos import PREVIEW_SIDE, Photo


def a_photo(height: int, width: int) -> Photo:
    return Photo(Path("unused.png"), "a.png", height, width, ".png")


def a_layer(height: int, width: int, alpha: int = 255) -> np.ndarray:
    layer = np.zeros((height, width, 4), np.uint8)
    layer[2:5, 3:7] = (255, 64, 96, alpha)
    return layer


def test_layers_are_joined_and_read_by_alpha() -> None:
    other = np.zeros((10, 12, 4), np.uint8)
    other[9, 11] = (0, 0, 0, 255)  # black paint is paint
    holes = holes_from_layers([a_layer(10, 12), None, other], a_photo(10, 12))
    expected = np.zeros((10, 12), bool)
    expected[2:5, 3:7] = expected[9, 11] = True
    assert np.array_equal(holes, expected)


def test_an_untouched_editor_marks_nothing() -> None:
    for layers in (None, [], [None]):
        assert not holes_from_layers(layers, a_photo(10, 12)).any()
    with pytest.raises(MaskError, match="nothing is marked yet"):
        require_holes(np.zeros((4, 4), bool))
    with pytest.raises(MaskError, match="whole photo is marked"):
        require_holes(np.ones((4, 4), bool))


def test_a_softened_rim_counts_from_half() -> None:
    assert holes_from_layers([a_layer(10, 12, alpha=128)], a_photo(10, 12)).sum() == 12
    assert not holes_from_layers([a_layer(10, 12, alpha=127)], a_photo(10, 12)).any()


@pytest.mark.parametrize("layer", [np.zeros((9, 12, 4), np.uint8), np.zeros((10, 12, 3), np.uint8)])
def test_a_drawing_of_another_size_is_refused(layer: np.ndarray) -> None:
    with pytest.raises(MaskError, match="expected 10 x 12 x 4; choose the photo again"):
        holes_from_layers([layer], a_photo(10, 12))


def test_strokes_on_a_preview_come_back_at_full_size() -> None:
    photo = a_photo(2 * PREVIEW_SIDE, PREVIEW_SIDE)
    layer = np.zeros((*photo.preview_size, 4), np.uint8)
    layer[10:20, 30:50, 3] = 255
    holes = holes_from_layers([layer], photo)
    assert holes.shape == (2 * PREVIEW_SIDE, PREVIEW_SIDE)
    assert holes.sum() == 4 * 10 * 20
    assert holes[20:40, 60:100].all()


def test_growing_and_shrinking() -> None:
    holes = np.zeros((41, 41), bool)
    holes[20, 20] = True
    grown = grow(holes, 5)
    assert grown[20, 15:26].all() and not grown[20, 14] and not grown[16, 16]
    assert np.array_equal(grow(grown, -5), holes)
    assert np.array_equal(grow(holes, 0), holes)
    edge = np.zeros((20, 20), bool)
    edge[:, :10] = True
    assert np.array_equal(np.flatnonzero(grow(edge, -3)[0]), np.arange(7))


def test_a_mask_file_of_full_or_preview_size(tmp_path: Path) -> None:
    photo = a_photo(2 * PREVIEW_SIDE, 2 * PREVIEW_SIDE)
    full = np.zeros((photo.height, photo.width), bool)
    full[100:200, 300:500] = True
    mask_picture(full).save(tmp_path / "full.png")
    mask_picture(full[::2, ::2]).save(tmp_path / "preview.png")
    assert np.array_equal(holes_from_file(tmp_path / "full.png", photo), full)
    assert np.array_equal(holes_from_file(tmp_path / "preview.png", photo), full)
    Image.new("L", (7, 9)).save(tmp_path / "other.png")
    with pytest.raises(MaskError, match="the mask is 7 x 9 pixels, the photo 3072 x 3072"):
        holes_from_file(tmp_path / "other.png", photo)
    (tmp_path / "no.png").write_bytes(b"no")
    with pytest.raises(MaskError, match="cannot read the mask: "):
        holes_from_file(tmp_path / "no.png", photo)


def test_a_mask_shown_in_the_editor_covers_every_hole_pixel() -> None:
    photo = a_photo(3 * PREVIEW_SIDE, 3 * PREVIEW_SIDE)
    holes = np.zeros((photo.height, photo.width), bool)
    holes[1000, 2000] = True
    layer = layer_picture(holes, photo)
    assert layer.size == (PREVIEW_SIDE, PREVIEW_SIDE)
    back = holes_from_layers([np.asarray(layer)], photo)
    assert back[1000, 2000] and back.sum() == 9
    exact = a_photo(50, 60)
    small = np.random.default_rng(0).random((50, 60)) > 0.5
    assert np.array_equal(holes_from_layers([np.asarray(layer_picture(small, exact))], exact), small)
