"""Which formats there are: told by their first bytes, and what each can hold."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from PIL import Image

from inpaint.errors import ImageError

MAX_PIXELS = 200_000_000  # larger images are refused before they are decoded


class Format(NamedTuple):
    """What a written format holds: Pillow's modes, types of deep arrays, kinds of metadata, frames."""

    modes: tuple[str, ...]
    deep: str = ""
    metadata: str = ""
    frames: bool = False
    lossless: bool = True


_ALL = ("1", "L", "LA", "P", "RGB", "RGBA")
_PLAIN = ("RGB", "RGBA", "L", "LA")
FORMATS = {
    "PNG": Format(_ALL, "uint16", "icc exif xmp dpi text", frames=True),
    "JPEG": Format(("L", "RGB", "CMYK"), "", "icc exif xmp dpi comment", lossless=False),
    "WEBP": Format(("RGB", "RGBA"), "", "icc exif xmp", frames=True, lossless=False),
    "TIFF": Format((*_ALL, "CMYK", "LAB"), "any", "icc exif xmp dpi", frames=True),
    "BMP": Format(("1", "L", "P", "RGB"), "", "dpi"),
    "GIF": Format(("P", "L", "1"), "", "comment", frames=True),
    "AVIF": Format(("RGB", "RGBA"), "", "icc exif xmp", frames=True, lossless=False),
    "HEIF": Format(_PLAIN, "uint16", "icc exif xmp", lossless=False),
    "JXL": Format(_PLAIN, "uint16 float32 float16", "icc exif xmp"),
    "JPEG2000": Format(_PLAIN, "uint16 int16", "icc"),
    "EXR": Format((), "float"),
    "HDR": Format((), "float"),
}
WRITABLE_FORMATS = {
    ".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".mpo": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".dib": "BMP",
    ".gif": "GIF", ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL",
    ".jp2": "JPEG2000", ".exr": "EXR", ".hdr": "HDR",
}  # fmt: skip
READABLE_SUFFIXES = (*WRITABLE_FORMATS, *".ppm .pgm .pbm .pnm .pfm .j2k .tga .qoi .heics .avifs".split())
# Imported only for files that need them: the extra `formats` has them all. Pillow itself has AVIF since 11.3.
_PLUG_INS = {
    "HEIF": "pillow_heif",
    "JXL": "pillow_jxl",
    "EXR": "OpenImageIO",
    "HDR": "OpenImageIO",
    "AVIF": "Pillow 11.3",
}
_CALLED = {"HEIF": "HEIC", "JXL": "JPEG XL", "EXR": "OpenEXR", "HDR": "Radiance HDR", "WEBP": "WebP"}
_STARTS = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\xff\x0a": "JXL", b"\0\0\0\x0cJXL ": "JXL",
    b"v/1\x01": "EXR", b"#?RADIANCE": "HDR", b"#?RGBE": "HDR", b"\0\0\0\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}  # fmt: skip
_FOREIGN = {
    b"8BPS": "a Photoshop document", b"%PDF": "a PDF", b"%!PS": "a PostScript or EPS file",
    b"gimp": "an XCF file", b"FUJI": "a raw file of a camera", b"<svg": "an SVG drawing",
    b"<?xm": "an XML file, perhaps an SVG drawing", b"DDS ": "a DDS texture", b"icns": "an ICNS icon",
    b"\0\0\1\0": "an ICO icon", b"II\xbc\1": "a JPEG XR file", b"\1\xda": "an SGI file",
    b"SIMPLE  =": "a FITS file", b"\x0a\5\1": "a PCX file", b"PK\3\4": "a ZIP archive",
}  # fmt: skip


def sniff(head: bytes) -> str:
    """The format of a file by its first 32 bytes; empty where they do not tell.

    Raises:
        ImageError: of a known kind that is no image for this program; the message names it.
    """
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in head):
            return "AVIF"
        if brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
            return "HEIF"
        raise ImageError("is a video or a raw file of a camera, expected an image")
    for start, name in _FOREIGN.items():
        if head.startswith(start):
            raise ImageError(f"is {name}, expected an image: export it as PNG or TIFF")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456Ff" and head[2:3].isspace():
        return "PPM"
    return next((name for start, name in _STARTS.items() if head.startswith(start)), "")


def deep_types(name: str) -> list[str]:
    """Types of deep arrays that can be written in a format here; ``any`` for all."""
    missing = name in ("JXL", "JPEG2000") and not find_spec("imagecodecs")
    return [] if missing else FORMATS[name].deep.split()


def called(name: str) -> str:
    """What people call a format."""
    return _CALLED.get(name, name)


def require_plug_in(name: str) -> None:
    """Make a format's decoder and encoder available.

    Raises:
        ImageError: it is not installed; the message says how to install it.
    """
    if name not in _PLUG_INS or (name in Image.OPEN and name in Image.SAVE):
        return
    try:
        Image.init()
        module = import_module(_PLUG_INS[name]) if name not in Image.OPEN else None
    except ImportError as error:
        raise ImageError(
            f"{called(name)} files need {_PLUG_INS[name]}, which is not installed: "
            "pip install 'mae-acr-inpaint[formats]'"
        ) from error
    if name == "HEIF" and module:
        module.register_heif_opener()
