"""JPEG in, JPEG out: tables, sampling, untouched coefficients and segments are the file's own."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaint.errors import ImageError
from inpaint.images import read_file, read_image
from inpaint.images.jpeg import Segment, UnfitError, encode_changed_blocks, join, split
from tests.images.painting import COLOUR, fill_file, mask_of, one_line, opened, scene

SAMPLINGS = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:4:0": 0x121111, "4:1:1": 0x411111}


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    Image.fromarray(pixels).save(path, **{"quality": 80, **options})


def save_sampled(path: Path, pixels: np.ndarray, sampling: str, *, progressive: bool, restart: int) -> None:
    """By OpenCV, which knows more samplings than Pillow."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]), options)


def coefficients(path: Path) -> tuple[list[np.ndarray], Any]:
    jpeg = jpeglib.read_dct(str(path))
    jpeg.load()
    return [np.array(c) for c in (jpeg.Y, jpeg.Cb, jpeg.Cr) if c is not None], jpeg


def check_untouched(source: Path, target: Path, hole: np.ndarray) -> None:
    """Blocks without a hole pixel have their very coefficients; all pixels beyond one unit are the same."""
    (before, one), (after, other) = coefficients(source), coefficients(target)
    assert np.array_equal(one.qt, other.qt) and np.array_equal(one.samp_factor, other.samp_factor)
    assert one.progressive_mode == other.progressive_mode
    factors = np.array(one.samp_factor) if len(before) == 3 else np.ones((1, 2), int)
    changed = 0
    for old, new, (v, h) in zip(before, after, factors, strict=True):
        step_y, step_x = 8 * factors[:, 0].max() // v, 8 * factors[:, 1].max() // h
        touched = np.zeros(old.shape[:2], bool)
        for y, x in zip(*np.nonzero(hole), strict=True):
            touched[y // step_y, x // step_x] = True
        assert np.array_equal(old[~touched], new[~touched])
        changed += (old[touched] != new[touched]).any()
    assert changed
    unit = 8 * factors.max(axis=0)
    y, x = np.nonzero(hole)
    near = np.zeros_like(hole)
    near[
        max(0, y.min() - unit[0]) : y.max() + unit[0] + 1, max(0, x.min() - unit[1]) : x.max() + unit[1] + 1
    ] = True
    one, other = (np.asarray(Image.open(path)) for path in (source, target))
    assert np.array_equal(one[~near], other[~near])


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(120, 160), (97, 131)])
def test_untouched_blocks_keep_their_coefficients(
    tmp_path: Path, sampling: str, progressive: bool, size: tuple[int, int]
) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    save_sampled(source, scene(*size), sampling, progressive=progressive, restart=0 if progressive else 2)
    mask = mask_of(*size, 30, 40, 33)
    assert fill_file(source, target, mask) == []
    hole = np.asarray(mask) > 0
    check_untouched(source, target, hole)
    assert target.stat().st_size < source.stat().st_size * 1.1
    fill = np.asarray(Image.open(target))[45:55, 55:65].reshape(-1, 3)
    assert np.abs(fill - np.array(COLOUR) * 255).max() <= 10  # well inside, where sampling mixes nothing


@pytest.mark.parametrize("progressive", [False, True])
def test_grey(tmp_path: Path, progressive: bool) -> None:
    save(tmp_path / "a.jpg", scene()[..., 0], progressive=progressive)
    assert fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg") == []
    check_untouched(tmp_path / "a.jpg", tmp_path / "b.jpg", np.asarray(mask_of(60, 90)) > 0)
    assert Image.open(tmp_path / "b.jpg").mode == "L"


