"""Files to pictures and back: the only place that knows (width, height), uint8 and file formats.

Pictures. Whatever a file holds becomes 8-bit ``RGB``, ``RGBA``, ``L`` or ``LA``, turned upright:

    palette, CMYK            RGB; CMYK through its embedded profile where there is one
    16-bit colour            RGB or RGBA: the decoder gives the upper 8 bits
    1 bit, 16-bit grey       L; 65535 is white
    32-bit integer, float    L; white is the first of 1 (float only), 255, 65535, maximum that holds all
    several frames           the first one

Masks. *White or opaque is hole*: ``coverage = max(R, G, B) * alpha``, from 0 (known) to 255 (hole). So white,
red or yellow strokes on black or on transparency work, and transparent white is no hole. One exception: where
alpha varies and all that is visible is dark, the mask was drawn in black on transparency, and alpha alone is
the coverage. ``invert`` exchanges hole and known afterwards. Soft edges are kept: who needs yes or no takes a
coverage of at least 128 as a hole (``hole_from_mask``); the pipeline reads the grey rim, too.

Metadata. ICC profile, resolution (dpi) and descriptive EXIF tags (camera, exposure, place, author) survive.
Orientation is applied and removed; thumbnails, maker notes, XMP are dropped: they may show what was erased.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from inpaint.atomic import atomic_write
from inpaint.errors import ImageError, InpaintError, MaskError, ShapeError

MAX_PIXELS = 200_000_000  # larger pictures are refused before they are decoded
WRITABLE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF",
                    ".tiff": "TIFF", ".bmp": "BMP"}  # fmt: skip

HOLE = 128
"""Coverage of a mask's pixel from which it is a hole for who needs yes or no."""
COMPRESSION_NOISE = 32

_LOSSY_FORMATS = ("JPEG", "WEBP", "AVIF", "JPEG2000", "HEIF")
# HEIF is there only where a plug-in for Pillow registered it. EPS and other program-like formats stay out.
_DECODERS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF")
# Tags that describe the picture. Others describe the old file (strips, thumbnail), wrong in a new one.
_KEPT_TAGS = "ImageDescription Make Model Software DateTime Artist HostComputer Copyright".split()
_DROPPED_TAGS = "MakerNote ExifImageWidth ExifImageHeight ExifInteroperabilityOffset".split()
# Upright from EXIF orientation 2, 3, ... 8.
_TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90".split()


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture file, upright and in a plain mode.

    Args:
        path: file in any of the formats above; the content decides, not the suffix.
        max_pixels: a larger picture is refused before it is decoded.

    Returns:
        Image in mode ``RGB``, ``RGBA``, ``L`` or ``LA``. ``info`` holds ``source_format`` and, where the file
        has them, ``icc_profile``, ``exif`` (bytes, no orientation) and ``dpi``.

    Raises:
        ImageError: missing, a folder, empty, no picture, damaged, cut short, or more than ``max_pixels``.
    """
    path, name = Path(path), repr(str(path))
    try:
        if path.is_dir():
            raise ImageError(f"{name} is a folder, expected one picture file: name a file in it")
        if not path.stat().st_size:
            raise ImageError(f"{name} is empty (0 bytes), expected a picture: get the file again")
        # A file object: given a path, Pillow maps uncompressed TIFF into memory and turns it the wrong way.
        with open(path, "rb") as file, _no_pillow_limit, _open(file) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise ImageError(f"{name} has {width} x {height} pixels, limit {max_pixels:,}: shrink it")
            return plain_image(opened)
    except InpaintError as error:
        if name in str(error):
            raise
        raise ImageError(f"{name}: {error}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(f"cannot open {name} ({error.strerror}): check the path") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is no picture, expected PNG, JPEG, WebP, TIFF, BMP or GIF") from error
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise ImageError(f"{name} is damaged or cut short ({_first_line(error)}): get it again") from error


def read_mask(
    path: str | os.PathLike[str], *, invert: bool = False, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Read a mask file by the rule at the top of this module; EXIF orientation is applied.

    Args:
        path: picture file of any mode.
        invert: exchange hole and known.
        max_pixels: as for ``read_image``.

    Returns:
        Image in mode ``L``, 0 (known) to 255 (hole); it may be without any hole. In formats that lose detail,
        levels within ``COMPRESSION_NOISE`` of black and white become black and white.

    Raises:
        MaskError: the file cannot be read; the message says why.
    """
    try:
        image = read_image(path, max_pixels=max_pixels)
        mask = mask_from_image(image, invert=invert)
        if image.info.get("source_format") in _LOSSY_FORMATS:
            last = 255 - COMPRESSION_NOISE
            mask = mask.point([0 if v <= COMPRESSION_NOISE else 255 if v >= last else v for v in range(256)])
        return mask
    except ImageError as error:
        raise MaskError(f"cannot read the mask: {error}") from error


