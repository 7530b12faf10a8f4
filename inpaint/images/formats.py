"""Which formats there are: told by their first bytes, and what each can hold (formats.toml)."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inpaint.errors import ImageError, InpaintError, require

MAX_PIXELS = 200_000_000  # larger images are refused before they are decoded


@dataclass(frozen=True)
class Format:
    """What a format can hold, and what it takes to read and write it; see formats.toml."""

    called: str
    starts: Sequence[str] = ()
    suffixes: Sequence[str] = ()
    modes: Sequence[str] = ()
    deep: Sequence[str] = ()
    metadata: Sequence[str] = ()
    frames: bool = False
    lossless: bool = True
    needs: str = ""


_TABLES = tomllib.loads(Path(__file__).with_name("formats.toml").read_text(encoding="utf-8"))
FORMATS = {name: Format(**{"called": name} | table) for name, table in _TABLES["format"].items()}
WRITABLE_FORMATS = {suffix: name for name, kind in FORMATS.items() for suffix in kind.suffixes}
READABLE_SUFFIXES = (*WRITABLE_FORMATS, *_TABLES["read_only"]["suffixes"])
UNREADABLE_SUFFIXES = tuple(_TABLES["unreadable"]["suffixes"])


def sniff(head: bytes) -> str:
    """The format of a file by its first 32 bytes; empty where they do not tell.

    ImageError for a known kind that is no image for this program; the message names it.
    """
    text = head.decode("latin-1")
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in head):
            return "AVIF"
        if brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
            return "HEIF"
        raise ImageError("is a video or a raw file of a camera, expected an image")
    for start, what in _TABLES["foreign"].items():
        if text.startswith(start):
            raise ImageError(f"is {what}, which cannot be read: export it as PNG or TIFF")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456Ff" and head[2:3].isspace():
        return "PPM"
    return next((name for name, kind in FORMATS.items() if text.startswith(tuple(kind.starts))), "")


def require_plug_in(name: str) -> None:
    """Make a format's decoder and encoder available.

    ImageError if it is not installed; the message says how to install it.
    """
    kind = FORMATS.get(name)
    if kind is None or not kind.needs or (name in Image.OPEN and name in Image.SAVE):
        return
    Image.init()
    try:
        module = require(kind.needs, kind.called, "formats") if name not in Image.OPEN else None
    except InpaintError as error:
        raise ImageError(str(error)) from None
    if name == "HEIF" and module:
        module.register_heif_opener()