def test_rgb_without_a_colour_transform(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", scene(), keep_rgb=True)
    assert fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg") == []
    check_untouched(tmp_path / "a.jpg", tmp_path / "b.jpg", np.asarray(mask_of(60, 90)) > 0)


@settings(max_examples=25)
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from([0, 1, 2]), st.booleans(), st.integers(0, 2**31)
)
def test_any_size_and_any_hole(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, sub: int, progressive: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("jpeg")
    save(folder / "a.jpg", scene(height, width), subsampling=sub, progressive=progressive)
    rng = np.random.default_rng(seed)
    hole = rng.random((height, width)) < rng.choice([0.02, 0.5])
    hole[rng.integers(height), rng.integers(width)] = True
    fill_file(folder / "a.jpg", folder / "b.jpg", Image.fromarray(hole))
    (before, one), (after, _) = coefficients(folder / "a.jpg"), coefficients(folder / "b.jpg")
    factors = np.array(one.samp_factor)
    for old, new, (v, h) in zip(before, after, factors, strict=True):
        step_y, step_x = 8 * factors[:, 0].max() // v, 8 * factors[:, 1].max() // h
        y, x = np.nonzero(hole)
        touched = np.zeros(old.shape[:2], bool)
        touched[y // step_y, x // step_x] = True
        assert np.array_equal(old[~touched], new[~touched])
    assert Image.open(folder / "b.jpg").size == (width, height)


def test_what_was_erased_is_gone_to_the_edge(tmp_path: Path) -> None:
    """Blocks reach beyond the picture's edge; what a hole at the edge hid must not ring on from there."""
    pixels = np.full((60, 90, 3), 200, np.uint8)
    pixels[40:, 70:] = (255, 0, 0)
    save(tmp_path / "a.jpg", pixels, subsampling=2)
    fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", mask_of(60, 90, 40, 70, 40))
    after = np.asarray(Image.open(tmp_path / "b.jpg")).astype(int)
    assert np.abs(after[50:, 80:] - np.array(COLOUR) * 255).max() <= 4


def test_segments_stay(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    profile = bytes(16) + b"RGB " + bytes(90_000)  # two segments
    options = {"icc_profile": profile, "comment": b"a comment", "dpi": (300, 300), "xmp": b"<x>GPano</x>"}
    private = Segment(0xE5, b"something private").to_bytes()
    save(tmp_path / "a.jpg", scene(), exif=exif, extra=private, **options)
    fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", mask_of(90, 60))
    before, after = (split((tmp_path / name).read_bytes()).metadata for name in ("a.jpg", "b.jpg"))
    assert before == after
    fill_file(tmp_path / "a.jpg", tmp_path / "c.jpg", mask_of(90, 60), strip=True)
    data = (tmp_path / "c.jpg").read_bytes()
    with opened(tmp_path / "c.jpg") as image:
        assert image.info["icc_profile"] == profile and image.getexif()[0x0112] == 6
    assert not any(word in data for word in (b"Maker", b"a comment", b"GPano", b"private"))


def test_quality_encodes_anew(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", scene(), quality=90)
    notes = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", quality=30)
    assert any("encoded anew as a whole" in note for note in notes)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size / 2


@pytest.mark.parametrize("progressive", [False, True])
def test_cmyk_keeps_its_tables_and_mode_and_is_told(tmp_path: Path, progressive: bool) -> None:
    cmyk = Image.fromarray(scene()).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg", quality=70, subsampling=2, progressive=progressive)
    (note,) = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert "with its own tables (colour space CMYK)" in note
    with opened(tmp_path / "a.jpg") as one, opened(tmp_path / "b.jpg") as other:
        assert other.mode == "CMYK" and one.quantization == other.quantization
        assert [layer[:3] for layer in one.layer] == [layer[:3] for layer in other.layer]
        assert ("progressive" in other.info) == progressive
        hole = np.asarray(mask_of(60, 90)) > 0
        assert np.abs(np.asarray(one)[~hole].astype(int) - np.asarray(other)[~hole]).mean() < 2


def test_ycck_keeps_its_colours(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    cmyk = 255 - np.asarray(Image.fromarray(scene()).convert("CMYK"))
    options = {"colorspace": "CMYK", "outcolorspace": "YCCK", "subsampling": "444"}
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(cmyk, level=90, **options))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK" and image.info["adobe_transform"] == 2
        before = np.asarray(image).astype(int)
    fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    after = np.asarray(Image.open(tmp_path / "b.jpg")).astype(int)
    hole = np.asarray(mask_of(60, 90)) > 0
    assert np.abs(before - after)[~hole].mean() < 3


def test_arithmetic_coding_is_unfit() -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "JPEG")
    parts = split(buffer.getvalue())
    parts.frame = 0xC9
    with pytest.raises(UnfitError, match="arithmetic"):
        encode_changed_blocks(parts, scene(), np.ones((60, 90), bool))


def test_thumbnails_outside_exif_go(tmp_path: Path) -> None:
    resource = (
        b"8BIM\x04\x0c\0\0"
        + struct.pack(">I", 40)
        + b"T" * 40
        + b"8BIM\x04\x04\0\0"
        + struct.pack(">I", 4)
        + b"IPTC"
    )
    extra = Segment(0xED, b"Photoshop 3.0\0" + resource).to_bytes()
    extra += Segment(
        0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"GImage:Data='/9j/4AAQ'"
    ).to_bytes()
    extra += Segment(0xE0, b"JFXX\0\x10 thumbnail").to_bytes() + Segment(0xEB, b"JP jumb c2pa").to_bytes()
    save(tmp_path / "a.jpg", scene(), extra=extra)
    what = ("JFIF thumbnail", "Photoshop thumbnail", "original in extended XMP", "content credentials")
    before = "left out, as it belongs to the image before the fill: "
    assert sorted(fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")) == sorted(before + name for name in what)
    data = (tmp_path / "b.jpg").read_bytes()
    assert b"TTTT" not in data and b"IPTC" in data and b"GImage" not in data and b"c2pa" not in data


# Second pictures


def two_pictures(path: Path, kind: int) -> bytes:
    """A file of two pictures (MPF, CIPA DC-007); the second comes back."""
    second = io.BytesIO()
    Image.fromarray(scene(30, 45, 3)).save(second, "JPEG")
    first = io.BytesIO()
    mark = Segment(0xE2, b"MPF\0" + b"M" * 82)
    Image.fromarray(scene()).save(first, "JPEG", quality=80, extra=mark.to_bytes())
    data = first.getvalue()
    base = data.index(b"MPF\0") + 4
    index = b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
    index += struct.pack("<HHII", 0xB001, 4, 1, 2) + struct.pack("<HHIII", 0xB002, 7, 32, 50, 0)
    index += struct.pack("<IIIHH", 0x030000, len(data), 0, 0, 0)
    index += struct.pack("<IIIHH", kind, len(second.getvalue()), len(data) - base, 0, 0)
    path.write_bytes(data.replace(b"M" * 82, index) + second.getvalue())
    return second.getvalue()


@pytest.mark.parametrize("kind", [0, 0x020002])
def test_gain_maps_and_second_views_stay_where_the_index_says(tmp_path: Path, kind: int) -> None:
    second = two_pictures(tmp_path / "a.jpg", kind)
    (note,) = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert note == (
        "1 further picture in the file (gain map or second view) is kept unchanged and may still show "
        "what was erased"
    )
    with opened(tmp_path / "b.jpg") as image:
        assert image.format == "MPO" and image.n_frames == 2
        image.seek(1)
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(second))))
    assert (tmp_path / "b.jpg").read_bytes().endswith(second)


def test_large_thumbnails_and_videos_go(tmp_path: Path) -> None:
    second = two_pictures(tmp_path / "a.jpg", 0x010002)
    (note,) = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert f"left out: {len(second):,} bytes after the image" in note
    assert Image.open(tmp_path / "b.jpg").format == "JPEG" and second not in (tmp_path / "b.jpg").read_bytes()
    save(tmp_path / "c.jpg", scene())
    (tmp_path / "c.jpg").write_bytes((tmp_path / "c.jpg").read_bytes() + b"ftypmp42" * 99)
    (note,) = fill_file(tmp_path / "c.jpg", tmp_path / "d.jpg")
    assert "left out: 792 bytes" in note


def test_a_quality_keeps_segments_and_second_pictures(tmp_path: Path) -> None:
    second = two_pictures(tmp_path / "a.jpg", 0)
    data = (tmp_path / "a.jpg").read_bytes()
    iptc = Segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\4IPTC").to_bytes()
    app5 = Segment(0xE5, b"private").to_bytes()
    place = data.index(b"MPF\0") - 4
    (tmp_path / "a.jpg").write_bytes(
        data[:place] + iptc + app5 + data[place:]
    )  # the index counts from itself
    notes = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", quality=40)
    assert [note.split(" ")[0] for note in notes] == ["JPEG", "1"]
    again = (tmp_path / "b.jpg").read_bytes()
    assert iptc in again and app5 in again and again.endswith(second)
    with opened(tmp_path / "b.jpg") as image:
        assert image.n_frames == 2
        assert sum(image.quantization[0]) > sum(opened(tmp_path / "a.jpg").quantization[0])


def test_what_other_formats_do_not_take_of_a_jpeg_is_told(tmp_path: Path) -> None:
    two_pictures(tmp_path / "a.jpg", 0)
    data = (tmp_path / "a.jpg").read_bytes()
    iptc = Segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\4IPTC").to_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + iptc + Segment(0xE5, b"private").to_bytes() + data[2:])
    size = len(split(data).trailer)
    for suffix, called in ((".png", "PNG"), (".tif", "TIFF"), (".webp", "WebP")):
        (note,) = fill_file(tmp_path / "a.jpg", tmp_path / f"b{suffix}")
        assert note == (
            f"not kept in {called}: APP5, IPTC, {size:,} bytes after the image (a gain map, a second "
            "picture, a video or the like)"
        )


# Cut files


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_missing_end_mark_is_added_but_a_missing_half_is_not(tmp_path: Path, options: dict) -> None:
    save(tmp_path / "a.jpg", scene(200, 240), **options)
    data = (tmp_path / "a.jpg").read_bytes()
    for cut in (1, 2):
        (tmp_path / "b.jpg").write_bytes(data[:-cut])
        image = read_image(tmp_path / "b.jpg")
        assert np.array_equal(np.asarray(image), np.asarray(read_image(tmp_path / "a.jpg")))
        assert image.info["notes"] == ("the JPEG lacked its end mark, which was added",)
        assert any("end mark" in note for note in fill_file(tmp_path / "b.jpg", tmp_path / "c.jpg"))
        assert (tmp_path / "c.jpg").read_bytes().endswith(b"\xff\xd9")
    if not options.get("progressive"):
        for part in (0.3, 0.6):
            (tmp_path / "b.jpg").write_bytes(data[: int(len(data) * part)])
            with pytest.raises(ImageError, match=r"b\.jpg.*damaged or cut short"):
                read_image(tmp_path / "b.jpg")


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.booleans())
def test_damaged_files_never_end_the_process(
    tmp_path_factory: pytest.TempPathFactory, seed: int, progressive: bool
) -> None:
    """libjpeg exits on some errors: whatever Pillow decodes must be safe for it, or refused before."""
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("damaged")
    save(folder / "a.jpg", scene(40, 50), progressive=progressive, subsampling=int(rng.integers(3)))
    data = bytearray((folder / "a.jpg").read_bytes())
    for position in rng.integers(2, len(data), rng.integers(1, 6)):
        data[position] = rng.integers(0, 256)
    (folder / "a.jpg").write_bytes(data)
    try:
        fill_file(folder / "a.jpg", folder / "b.jpg")
    except ImageError as error:
        assert "\n" not in str(error)


