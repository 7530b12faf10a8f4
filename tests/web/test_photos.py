import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inpaint.errors import ImageError
from inpaint.web.photos import PREVIEW_SIDE, Limits, continue_with, open_photo, safe_name, save_result
from tests.web.conftest import noise


def test_a_rotated_phone_picture_is_measured_and_shown_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 100).save(path, exif=exif)
    photo, preview = open_photo(path)
    assert (photo.height, photo.width) == (100, 40)
    assert preview.size == (40, 100)
    assert photo.suffix == ".jpg"


def test_a_large_photo_gets_a_small_preview_and_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (4000, 1000)).save(path)
    photo, preview = open_photo(path)
    assert (photo.height, photo.width) == (1000, 4000)
    assert preview.size == (PREVIEW_SIDE, 384)
    assert photo.preview_size == (384, PREVIEW_SIDE)


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.webp", ".webp"), ("a.tif", ".tif"), ("a.bmp", ".bmp"), ("a.gif", ".png")]
)
def test_results_keep_the_format_where_it_can_be_written(tmp_path: Path, name: str, suffix: str) -> None:
    noise(20, 30).convert("P" if name == "a.gif" else "RGB").save(tmp_path / name)
    photo, preview = open_photo(tmp_path / name)
    assert photo.suffix == suffix
    saved = save_result(preview, photo, tmp_path / "out")
    assert saved.name == f"a-filled{suffix}"
    assert Image.open(saved).size == (30, 20)
    assert save_result(preview, photo, tmp_path / "out", lossless=True).suffix == ".png"


def test_going_on_from_a_result_loses_nothing(tmp_path: Path) -> None:
    noise(30, 30).save(tmp_path / "a.jpg")
    photo, _ = open_photo(tmp_path / "a.jpg")
    result = noise(30, 30, seed=5)
    on = continue_with(result, photo, tmp_path)
    assert (on.name, on.suffix) == ("a.jpg", ".jpg")
    assert np.array_equal(np.asarray(Image.open(on.path)), np.asarray(result))


def test_what_is_too_large_is_turned_away_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb(60_000, 60_000))
    with pytest.raises(ImageError, match=r"bomb\.png has 60000 x 60000 pixels, limit 100,000,000"):
        open_photo(path)
    noise(50, 50).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="limit is 0 MB"):
        open_photo(tmp_path / "a.png", Limits(file_bytes=1000))


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_bad_file_is_named_by_its_own_name_and_not_by_the_servers_path(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "secret-folder" / "x.jpg"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        open_photo(path, name="my photo.jpg")
    assert "my photo.jpg" in str(caught.value)
    assert "secret-folder" not in str(caught.value)


def test_a_photo_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no longer on the server; upload it again"):
        open_photo(tmp_path / "gone.png")


@given(st.text(max_size=200))
def test_safe_names_are_always_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe and not safe.startswith(".") and len(safe) < 80
    assert not set(safe) & set('/\\\0\n\r:*?"<>|`')
    assert Path(safe).name == safe


def test_safe_names_keep_what_people_write() -> None:
    assert safe_name("Sommer 2024 (Öl).JPG") == "Sommer 2024 (Öl).JPG"
    assert safe_name("../../etc/passwd") == "passwd"
    assert safe_name("C:\\temp\\a.png") == "a.png"
    assert safe_name("..") == "photo"


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