def write_image(
    image: Image.Image, path: str | os.PathLike[str], *, quality: int = 95, fast: bool = False
) -> None:
    """Write a picture file, whole or not at all; an existing file is replaced.

    PNG, TIFF, BMP and (at quality 100) WebP are lossless. JPEG and BMP flatten transparency on white.

    Args:
        image: any mode; ``info`` may hold ``icc_profile``, ``exif`` and ``dpi`` as from ``read_image``.
        path: its suffix decides the format; its folder must exist.
        quality: 1 to 100, for JPEG and WebP.
        fast: for PNG, compress less: for files that are soon read again and thrown away.

    Raises:
        ImageError: unknown suffix, missing folder, quality out of range, too large for the format, full disk.
    """
    path, failed = Path(path), f"cannot write {str(path)!r}"
    file_format = WRITABLE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise ImageError(f"{failed}: got suffix {path.suffix!r}, expected {' '.join(WRITABLE_FORMATS)}")
    if not 1 <= quality <= 100:
        raise ImageError(f"{failed}: got quality {quality}, expected 1 to 100")
    if not path.parent.is_dir():
        raise ImageError(f"{failed}: there is no folder {str(path.parent)!r}, make it first")
    picture = _fit_format(plain_image(image), file_format)
    # WebP: colours under alpha 0 are pixels, too. TIFF: Pillow cannot write EXIF groups beside compression.
    options = {
        "PNG": {"compress_level": 1} if fast else {},
        "JPEG": {"quality": quality, "subsampling": 0 if quality >= 90 else 2},
        "WEBP": {"quality": quality, "lossless": quality == 100, "exact": True},
        "TIFF": {} if "exif" in picture.info else {"compression": "tiff_deflate"},
    }.get(file_format, {})
    metadata = {key: picture.info[key] for key in ("icc_profile", "exif", "dpi") if key in picture.info}
    try:
        with atomic_write(path) as file:
            picture.save(file, file_format, **options, **metadata)
    except Exception as error:
        raise ImageError(f"{failed} ({_first_line(error)}): check the disk, or use .png") from error


def plain_image(image: Image.Image) -> Image.Image:
    """Turn any Pillow image upright and into a plain mode, as ``read_image`` does with a file.

    Args:
        image: any mode, opened from a file or made; it is not changed.

    Returns:
        New image in mode ``RGB``, ``RGBA``, ``L`` or ``LA`` with the ``info`` that ``read_image`` promises.

    Raises:
        ImageError: a float picture with NaN or infinity.
    """
    image.load()  # first: PNG may carry EXIF after its pixels, and TIFF is turned by Pillow itself here
    orientation, exif = _read_exif(image)
    # Not ImageOps.exif_transpose: it rewrites all EXIF tags on the way, and fails where one is broken.
    turn = Image.Transpose[_TURNS[orientation - 2]] if orientation in range(2, 9) else None
    plain = _to_plain_mode(image.copy() if turn is None else image.transpose(turn))
    profile = image.info.get("icc_profile") or b""
    # A profile of another colour space than the pixels (CMYK, or colour on grey) would falsify them.
    fitting = profile[16:20] == (b"GRAY" if plain.mode in ("L", "LA") else b"RGB ")
    dpi = image.info.get("dpi")
    sane = isinstance(dpi, tuple) and all(1 <= value <= 65535 for value in dpi)  # NaN is not
    found = {
        "source_format": image.info.get("source_format", "JPEG" if image.format == "MPO" else image.format),
        "icc_profile": profile if fitting else None,
        "exif": exif,
        "dpi": tuple(float(value) for value in dpi) if dpi and sane else None,
    }
    plain.info = {key: value for key, value in found.items() if value}
    return plain


