"""Masks by their one rule, files written whole or not at all, pictures as tensors."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaint.errors import ImageError, ShapeError
from inpaint.images import (
    WRITABLE_FORMATS,
    image_to_tensor,
    read_file,
    read_image,
    tensor_to_image,
    write_image,
)
from tests.images.painting import noise, one_line, save

# Writing


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.webp"])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str, channels: tuple[int, ...]) -> None:
    image = Image.fromarray(noise(6, 5, *channels))  # also colours under alpha 0
    write_image(image, tmp_path / name, quality=100)
    again = read_image(tmp_path / name)
    assert np.array_equal(np.asarray(again.convert(image.mode)), np.asarray(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_an_array_is_written_as_a_pipeline_returns_it(
    tmp_path: Path, dtype: type[np.generic], channels: tuple[int, ...]
) -> None:
    pixels = (noise(6, 5, *channels) * np.uint16(257 if dtype is np.uint16 else 1)).astype(dtype)
    for name in ("a.png", "a.tif"):
        assert write_image(pixels, tmp_path / name) == []
        assert np.array_equal(np.asarray(read_file(tmp_path / name).native()), pixels)


@pytest.mark.parametrize("wrong", [None, torch.zeros(3, 4, 5), "a.png"])
def test_what_is_no_image_is_not_written(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(ImageError, match=f"got a {type(wrong).__name__}, expected a Pillow image or a NumPy"):
        write_image(wrong, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


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
    for name in ("a.xyz", "a"):
        message = one_line(lambda name=name: write_image(Image.new("RGB", (2, 2)), tmp_path / name))
        assert all(suffix in message for suffix in WRITABLE_FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_not_made(tmp_path: Path) -> None:
    message = one_line(lambda: write_image(Image.new("RGB", (2, 2)), tmp_path / "new" / "a.png"))
    assert "there is no folder" in message and not (tmp_path / "new").exists()


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    message = one_line(lambda: write_image(Image.new("RGB", (2, 2)), tmp_path / "a.png"))
    assert message.endswith(": is a directory; choose another folder")
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
    with pytest.raises(ImageError if isinstance(error, Exception) else KeyboardInterrupt) as caught:
        write_image(Image.new("RGB", (2, 2), "blue"), path)
    if isinstance(error, Exception):
        why = "no space left on the disk; free some space or choose another folder"
        assert str(caught.value) == f"cannot write {str(path)!r}: {why}"
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


@settings(max_examples=25)
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


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 4, 4), (4, 4), (1, 1, 4, 4)])
def test_tensor_to_image_wants_one_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        tensor_to_image(torch.zeros(shape))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_a_png_holds_every_pixel_of_any_mode(mode: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 4), np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    picture.info["dpi"] = (300, 300)
    write_image(picture, tmp_path / "whole.png")
    with Image.open(tmp_path / "whole.png") as again:
        shown = picture if mode in ("L", "LA", "RGB", "RGBA") else picture.convert(again.mode)
        assert np.array_equal(np.asarray(again), np.asarray(shown))
        assert again.info["dpi"] == pytest.approx((300, 300), abs=0.1)