def test_join_undoes_split() -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "JPEG", comment=b"hello", dpi=(72, 72))
    parts = split(buffer.getvalue())
    assert join(parts.metadata, parts.coded) == buffer.getvalue() and parts.has_end and not parts.trailer
    with pytest.raises(ValueError, match="start mark"):
        split(b"no JPEG")


def test_without_jpeglib_the_tables_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg", scene(), quality=63)
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    (note,) = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert "with its own tables (jpeglib is not installed)" in note
    with opened(tmp_path / "a.jpg") as one, opened(tmp_path / "b.jpg") as other:
        assert one.quantization == other.quantization


@pytest.mark.parametrize("progressive", [False, True])
def test_more_than_the_end_mark_may_not_be_missing(tmp_path: Path, progressive: bool) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.jpg", quality=85, progressive=progressive)
    data = (tmp_path / "a.jpg").read_bytes()
    for cut, is_whole in ((1, True), (2, True), (6, False), (50, False), (300, False)):
        (tmp_path / "b.jpg").write_bytes(data[:-cut])
        if is_whole:
            assert np.array_equal(
                np.asarray(read_file(tmp_path / "b.jpg").native()), np.asarray(Image.open(tmp_path / "a.jpg"))
            )
        else:
            assert "the lower part is missing" in one_line(lambda: read_file(tmp_path / "b.jpg"))


def test_a_jpeg_of_another_process_is_named(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = scene()[..., 0].astype(np.uint16) << 4
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(deep, bitspersample=12))
    assert "is a JPEG of 12 bits per channel, which cannot be read: convert it to PNG" in one_line(
        lambda: read_file(tmp_path / "a.jpg")
    )
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpegls_encode(scene()[..., 0]))
    assert "is a JPEG-LS file, which cannot be read" in one_line(lambda: read_file(tmp_path / "a.jpg"))
    (tmp_path / "a.jpg").write_bytes(imagecodecs.ljpeg_encode(scene()[..., 0]))
    assert "is a lossless JPEG (process 3), which cannot be read" in one_line(
        lambda: read_file(tmp_path / "a.jpg")
    )