def mask_from_image(image: Image.Image, *, invert: bool = False) -> Image.Image:
    """Make a mask (``L``, 0 = known, 255 = hole) from an image of any mode by the rule at the top.

    The image is taken as it stands (EXIF orientation is not looked at); ``invert`` exchanges hole and known.
    """
    image = _to_plain_mode(image)
    if image.mode == "L":
        return image.point([255 - value for value in range(256)]) if invert else image.copy()
    pixels = np.asarray(image.convert("RGBA"))
    brightness, alpha = pixels[..., :3].max(axis=-1), pixels[..., 3]
    drawn_in_black = alpha.min() != alpha.max() and not np.any((alpha >= HOLE) & (brightness >= HOLE))
    product = (255 if drawn_in_black else brightness.astype(np.uint16)) * alpha.astype(np.uint16)
    coverage = (product // 255).astype(np.uint8)
    return Image.fromarray(255 - coverage if invert else coverage)


def hole_from_mask(mask: Image.Image) -> NDArray[np.bool_]:
    """Take a mask of any mode as yes or no: ``(H, W)`` bool, True where its coverage is at least 128."""
    return np.asarray(mask_from_image(mask)) >= HOLE


def image_to_tensor(image: Image.Image) -> Tensor:
    """Turn a picture into ``(1, 3, H, W)`` float32 RGB in [0, 1]; grey is repeated, alpha is left out."""
    pixels = np.array(_to_plain_mode(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous()


def mask_to_tensor(mask: Image.Image) -> Tensor:
    """Turn a mask, as ``read_mask`` gives it, into ``(1, 1, H, W)`` float32: 1 = hole, 0 = known."""
    return torch.from_numpy(hole_from_mask(mask))[None, None].float()


def tensor_to_image(tensor: Tensor) -> Image.Image:
    """Turn ``(1, 3, H, W)`` or ``(3, H, W)`` float in [0, 1] into an ``RGB`` image, clamped and rounded.

    Raises:
        ShapeError: any other shape.
    """
    single = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if single.ndim != 3 or len(single) != 3:
        raise ShapeError(f"got {tuple(tensor.shape)}, expected (3, H, W) or (1, 3, H, W): pass one picture")
    pixels = single.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().contiguous().numpy())


class _NoPillowLimit:
    """Pillow's own, lower pixel limit is a global: it is away while any thread reads a picture."""

    def __init__(self) -> None:
        self._lock, self._readers, self._limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._limit = Image.MAX_IMAGE_PIXELS
                if self._limit is not None:  # not None: Pillow may just be computing with it elsewhere
                    Image.MAX_IMAGE_PIXELS = sys.maxsize
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                Image.MAX_IMAGE_PIXELS = self._limit


_no_pillow_limit = _NoPillowLimit()


def _open(file: IO[bytes]) -> Image.Image:
    Image.init()
    return Image.open(file, formats=[name for name in _DECODERS if name in Image.OPEN])


def _to_plain_mode(image: Image.Image) -> Image.Image:
    """Convert to ``RGB``, ``RGBA``, ``L`` or ``LA``; an image that is plain already is returned as it is."""
    mode, transparent = image.mode, image.has_transparency_data
    if mode in ("RGBA", "LA") or (mode in ("RGB", "L") and not transparent):
        return image
    if mode == "F" or mode.startswith("I"):
        return _deep_to_grey(image)
    if mode == "CMYK":
        return _cmyk_to_rgb(image)
    return image.convert(("L" if mode in ("1", "L", "La") else "RGB") + ("A" if transparent else ""))


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit integer and float grey to ``L``; a transparent grey value gives ``LA``."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError("got NaN or infinity in a float picture, expected numbers: convert it to 8 bit")
    top = float(values.max())
    whites = {"F": (1, 255, 65535, top), "I": (255, 65535, top)}.get(image.mode, (65535,))
    white = next(white for white in whites if top <= white)
    grey = Image.fromarray(np.rint(np.clip(values / np.float32(white), 0, 1) * 255).astype(np.uint8))
    if "transparency" in image.info:
        opaque = values != image.info["transparency"]
        grey.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return grey


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "CMYK", "RGB").apply(image)
    except (KeyError, OSError, ImageCms.PyCMSError):  # no profile, or a broken one
        return image.convert("RGB")


def _read_exif(image: Image.Image) -> tuple[int, bytes]:
    """Return the orientation (1 = upright) and the descriptive tags as bytes, empty where there are none."""
    orientation = 1
    try:
        exif = image.getexif()
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        kept = Image.Exif()
        kept.update({tag: exif[tag] for tag in (ExifTags.Base[name] for name in _KEPT_TAGS) if tag in exif})
        dropped = {ExifTags.Base[name] for name in _DROPPED_TAGS}  # none of these numbers is a GPS tag
        for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if tags := {tag: value for tag, value in exif.get_ifd(group).items() if tag not in dropped}:
                kept[group] = tags
        kept_bytes = kept.tobytes() if len(kept) else b""
        return orientation, kept_bytes if len(kept_bytes) <= 65_533 else b""  # what one JPEG segment holds
    except Exception:  # a broken tag must not cost the picture
        return orientation, b""


def _fit_format(picture: Image.Image, file_format: str) -> Image.Image:
    """Flatten alpha on white where the format has none; WebP knows only colour."""
    if file_format in ("JPEG", "BMP") and picture.mode in ("RGBA", "LA"):
        flat = Image.new(picture.mode[:-1], picture.size, "white")
        flat.paste(picture.convert(flat.mode), mask=picture.getchannel("A"))
        flat.info = picture.info
        return flat
    if file_format == "WEBP" and picture.mode in ("L", "LA"):
        return plain_image(picture.convert("RGB" if picture.mode == "L" else "RGBA"))
    return picture


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
