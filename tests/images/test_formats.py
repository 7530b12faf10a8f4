"""Formats of plug-ins, conversions from one format to another, and what is said about both."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from inpaint.errors import ImageError
from inpaint.images import READABLE_SUFFIXES, WRITABLE_FORMATS, formats, read_file, read_image, write_file
from tests.images.painting import COLOUR, cv_read, fill_file, mask_of, opened, scene

HOLE = np.asarray(mask_of(60, 90)) > 0
PLUG_INS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl", "EXR": "OpenImageIO", "HDR": "OpenImageIO"}


def need(name: str) -> None:
    if name in PLUG_INS:
        pytest.importorskip(PLUG_INS[name])
    formats.require_plug_in(name)


def write_light(path: Path, values: np.ndarray, half: bool = False, **attributes: Any) -> None:
    oiio = pytest.importorskip("OpenImageIO")
    spec = oiio.ImageSpec(values.shape[1], values.shape[0], values.shape[2], "half" if half else "float")
    for key, value in attributes.items():
        spec.attribute(key, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec) and output.write_image(values)
    output.close()


@pytest.mark.parametrize("suffix", sorted(WRITABLE_FORMATS))
def test_every_writable_suffix_is_read_back(tmp_path: Path, suffix: str) -> None:
    name = WRITABLE_FORMATS[suffix]
    need(name)
    Image.fromarray(scene()).save(tmp_path / "a.png")
    fill_file(tmp_path / "a.png", tmp_path / f"b{suffix}", quality=95)
    file = read_file(tmp_path / f"b{suffix}")
    assert file.format == name and file.size == (90, 60) and suffix in READABLE_SUFFIXES
    error = np.abs(np.asarray(read_image(tmp_path / f"b{suffix}").convert("RGB")).astype(int) - scene())[
        ~HOLE
    ].mean()
    assert error <= (0 if formats.FORMATS[name].lossless and name not in ("GIF", "HDR") else 8)


@pytest.mark.parametrize(("suffix", "name"), [(".heic", "HEIF"), (".avif", "AVIF"), (".webp", "WEBP")])
def test_lossy_formats_are_told(tmp_path: Path, suffix: str, name: str) -> None:
    need(name)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(scene()).save(tmp_path / f"a{suffix}", quality=90, exif=exif)
    (note,) = fill_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert note.endswith("is encoded anew as a whole: known pixels change slightly")
    with opened(tmp_path / f"b{suffix}") as image:
        assert image.getexif()[0x010F] == "Maker"
        fill = np.asarray(image.convert("RGB"))[14:21, 24:31]
        assert np.abs(fill - np.array(COLOUR) * 255).max() < 30


def test_jpeg_xl_is_written_without_loss(tmp_path: Path) -> None:
    need("JXL")
    Image.fromarray(scene()).save(tmp_path / "a.jxl", lossless=True)
    assert fill_file(tmp_path / "a.jxl", tmp_path / "b.jxl") == []
    one, other = (np.asarray(Image.open(tmp_path / name)) for name in ("a.jxl", "b.jxl"))
    assert np.array_equal(one[~HOLE], other[~HOLE]) and (one[HOLE] != other[HOLE]).any()


@pytest.mark.parametrize("name", ["a.exr", "a.hdr"])
@pytest.mark.parametrize("half", [False, True])
def test_light_is_kept_bit_by_bit(tmp_path: Path, name: str, half: bool) -> None:
    if name == "a.hdr" and half:
        pytest.skip("Radiance HDR has one kind of number")
    values = (np.exp(scene() / 25.0) / 50).astype(np.float16 if half else np.float32)
    write_light(tmp_path / name, values, half, Artist="Me")
    before = read_file(tmp_path / name)
    target = tmp_path / f"b{Path(name).suffix}"
    assert fill_file(tmp_path / name, target) == []
    after = read_file(target)
    one, other = np.asarray(before.native()), np.asarray(after.native())
    assert one.dtype == other.dtype == values.dtype or name == "a.hdr"
    assert np.array_equal(one[~HOLE], other[~HOLE]) and (one[HOLE] != other[HOLE]).any()
    assert other[HOLE].max() < one.max()
    if name == "a.exr":
        assert after.options["spec"].getattribute("Artist") == "Me"


def test_lossy_compression_of_openexr_is_not_used_again(tmp_path: Path) -> None:
    values = np.exp(scene() / 40).astype(np.float32)
    write_light(tmp_path / "a.exr", values, half=True, compression="dwaa:45")
    assert fill_file(tmp_path / "a.exr", tmp_path / "b.exr") == [
        "compressed without loss (zip) instead of dwaa"
    ]
    one, other = (np.asarray(read_file(tmp_path / name).native()) for name in ("a.exr", "b.exr"))
    assert np.array_equal(one[~HOLE], other[~HOLE])


def test_pages_of_16_bits_in_a_format_of_one(tmp_path: Path) -> None:
    pages = [scene(seed=seed).astype(np.uint16) * 257 for seed in range(3)]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(pages), photometric="rgb", metadata=None)
    assert "PNG holds one deep frame: 2 of 3 are left out" in fill_file(
        tmp_path / "a.tif", tmp_path / "b.png"
    )
    fill_file(tmp_path / "a.tif", tmp_path / "b.webp")
    assert opened(tmp_path / "b.webp").n_frames == 3


def test_deep_values_change_only_where_the_format_must(tmp_path: Path) -> None:
    deep = np.ascontiguousarray(scene().astype(np.uint16)[..., ::-1] * 257)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    for suffix, told in ((".tif", []), (".jpg", ["uint16 values became 8-bit, as JPEG has no more"])):
        assert fill_file(tmp_path / "a.png", tmp_path / f"b{suffix}") == told
    assert np.array_equal(cv_read(tmp_path / "b.tif")[~HOLE], deep[~HOLE])
    cv2.imwrite(str(tmp_path / "c.tif"), (scene()[..., ::-1] / 255).astype(np.float32))
    assert fill_file(tmp_path / "c.tif", tmp_path / "d.png") == [
        "float32 values became 16-bit integers, from 0 to 1"
    ]
    assert np.abs(cv_read(tmp_path / "d.png")[~HOLE].astype(int) - deep[~HOLE]).max() <= 1


@pytest.mark.parametrize("kind", ["pgm", "ppm", "pfm"])
def test_deep_netpbm_is_read(tmp_path: Path, kind: str) -> None:
    values = scene().astype(np.uint16) * 257 if kind != "pfm" else scene().astype(np.float32) / 255
    values = values[..., 0] if kind == "pgm" else values
    cv2.imwrite(
        str(tmp_path / f"a.{kind}"), values if values.ndim == 2 else np.ascontiguousarray(values[..., ::-1])
    )
    read = read_file(tmp_path / f"a.{kind}").native()
    assert np.array_equal(read, values) and np.asarray(read).dtype == values.dtype


@pytest.mark.parametrize(
    ("mode", "suffix", "told"),
    [
        ("CMYK", ".png", "mode CMYK became RGB, as PNG does not hold it"),
        ("RGBA", ".jpg", "JPEG is written without transparency: it became white"),
        ("L", ".webp", "mode L became RGB, as WebP does not hold it"),
        ("1", ".jpg", "mode 1 became L, as JPEG does not hold it"),
        ("P", ".jpg", "mode P became RGB, as JPEG does not hold it"),
        ("LA", ".bmp", "BMP is written without transparency: it became white"),
    ],
)
def test_what_a_conversion_changes_is_told(tmp_path: Path, mode: str, suffix: str, told: str) -> None:
    Image.fromarray(scene()).convert(mode).save(tmp_path / "a.tif")
    assert told in fill_file(tmp_path / "a.tif", tmp_path / f"b{suffix}")


def test_frames_and_metadata_that_are_left_out_are_told(tmp_path: Path) -> None:
    frames = [Image.fromarray(scene(seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], dpi=(300, 300))
    notes = fill_file(tmp_path / "a.tif", tmp_path / "b.jpg")
    assert "JPEG holds one frame: 2 of 3 are left out" in notes
    assert "not kept in WebP: resolution" in fill_file(tmp_path / "a.tif", tmp_path / "b.webp")
    assert opened(tmp_path / "b.webp").n_frames == 3
    assert read_image(tmp_path / "a.tif").info["notes"] == ("this is the first of 3 frames or pages",)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"v/1\x01", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"8BPS", "Photoshop"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"<svg xmlns", "SVG"),
        (b"II*\0", "TIFF"),
        (b"P7\nWIDTH 3\n", "PAM"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path: Path, head: bytes, word: str) -> None:
    (tmp_path / "file.png").write_bytes(head + bytes(50))
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "file.png")
    assert word in str(caught.value).split("file.png")[-1] and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["HEIF", "JXL", "EXR", "HDR"])
def test_a_missing_plug_in_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, PLUG_INS[name], None)  # as if it were not installed
    for known in (Image.OPEN, Image.SAVE):
        monkeypatch.delitem(known, name, raising=False)
    remedy = rf"needs {PLUG_INS[name]}.*pip install 'mae-acr-inpaint\[formats\]'"
    with pytest.raises(ImageError, match=remedy):
        formats.require_plug_in(name)


def test_a_compression_that_does_not_take_the_type_is_replaced_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = scene().astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", compression="lzw", predictor=True)
    real = tifffile.imwrite

    def only_zlib(*args: Any, compression: Any, predictor: Any, **options: Any) -> None:
        if compression == "lzw" or predictor:
            raise ValueError("not of this type")
        real(*args, compression=compression, **options)

    monkeypatch.setattr(tifffile, "imwrite", only_zlib)
    (note,) = fill_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert note == "page 1 is compressed without loss (deflate) instead of TIFF compression 5"
    assert np.array_equal(cv_read(tmp_path / "b.tif")[..., ::-1][~HOLE], deep[~HOLE])


def test_an_input_may_be_gone_when_its_result_is_written(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    file = read_file(tmp_path / "a.jpg")
    os.unlink(tmp_path / "a.jpg")
    assert write_file(file, tmp_path / "b.jpg") == []
