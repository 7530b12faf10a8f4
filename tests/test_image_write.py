"""Masks by their one rule, files written whole or not at all, pictures as tensors."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from inpaint.errors import ImageError, MaskError, ShapeError
from inpaint.images import (
    WRITABLE_FORMATS,
    hole_from_mask,
    image_to_tensor,
    mask_from_image,
    mask_to_tensor,
    read_image,
    read_mask,
    tensor_to_image,
    write_image,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def one_line(call: Callable[[], object], error: type[Exception] = ImageError) -> str:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert message and "\n" not in message
    return message


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


# Writing


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.webp"])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str, channels: tuple[int, ...]) -> None:
    image = Image.fromarray(noise(6, 5, *channels))  # also colours under alpha 0
    write_image(image, tmp_path / name, quality=100)
    again = read_image(tmp_path / name)
    assert np.array_equal(np.asarray(again.convert(image.mode)), np.asarray(image))


def test_bmp_and_jpeg_flatten_on_white(tmp_path: Path) -> None:
    pixels = noise(16, 16, 4)
    pixels[..., 3] = np.repeat([0, 255], 8)
    write_image(Image.fromarray(pixels), tmp_path / "a.bmp")
    flat = np.asarray(read_image(tmp_path / "a.bmp"))
    assert (flat[:, :8] == 255).all() and np.array_equal(flat[:, 8:], pixels[:, 8:, :3])
    write_image(Image.new("LA", (16, 16), (0, 0)), tmp_path / "a.jpg")
    grey = read_image(tmp_path / "a.jpg")
    assert grey.mode == "L" and np.asarray(grey).min() >= 254


def test_quality_is_size(tmp_path: Path) -> None:
    image = Image.fromarray(noise(64, 64, 3))
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (20, 60, 95, 100):
            write_image(image, tmp_path / f"a{suffix}", quality=quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes == sorted(sizes)
    for quality in (0, 101):
        assert f"got quality {quality}" in one_line(
            lambda q=quality: write_image(image, tmp_path / "b.jpg", quality=q)
        )


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    for name in ("a.gif", "a"):
        message = one_line(lambda name=name: write_image(Image.new("RGB", (2, 2)), tmp_path / name))
        assert all(suffix in message for suffix in WRITABLE_FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_not_made(tmp_path: Path) -> None:
    message = one_line(lambda: write_image(Image.new("RGB", (2, 2)), tmp_path / "new" / "a.png"))
    assert "there is no folder" in message and not (tmp_path / "new").exists()


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    one_line(lambda: write_image(Image.new("RGB", (2, 2)), tmp_path / "a.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_too_large_for_the_format(tmp_path: Path) -> None:
    message = one_line(lambda: write_image(Image.new("RGB", (16_384, 1)), tmp_path / "a.webp"))
    assert "use .png" in message and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = save(tmp_path, Image.new("RGB", (2, 2), "red"), "a.png")
    before = path.read_bytes()

    def half(self: Image.Image, file: io.BufferedIOBase, *args: object, **options: object) -> None:
        file.write(b"half a picture")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(ImageError if isinstance(error, Exception) else KeyboardInterrupt):
        write_image(Image.new("RGB", (2, 2), "blue"), path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_image(Image.new("RGB", (2, 2)), tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    assert os.stat(tmp_path / "a.png").st_mode == os.stat(tmp_path / "b.png").st_mode


def test_unicode_and_long_names(tmp_path: Path) -> None:
    for name in ("über 日本 📷.jpg", "n" * 250 + ".png"):
        write_image(Image.new("RGB", (3, 2)), tmp_path / name)
        assert read_image(tmp_path / name).size == (3, 2)


# Tensors


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_tensor_round_trip_is_exact(height: int, width: int, seed: int) -> None:
    pixels = noise(height, width, 3, seed=seed)
    tensor = image_to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (1, 3, height, width) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert torch.equal(tensor[0, 1] * 255, torch.from_numpy(pixels[..., 1].astype(np.float32)))
    assert np.array_equal(np.asarray(tensor_to_image(tensor)), pixels)
    assert np.array_equal(np.asarray(tensor_to_image(tensor[0])), pixels)


def test_all_grey_levels_survive() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    assert np.array_equal(
        np.asarray(tensor_to_image(image_to_tensor(Image.fromarray(levels))))[..., 2], levels
    )


def test_tensor_to_image_clamps_and_rounds() -> None:
    row = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 2.0])
    image = tensor_to_image(row.expand(3, 1, 5))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 1, 255, 255]
    half = tensor_to_image(torch.full((3, 1, 1), 0.5, dtype=torch.bfloat16))
    assert half.getpixel((0, 0)) == (128, 128, 128)


def test_mask_to_tensor_is_binary() -> None:
    mask = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))
    tensor = mask_to_tensor(mask)
    assert tensor.shape == (1, 1, 1, 4) and tensor.dtype == torch.float32
    assert tensor[0, 0, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 4, 4), (4, 4), (1, 1, 4, 4)])
def test_tensor_to_image_wants_one_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        tensor_to_image(torch.zeros(shape))


def test_fast_png_is_larger_and_the_same(tmp_path: Path) -> None:
    picture = Image.linear_gradient("L").resize((300, 300))
    for name, fast in (("slow.png", False), ("fast.png", True)):
        write_image(picture, tmp_path / name, fast=fast)
    assert (tmp_path / "fast.png").stat().st_size > (tmp_path / "slow.png").stat().st_size
    assert np.array_equal(np.asarray(read_image(tmp_path / "fast.png")), np.asarray(picture))
