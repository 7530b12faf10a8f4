"""Masks by their one rule, from images of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from inpaint.errors import MaskError
from inpaint.images import hole_from_mask, mask_from_image, read_mask, read_masks
from tests.images.painting import mask_of, one_line, save

# Masks


def rgba(*pixels: tuple[int, int, int, int]) -> Image.Image:
    return Image.fromarray(np.array([pixels], np.uint8))


def grey(*values: float, kind: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array([values], kind))


def rgb(*pixels: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.array([pixels], np.uint8))


WHITE, BLACK, RED, CLEAR, CLEAR_WHITE = (
    (255, 255, 255, 255),
    (0, 0, 0, 255),
    (255, 0, 0, 255),
    (0, 0, 0, 0),
    (255, 255, 255, 0),
)


@pytest.mark.parametrize(
    ("image", "holes"),
    [
        pytest.param(grey(0, 127, 128, 255), "..##", id="grey, hole from 128"),
        pytest.param(rgb((255, 0, 0), (0, 200, 0), (9, 9, 128), (127, 127, 127)), "###.", id="any colour"),
        pytest.param(rgba(CLEAR_WHITE, WHITE), ".#", id="transparent white is known"),
        pytest.param(rgba(CLEAR_WHITE, CLEAR_WHITE), "..", id="nothing but transparent white"),
        pytest.param(rgba(CLEAR, RED, (255, 0, 0, 127)), ".#.", id="red on transparency"),
        pytest.param(rgba(CLEAR, BLACK, (0, 0, 0, 128), (0, 0, 0, 127)), ".##.", id="black on transparency"),
        pytest.param(rgba(CLEAR_WHITE, (20, 20, 20, 255)), ".#", id="dark on transparent white"),
        pytest.param(rgba(BLACK, WHITE, CLEAR), ".#.", id="white is seen, so black is known"),
        pytest.param(rgba(BLACK, BLACK), "..", id="opaque black, alpha does not vary"),
        pytest.param(rgba((0, 0, 0, 128), (255, 255, 255, 128)), ".#", id="alpha 128 everywhere"),
        pytest.param(Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8)), "#.", id="black in LA"),
        pytest.param(grey(0, 1, kind=bool), ".#", id="1 bit"),
        pytest.param(grey(0, 32000, 40000, kind=np.uint16), "..#", id="16 bit"),
        pytest.param(grey(0, 0.4, 1, kind=np.float32), "..#", id="float"),
    ],
)
def test_mask_rule(image: Image.Image, holes: str) -> None:
    expected = np.array([[255 if letter == "#" else 0 for letter in holes]], np.uint8)
    mask = mask_from_image(image)
    assert mask.mode == "L" and np.array_equal(hole_from_mask(mask), expected > 0)
    assert np.array_equal(np.asarray(mask_from_image(image, invert=True)), 255 - np.asarray(mask))
    assert np.array_equal(np.asarray(mask_from_image(mask)), np.asarray(mask))  # a mask stays what it is


def test_soft_edges_of_a_mask_are_kept_and_compression_noise_is_not(tmp_path: Path) -> None:
    levels = np.array([[0, 20, 64, 127, 200, 240, 255]], np.uint8)
    soft = Image.fromarray(np.repeat(np.repeat(levels, 16, 0), 16, 1))
    assert np.array_equal(np.asarray(read_mask(save(tmp_path, soft, "a.png"))), np.asarray(soft))
    noisy = np.asarray(read_mask(save(tmp_path, soft, "a.jpg", quality=95)))[:, 8::16]
    assert np.abs(noisy[:, 2:5].astype(int) - levels[:, 2:5]).max() < 12
    assert set(noisy[:, [0, 1]].ravel()) == {0} and set(noisy[:, [5, 6]].ravel()) == {255}
    faded = Image.merge("LA", (Image.new("L", (1, 1), 255), Image.new("L", (1, 1), 77)))
    assert np.asarray(mask_from_image(faded)) == 77


def test_palette_masks(tmp_path: Path) -> None:
    image = Image.new("P", (4, 2))  # red everywhere, but for one transparent blue pixel
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    mask = np.asarray(read_mask(save(tmp_path, image, "a.png", transparency=bytes([255, 0]))))
    assert mask[0, 1] == 0 and mask.sum() == 7 * 255


def test_masks_are_turned_like_their_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a quarter to the right
    path = save(tmp_path, Image.fromarray(np.array([[255, 0, 0], [0, 0, 255]], np.uint8)), "a.png", exif=exif)
    assert np.asarray(read_mask(path)).tolist() == [[0, 255], [0, 0], [255, 0]]
    assert np.asarray(read_mask(path, invert=True)).tolist() == [[255, 0], [255, 255], [0, 255]]


def test_an_unreadable_mask_is_a_mask_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("I am no mask")
    assert "cannot read the mask" in one_line(lambda: read_mask(tmp_path / "text.png"), MaskError)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0, 1, np.uint8), (0, 7, np.uint8), (10, 11, np.uint8), (200, 255, np.uint8), (0, 1, np.uint16),
     (0, 255, np.uint16), (1000, 1001, np.uint16), (0, 4095, np.uint16), (0, 1, np.int32), (-1, 1, np.int16),
     (0, 0.1, np.float32), (0, 300.0, np.float32), (-1, 0, np.float64)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [0, 3])
def test_two_values_are_understood_whatever_they_are(
    tmp_path: Path, low: float, high: float, kind: Any, channels: int
) -> None:
    import tifffile

    hole = np.asarray(mask_of(60, 90)) > 0
    values = np.where(hole, high, low).astype(kind)
    values = np.stack([values] * channels, axis=-1) if channels else values
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if channels else "minisblack")
    assert np.array_equal(hole_from_mask(read_mask(tmp_path / "a.tif")), hole)
    assert np.array_equal(hole_from_mask(read_mask(tmp_path / "a.tif", invert=True)), ~hole)


def test_two_greys_of_a_palette_and_of_alpha_alone(tmp_path: Path) -> None:
    hole = np.asarray(mask_of(60, 90)) > 0
    palette = Image.fromarray(hole.astype(np.uint8), "P")
    palette.putpalette([30, 30, 30, 60, 60, 60])
    faint = Image.fromarray(
        np.dstack([np.zeros((60, 90, 3), np.uint8), np.where(hole, 90, 0).astype(np.uint8)])
    )
    for name, image in (
        ("p.png", palette),
        ("p.gif", palette),
        ("alpha.png", faint),
        ("one.png", palette.convert("1")),
    ):
        if name != "one.png":
            assert np.array_equal(hole_from_mask(read_mask(save(tmp_path, image, name))), hole), name
    assert np.array_equal(hole_from_mask(read_mask(save(tmp_path, Image.fromarray(hole), "bit.png"))), hole)


def test_a_12_bit_mask_with_a_soft_rim(tmp_path: Path) -> None:
    levels = np.array([[0, 1000, 2048, 3000, 4095]], np.uint16)
    mask = read_mask(save(tmp_path, Image.fromarray(levels), "a.png"))
    assert np.abs(np.asarray(mask)[0] - levels[0] / 4095 * 255).max() <= 1


def test_many_dark_values_are_refused_with_their_range(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.arange(100, dtype=np.uint8)[None]), "a.png")
    message = one_line(lambda: read_mask(path), MaskError)
    assert "a.png" in message and "from 0 to 99" in message and "two values" in message


def test_pages_and_frames_of_masks(tmp_path: Path) -> None:
    pages = [mask_of(60, 90, top) for top in (0, 10, 20)]
    for name in ("a.tif", "a.gif", "a.png"):
        masks = read_masks(save(tmp_path, pages[0], name, save_all=True, append_images=pages[1:]))
        assert [np.asarray(mask).tolist() for mask in masks] == [np.asarray(page).tolist() for page in pages]
    assert np.array_equal(np.asarray(read_mask(tmp_path / "a.tif")), np.asarray(pages[0]))
