import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpaint.errors import ImageError
from inpaint.web.photos import Limits, preview_size, read_upload, safe_name, view


def test_what_is_too_large_is_turned_away_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb(60_000, 60_000))
    with pytest.raises(ImageError, match=r"bomb\.png has 60000 x 60000 pixels, limit 100,000,000"):
        read_upload(path, Limits())


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_bad_file_is_named_by_its_own_name_and_not_by_the_servers_path(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "secret-folder" / "my photo.jpg"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_upload(path, Limits())
    assert str(caught.value).startswith("the file my photo.jpg")  # the page gives it a capital
    assert "secret-folder" not in str(caught.value)


def test_views_show_their_part_of_the_photo_at_any_depth() -> None:
    assert preview_size(4000, 1000) == (2048, 512) and preview_size(30, 20) == (30, 20)
    pixels = np.zeros((100, 200, 3), np.uint16)
    pixels[20:40, 50:100] = 65535
    assert np.asarray(view(pixels, (20, 50, 40, 100), (10, 25))).min() == 255
    assert view(pixels, (0, 0, 100, 200), (50, 100)).getpixel((60, 15)) == (0, 0, 0)
    assert view(np.zeros((9, 9, 2), np.uint8), (0, 0, 9, 9), (9, 9)).mode == "RGBA"


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
