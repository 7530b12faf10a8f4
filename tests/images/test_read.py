"""Every kind of file a person may bring, and what becomes of it."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from inpaint.errors import ImageError
from inpaint.images import (
    WRITABLE_FORMATS,
    image_to_tensor,
    mask_from_image,
    plain_image,
    read_file,
    read_image,
    write_image,
)
from inpaint.images.metadata import PNG_START, png_chunk
from tests.images.painting import noise, one_line, save

ORIENTATION = ExifTags.Base.Orientation
# Six different greys: every one of the eight orientations shows another arrangement.
STORED = np.array([[0, 40, 80], [120, 160, 200]], np.uint8)
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: np.rot90(STORED, -1),
    7: STORED[::-1, ::-1].T,
    8: np.rot90(STORED),
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def palette_image(*, transparent: bool) -> tuple[Image.Image, dict[str, object]]:
    image = Image.new("P", (4, 2))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return image, {"transparency": bytes([255, 0])} if transparent else {}


def icc_of_space(space: bytes) -> bytes:
    """A profile whose header names a colour space; enough for code that only carries it."""
    return SRGB[:16] + space + SRGB[20:]


def grey_making_cmyk_profile() -> bytes:
    """A CMYK profile for which ink is ink: L* falls by 20 for each of the four, colour is nowhere."""
    corners = np.array([[c, m, y, k] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)])
    lightness = 255 - 51 * corners.sum(axis=1)
    lab = np.stack([lightness, np.full(16, 128), np.full(16, 128)], axis=1).astype(np.uint8)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + lab.tobytes() + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"A2B0", table), (b"wtpt", white)]
    offset, directory, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags:
        directory += name + struct.pack(">2I", offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I", offset + len(data)) + bytes(4) + struct.pack(">I", 0x02400000) + b"prtrCMYKLab "
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + directory + data


# Pictures of every mode


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_rgb_is_read_exactly_from_lossless_files(tmp_path: Path, suffix: str) -> None:
    pixels = noise(5, 7, 3)
    path = save(
        tmp_path, Image.fromarray(pixels), f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {})
    )
    image = read_image(path)
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), pixels)
    assert image.info["source_format"] == WRITABLE_FORMATS[suffix]


@pytest.mark.parametrize(("mode", "channels"), [("L", ()), ("LA", (2,)), ("RGB", (3,)), ("RGBA", (4,))])
def test_plain_modes_stay_what_they_are(tmp_path: Path, mode: str, channels: tuple[int, ...]) -> None:
    pixels = noise(4, 6, *channels)
    image = read_image(save(tmp_path, Image.fromarray(pixels), "a.png"))
    assert image.mode == mode and np.array_equal(np.asarray(image), pixels)


def test_palette_becomes_colour_and_keeps_its_transparency(tmp_path: Path) -> None:
    image, options = palette_image(transparent=False)
    opaque = read_image(save(tmp_path, image, "opaque.png", **options))
    assert (
        opaque.mode == "RGB"
        and opaque.getpixel((0, 0)) == (255, 0, 0)
        and opaque.getpixel((1, 0)) == (0, 0, 255)
    )
    image, options = palette_image(transparent=True)
    holed = read_image(save(tmp_path, image, "holed.png", **options))
    assert holed.mode == "RGBA"
    assert holed.getpixel((0, 0)) == (255, 0, 0, 255) and holed.getpixel((1, 0)) == (0, 0, 255, 0)
    write_image(
        holed, tmp_path / "again.png"
    )  # a left-over palette entry in info used to break this in other tools
    assert read_image(tmp_path / "again.png").getpixel((1, 0)) == (0, 0, 255, 0)


def test_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    image = read_image(save(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:]))
    assert image.convert("RGB").getpixel((0, 0)) == (255, 0, 0) and image.info["source_format"] == "GIF"


@pytest.mark.parametrize(("mode", "key", "plain"), [("RGB", (10, 20, 30), "RGBA"), ("L", 10, "LA")])
def test_one_transparent_colour_becomes_alpha(tmp_path: Path, mode: str, key: Any, plain: str) -> None:
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), 200 if mode == "L" else (200, 0, 0))
    read = read_image(save(tmp_path, image, "a.png", transparency=key))
    assert read.mode == plain and list(read.getchannel("A").tobytes()) == [0, 255]


def test_one_bit_becomes_grey(tmp_path: Path) -> None:
    pixels = noise(5, 9) > 127
    image = read_image(save(tmp_path, Image.fromarray(pixels), "a.png"))
    assert image.mode == "L" and np.array_equal(np.asarray(image), pixels * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    image = read_image(save(tmp_path, Image.fromarray(values), f"a{suffix}"))
    assert image.mode == "L" and np.asarray(image).tolist() == [[0, 0, 1, 128, 255]]


def test_16_bit_grey_with_a_transparent_value(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.array([[700, 65535]], np.uint16)), "a.png", transparency=700)
    assert np.asarray(read_image(path)).tolist() == [[[3, 0], [255, 255]]]


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    import cv2

    values = np.random.default_rng(1).integers(0, 65536, (3, 4, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), np.rint(values / 257))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (np.array([-3.0, 100.0, 255.0], np.float32), [0, 100, 255]),
        (np.array([0.0, 65535.0, 32768.0], np.float32), [0, 255, 128]),
        (np.array([0, 1, 255], np.int32), [0, 1, 255]),
        (np.array([0, 32896, 65535], np.int32), [0, 128, 255]),
        (np.array([-5, 1 << 20, 1 << 19], np.int32), [0, 255, 128]),
    ],
)
def test_float_and_32_bit_grey_find_their_white(
    tmp_path: Path, values: np.ndarray, expected: list[int]
) -> None:
    image = read_image(save(tmp_path, Image.fromarray(values[None]), "a.tif"))
    assert image.mode == "L" and np.asarray(image)[0].tolist() == expected


def test_nan_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.array([[0, np.nan]], np.float32)), "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif.*NaN"):
        read_image(path)


def test_cmyk_without_profile_is_plain_arithmetic(tmp_path: Path) -> None:
    image = read_image(save(tmp_path, Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "a.jpg", quality=100))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image)[8, 8].astype(int) - (0, 255, 255)).max() <= 2


def test_cmyk_goes_through_its_profile_and_loses_it(tmp_path: Path) -> None:
    cyan, profile = Image.new("CMYK", (16, 16), (255, 0, 0, 0)), grey_making_cmyk_profile()
    image = read_image(save(tmp_path, cyan, "a.jpg", quality=100, icc_profile=profile))
    # L* = 80 in sRGB: Y = ((80 + 16) / 116)^3 = 0.567, encoded 0.776 -> 198 on all three channels
    assert image.mode == "RGB" and "icc_profile" not in image.info
    assert np.abs(np.asarray(image)[8, 8].astype(int) - 198).max() <= 3
    write_image(image, tmp_path / "a.png")
    assert "icc_profile" not in Image.open(tmp_path / "a.png").info


def test_cmyk_with_a_broken_profile_still_opens(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = read_image(save(tmp_path, cyan, "a.jpg", quality=100, icc_profile=b"no profile"))
    assert np.abs(np.asarray(image)[8, 8].astype(int) - (0, 255, 255)).max() <= 2


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La", "PA", "I;16B", "1", "P"])
def test_every_other_mode_becomes_plain(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    plain = plain_image(image)
    assert plain.mode in ("RGB", "RGBA", "L", "LA") and plain.size == (3, 2)
    assert image.mode == mode
    assert mask_from_image(image).size == (3, 2) and image_to_tensor(image).shape == (1, 3, 2, 3)


# Orientation and metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".deflate.tif", ".webp", ".jpg"])
def test_pictures_are_turned_upright_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    big = Image.fromarray(np.kron(STORED, np.ones((16, 16), np.uint8)))  # blocks survive JPEG
    options = {
        ".webp": {"lossless": True},
        ".jpg": {"quality": 100},
        ".deflate.tif": {"compression": "tiff_deflate"},
    }.get(suffix, {})
    image = read_image(save(tmp_path, big, f"a{suffix}", exif=exif, **options))
    assert np.abs(np.asarray(image.convert("L"))[8::16, 8::16].astype(int) - UPRIGHT[orientation]).max() <= 1
    assert image.getexif().get(ORIENTATION, 1) == 1
    write_image(image, tmp_path / f"b{suffix}")
    again = read_image(tmp_path / f"b{suffix}")
    assert again.size == image.size
    assert Image.open(tmp_path / f"b{suffix}").getexif().get(ORIENTATION, 1) == 1


def test_an_unturned_pillow_image_is_written_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = save(tmp_path, Image.fromarray(STORED), "a.png", exif=exif)
    with Image.open(path) as opened:
        write_image(opened, tmp_path / "b.png")
        assert opened.size == (3, 2)  # the caller's image is not touched
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), UPRIGHT[6])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_corrupt_exif_is_left_behind(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(STORED), "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert np.array_equal(np.asarray(read_image(path)), STORED)


@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_survives_and_what_may_show_the_erased_does_not(
    tmp_path: Path, source: str, target: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[ExifTags.Base.Make], exif[ExifTags.Base.Artist] = 6, "Maker", "Me"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.FNumber: 2.8,
        ExifTags.Base.ExifImageWidth: 32,
        ExifTags.Base.MakerNote: b"\xff\xd8\xff secret thumbnail",
    }
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (48.0, 8.0, 30.0),
    }
    options = {"exif": exif.tobytes(), "icc_profile": SRGB, "dpi": (300, 300)}
    path = save(tmp_path, Image.fromarray(noise(32, 32, 3)), f"a{source}", **options)
    image = read_image(path)
    assert set(image.info) <= {"source_format", "icc_profile", "exif", "dpi", "notes"}
    write_image(image, tmp_path / f"b{target}")
    written = Image.open(tmp_path / f"b{target}")
    assert written.info["icc_profile"] == SRGB
    tags = written.getexif()
    assert (tags[ExifTags.Base.Make], tags[ExifTags.Base.Artist]) == (
        "Maker",
        "Me",
    ) and tags.get(ORIENTATION, 1) == 1
    inner, place = tags.get_ifd(ExifTags.IFD.Exif), tags.get_ifd(ExifTags.IFD.GPSInfo)
    assert float(inner[ExifTags.Base.FNumber]) == pytest.approx(2.8)
    assert place[ExifTags.GPS.GPSLatitudeRef] == "N" and [
        float(v) for v in place[ExifTags.GPS.GPSLatitude]
    ] == [48, 8, 30]
    assert b"secret" not in (tmp_path / f"b{target}").read_bytes()
    if ".webp" not in (source, target):  # WebP has no field for it
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    ("pixels", "space", "kept"),
    [
        (noise(4, 4, 3), b"RGB ", True),
        (noise(4, 4), b"GRAY", True),
        (noise(4, 4), b"RGB ", False),
        (noise(4, 4, 3), b"GRAY", False),
        (noise(4, 4, 3), b"CMYK", False),
    ],
)
def test_a_profile_must_fit_the_pixels(tmp_path: Path, pixels: np.ndarray, space: bytes, kept: bool) -> None:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = icc_of_space(space)
    write_image(image, tmp_path / "a.png")
    assert ("icc_profile" in read_image(tmp_path / "a.png").info) == kept


def test_grey_profile_does_not_follow_grey_into_webp(tmp_path: Path) -> None:
    image = Image.fromarray(noise(4, 4))
    image.info["icc_profile"] = icc_of_space(b"GRAY")
    write_image(image, tmp_path / "a.webp", quality=100)
    with Image.open(tmp_path / "a.webp") as written:
        assert "icc_profile" not in written.info and np.array_equal(
            np.asarray(written.convert("L")), np.asarray(image)
        )


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 72), (1e9, 1e9), 72, "a", None])
def test_impossible_resolutions_are_dropped(tmp_path: Path, dpi: object) -> None:
    image = Image.fromarray(noise(4, 4, 3))
    image.info["dpi"] = dpi
    write_image(image, tmp_path / "a.jpg")
    assert "dpi" not in plain_image(image).info


def test_exif_too_long_for_jpeg_is_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    image = read_image(save(tmp_path, Image.fromarray(noise(4, 4, 3)), "a.png", exif=exif))
    write_image(image, tmp_path / "a.jpg")


def test_warnings_of_decoders_do_not_reach_people(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    path = save(tmp_path, Image.fromarray(noise(16, 16, 3)), "a.jpg", exif=exif)
    code = "import sys; from inpaint.images import read_file, write_file; file = read_file(sys.argv[1]);"
    code += "print(write_file(file, sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "b.png")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['left out: EXIF data, which is damaged']\n"


# Bad files: one line


def test_missing_folder_empty_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("I am no picture")
    (tmp_path / "zero.png").touch()
    (tmp_path / "vector.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "No such file" in one_line(lambda: read_image(tmp_path / "none.png"))
    assert "is a folder" in one_line(lambda: read_image(tmp_path))
    assert "is empty" in one_line(lambda: read_image(tmp_path / "zero.png"))
    for name, told in (
        ("text.png", "is not an image file, expected PNG"),
        ("vector.eps", "is a PostScript or EPS"),
    ):
        message = one_line(lambda name=name: read_image(tmp_path / name))
        assert name in message and told in message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".gif"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path, Image.fromarray(noise(64, 64, 3)), f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    message = one_line(lambda: read_image(path))
    assert path.name in message and ("damaged or cut short" in message or "is not an image" in message)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on broken tags
@settings(max_examples=60)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF"]), st.integers(0, 2**31))
def test_damaged_bytes_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(noise(12, 12, 3)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    for position in rng.integers(0, len(data), 8):
        data[position] = rng.integers(0, 256)
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    path.write_bytes(data)
    try:
        image = read_image(path)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode in ("RGB", "RGBA", "L", "LA")


@pytest.mark.parametrize(
    "suffix", [".png", ".tif", ".gif"]
)  # TIFF looks at the limit once more as it decodes
def test_the_pixel_limit_is_ours_not_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = save(tmp_path, Image.fromarray(noise(20, 30, 3)), f"a{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow alone would refuse
    assert read_image(path).size == (30, 20)
    assert Image.MAX_IMAGE_PIXELS == 100
    message = one_line(lambda: read_image(path, max_pixels=599))
    assert "30 x 20" in message and "limit 599" in message


def test_threads_read_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, Image.fromarray(noise(20, 30, 3)), "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    both_decode = threading.Barrier(2, timeout=10)

    def decode(image: Image.Image) -> Image.Image:
        both_decode.wait()
        assert Image.MAX_IMAGE_PIXELS  # None would break a thread that crops and has seen a number before
        return plain_image(image)

    monkeypatch.setattr("inpaint.images.plain_image", decode)
    with ThreadPoolExecutor(2) as pool:
        assert [image.size for image in pool.map(read_image, [path, path])] == [(30, 20)] * 2
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = struct.pack(">2I5B", 30_000, 30_000, 8, 2, 0, 0, 0)
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:29] = header
    data[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(data)
    assert "30000 x 30000 pixels, limit 200,000,000" in one_line(lambda: read_image(tmp_path / "bomb.png"))


def test_a_gif_whose_second_frame_reaches_far_out_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    data = bytearray(path.read_bytes())
    place = data.rindex(b"\x2c\0\0\0\0") + 1  # left, top, width, height of the second frame
    data[place : place + 8] = b"\xff\xf0" * 4
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"pixels in each of 2 frames, limit 200,000,000"):
        read_file(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("fault", ["unknown chunk", "wrong checksum"])
def test_a_png_that_only_pillow_takes_is_read_where_no_depth_is_lost(
    tmp_path: Path, bits: int, fault: str
) -> None:
    """libpng refuses both; Pillow does not, but has no colours of more than 8 bits."""
    pixels = noise(5, 7, 3)
    rows = b"".join(b"\0" + row.tobytes() for row in (pixels if bits == 8 else pixels.astype(">u2")))
    header = struct.pack(">IIBBBBB", 7, 5, bits, 2, 0, 0, 0)
    pixels_chunk = bytearray(png_chunk(b"IDAT", zlib.compress(rows)))
    pixels_chunk[-1] ^= fault == "wrong checksum"
    before = png_chunk(b"ABCD", b"") if fault == "unknown chunk" else b""
    after = png_chunk(b"tEXt", b"Title\0behind") + png_chunk(b"IEND", b"")
    whole = PNG_START + png_chunk(b"IHDR", header) + before + pixels_chunk + after
    (tmp_path / "a.png").write_bytes(whole)
    if bits == 8:
        assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), pixels)
        assert read_file(tmp_path / "a.png").metadata["text"] == {"Title": "behind"}
    else:
        with pytest.raises(ImageError, match="damaged"):
            read_file(tmp_path / "a.png")
