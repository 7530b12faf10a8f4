"""Files to images: with all they hold (``read_file``), or as plain 8-bit images (``read_image``)."""

import io
import logging
import os
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

import inpaint.images.metadata as meta
from inpaint.errors import ImageError, InpaintError, MaskError, collect_notes, note
from inpaint.images.depth import Pixels, rescale
from inpaint.images.file import ImageFile
from inpaint.images.formats import FORMATS, MAX_PIXELS, require_plug_in, sniff
from inpaint.images.jpeg import EOI, split
from inpaint.images.masks import denoised, mask_from_image
from inpaint.images.modes import fits_profile, to_8_bit, to_palette, to_plain, turn_upright
from inpaint.images.tags import BITS, HEIGHT, ORIENTATION, WIDTH, orientation_of
from inpaint.images.tiff import metadata_of, open_tiff, read_page

_SRGB = b"", b"\0\0\xb1\x8f", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_KEPT_MODES = {mode for kind in FORMATS.values() for mode in kind.modes}


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file, upright and in a plain 8-bit mode; of several frames, the first.

    Args:
        path: file in any readable format; the content decides, not the suffix.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        Image in mode ``RGB``, ``RGBA``, ``L`` or ``LA``. ``info`` holds ``source_format`` and, where the file
        has them, ``icc_profile``, ``exif`` (bytes, orientation applied), ``dpi``; and ``notes``, one line for
        each thing that the plain image leaves out.

    Raises:
        ImageError: missing, a folder, empty, no image, damaged, cut short, or more than ``max_pixels``.
    """
    file = read_file(path, max_pixels=max_pixels)
    with _one_line(Path(path), file.format):
        native, notes = file.upright(), list(file.notes)
        plain = to_8_bit(native).copy()
    if not isinstance(native, Image.Image):
        notes.append(f"{native.dtype} values are shown in 8 bits")
    if file.frames > 1:
        notes.append(f"this is the first of {file.frames} frames or pages")
    plain.info = _info(file.metadata, plain.mode, file.format) | ({"notes": tuple(notes)} if notes else {})
    return plain


def read_mask(
    path: str | os.PathLike[str], *, invert: bool = False, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Read a mask file, of several frames the first, upright, by the rule of :mod:`inpaint.images.masks`.

    ``invert`` exchanges hole and known. Gives mode ``L``, 0 (known) to 255 (hole), perhaps without any hole;
    after lossy compression, levels within ``COMPRESSION_NOISE`` of black and white become that. MaskError
    says why, if the file cannot be read or its values not understood.
    """
    return read_masks(path, invert=invert, max_pixels=max_pixels, frames=1)[0]


def read_masks(
    path: str | os.PathLike[str], *, invert: bool = False, max_pixels: int = MAX_PIXELS, frames: int = 0
) -> list[Image.Image]:
    """Read all pages or frames of a mask file, or the first ``frames``; else as :func:`read_mask`."""
    try:
        file, masks = read_file(path, max_pixels=max_pixels), []
        for frame in range(frames or file.frames):
            with _one_line(Path(path), file.format):
                mask = mask_from_image(file.upright(frame), invert=invert)
                masks.append(mask if file.options.get("lossless", True) else denoised(mask))
        return masks
    except ImageError as error:
        raise MaskError(f"cannot read the mask: {error}") from error


def read_file(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read an image file with all it holds: frames, depth, mode, metadata.

    Arguments and errors as for :func:`read_image`.
    """
    path, notes = Path(path), list[str]()
    with _one_line(path, ""):
        if path.is_dir():
            raise ImageError("is a folder, expected one image file: name a file in it")
        data = path.read_bytes()
        if not data:
            raise ImageError("is empty (0 bytes), expected an image: get the file again")
        name = sniff(data[:32])
    with _one_line(path, name), collect_notes(notes):
        require_plug_in(name)
        data = meta.png_alone(data) if name == "PNG" else data
        if name == "TIFF":
            file = _read_tiff(path, data, max_pixels)
        elif name in ("EXR", "HDR"):
            file = _read_light(path, name, data, max_pixels)
        else:
            by_codec = name == "PNG" or _depth_of(name, data) > 8
            file = _read_by_codec(path, name, data, max_pixels) if by_codec else None
            file = file or _read_by_pillow(path, name, data, max_pixels)
    file.notes = notes
    file.options.setdefault("lossless", FORMATS[file.format].lossless)
    return file


@contextmanager
def _one_line(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one line that names the file."""
    file, kind = repr(str(path)), f": the {FORMATS[name].called} file" if name else ""
    try:
        with no_pillow_limit():
            yield
    except InpaintError as error:
        if file in str(error):
            raise
        joint = " " if str(error).startswith(("is ", "has ")) else ": "
        raise type(error)(f"{file}{joint}{error}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(f"cannot open {file} ({error.strerror}): check the path") from error
    except Exception as error:  # decoders raise nearly anything on damaged data
        why = f"is damaged or cut short ({first_line(error)}): get it again"
        if isinstance(error, UnidentifiedImageError):
            foreign = "is not an image file, expected PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL"
            why = "is damaged or cut short: get it again" if name else foreign
        raise ImageError(f"{file}{kind} {why}") from error


def _check_size(size: tuple[int, int], max_pixels: int, frames: int = 1) -> None:
    if size[0] * size[1] * frames > max_pixels:
        many = f" in each of {frames} frames" if frames > 1 else ""
        raise ImageError(f"has {size[0]} x {size[1]} pixels{many}, limit {max_pixels:,}: shrink it")


def _read_tiff(path: Path, data: bytes, max_pixels: int) -> ImageFile:
    tiff = open_tiff(data)
    count = len(tiff.pages)
    for page in range(count):
        _check_size((tiff.number(page, WIDTH, 0), tiff.number(page, HEIGHT, 0)), max_pixels)
    turns = [tiff.number(page, ORIENTATION, 1) for page in range(count)]
    metadata, first = metadata_of(tiff), read_page(tiff, 0)  # a damaged file is told at once
    options = {"white": 2 ** tiff.number(0, BITS, 1) - 1}

    def load(page: int) -> Any:
        return first if page == 0 else read_page(tiff, page)

    return ImageFile(path, "TIFF", data, load, count, turns, metadata, options, tiff=tiff)


def _netpbm_header(data: bytes) -> list[bytes]:
    return b" ".join(line.split(b"#")[0] for line in data[: 2**20].split(b"\n")).split()


def _depth_of(name: str, data: bytes) -> int:
    """Bits per channel, 8 where nothing says more; a JPEG XL file tells only when it is decoded."""
    if name == "PPM":
        head = _netpbm_header(data)
        return {b"F": 32, b"f": 32, b"1": 1, b"4": 1}.get(head[0][1:]) or int(head[3]).bit_length()
    if name == "JPEG2000" and (size := data.find(b"\xff\x4f\xff\x51")) >= 0:
        return (data[size + 42] & 127) + 1
    if name in ("HEIF", "AVIF") and 0 < (box := data.find(b"pixi", 0, 65_536)) < len(data) - 9:
        return data[box + 9]
    return data[24] if name == "PNG" else 16 if name == "JXL" else 8


def _read_by_codec(path: Path, name: str, data: bytes, max_pixels: int) -> ImageFile | None:
    """Formats of which Pillow loses the depth, None where it does not; and PNG, which it reads slowly."""
    metadata, turn, frames, key = meta.Metadata(), 1, 1, None
    if name == "PPM":  # Pillow does not know all of them
        width, height = map(int, _netpbm_header(data)[1:3])
        _check_size((width, height), max_pixels)
    else:
        with Image.open(io.BytesIO(meta.png_without_pixels(data) if name == "PNG" else data)) as opened:
            width, height = struct.unpack_from(">II", data, 16) if name == "PNG" else opened.size
            _check_size((width, height), max_pixels)
            frames, key = getattr(opened, "n_frames", 1), opened.info.get("transparency")
            if name == "PNG" and data[24] <= 8:  # few bits, palettes and animations are left to Pillow
                if data[24] < 8 or opened.mode == "P" or frames > 1 or key is not None:
                    return None
            metadata, turn = _metadata(opened, data)
    if name == "PPM":
        # In text the last number may end the file, which OpenCV does not expect.
        pixels = cv2.imdecode(np.frombuffer(data + b"\n", np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("it cannot be decoded")
        pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    elif (pixels := _decode_deep(name, data)) is None or (frames > 1 and name == "AVIF"):
        return None
    elif name == "JXL" and pixels.shape[:2] != (height, width):
        frames, pixels = len(pixels), pixels[0]
    if pixels.dtype == np.uint8 and frames == 1 and name != "PNG":
        return None
    if frames > 1:
        note(f"only the first of {frames} frames or images is kept and filled")
    if key is not None:
        if pixels.ndim == 2:
            pixels = np.stack([pixels, np.where(pixels == key, 0, 65535).astype(np.uint16)], axis=-1)
        note("the one transparent colour became an alpha channel")
    options = {"bits": _depth_of(name, data)}
    if pixels.dtype == np.uint16 and name != "HEIF":
        white = int(_netpbm_header(data)[3]) if name == "PPM" else 2 ** options["bits"] - 1
        pixels, options["white"] = rescale(pixels, white, 65535), white
    pixels = np.ascontiguousarray(pixels)
    native = Image.fromarray(pixels) if pixels.dtype == np.uint8 else pixels
    return ImageFile(path, name, data, lambda _: native, 1, (turn,), metadata, options)


def _decode_deep(name: str, data: bytes) -> Pixels | None:
    """Pixels of more than 8 bits as the file numbers them, or None; HEIC, which is lossy anyway, fills 16."""
    if name == "HEIF":
        import pillow_heif

        opened = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        return np.asarray(opened) if opened.mode.endswith(";16") else None
    codec = {"PNG": "png", "JPEG2000": "jpeg2k", "JXL": "jpegxl", "AVIF": "avif"}[name]
    try:
        return getattr(imagecodecs, f"{codec}_decode")(data)
    except (imagecodecs.PngError, UnicodeDecodeError):  # the latter of libpng's message
        if name != "PNG" or data[24] > 8:  # Pillow forgives more, but takes no more than 8 bits
            raise
        return None


def _read_light(path: Path, name: str, data: bytes, max_pixels: int) -> ImageFile:
    """OpenEXR and Radiance HDR by OpenImageIO, which keeps half floats and every attribute."""
    import OpenImageIO as oiio

    opened = oiio.ImageInput.open(str(path))  # it cannot read all formats from memory
    if opened is None:
        raise ValueError(oiio.geterror() or "it cannot be decoded")
    spec = opened.spec()
    _check_size((spec.width, spec.height), max_pixels)
    channels = list(spec.channelnames)
    kept = [channels.index(c) for c in "RGBA" if c in channels]
    kept = kept if len(kept) > 2 else [channels.index(c) for c in "YA" if c in channels] or [0]
    if spec.deep or spec.format not in (oiio.HALF, oiio.FLOAT):
        raise ImageError(f"holds {'deep samples' if spec.deep else spec.format}, expected one float a pixel")
    for channel in (channel for i, channel in enumerate(channels) if i not in kept):
        note(f"left out: channel {channel}")
    pixels = opened.read_image(0, 0, 0, spec.nchannels, "half" if spec.format == oiio.HALF else "float")
    if pixels is None:
        raise ValueError(opened.geterror())
    if opened.seek_subimage(1, 0):
        note("left out: all parts of the file but the first")
    opened.close()
    pixels = np.ascontiguousarray(pixels[..., kept] if len(kept) > 1 else pixels[..., kept[0]])
    turns = (spec.get_int_attribute("Orientation", 1),)
    return ImageFile(path, name, data, lambda _: pixels, 1, turns, options={"spec": spec})


def _read_by_pillow(path: Path, name: str, data: bytes, max_pixels: int) -> ImageFile:
    data, other = _checked_jpeg(data) if name == "JPEG" else (data, "")
    Image.init()
    formats = {"JPEG": ["JPEG", "MPO"], "": ["TGA", "QOI"], "BMP": ["BMP", "DIB"]}.get(name, [name])
    with Image.open(io.BytesIO(data), formats=[one for one in formats if one in Image.OPEN]) as opened:
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and name in ("JPEG", "HEIF"):
            if name == "HEIF":
                note(f"only the main one of {frames} images is filled")
            frames = 1
        _check_size(opened.size, max_pixels, frames)
        natives, timing = [], []
        for image in ImageSequence.Iterator(opened) if frames > 1 else [opened]:
            _check_size(image.size, max_pixels, frames)  # a damaged GIF's frame may reach far out
            image.load()
            natives.append(image if frames == 1 else image.copy())
            timing.append(image.info.get("duration", 0))
            if name == "GIF" and frames > 1:  # a palette of its own for each frame, if its colours fit
                plain = to_plain(image)
                with collect_notes(beyond := []):
                    natives[-1] = to_palette(plain)
                natives[-1] = plain.copy() if beyond else natives[-1]
            elif image.mode == "F" or image.mode.startswith("I"):
                natives[-1] = np.array(image)
            elif image.mode not in _KEPT_MODES or (frames > 1 and image.mode == "P"):
                natives[-1] = to_plain(image).copy()
                note(f"mode {image.mode} became {natives[-1].mode}")
        metadata, turn = _metadata(opened, data)
        metadata |= {"other": other} if other else {}
        name, options = str(opened.format).replace("MPO", "JPEG").replace("DIB", "BMP"), {}
        if name == "WEBP":
            options["lossless"] = b"VP8 " not in meta.webp_chunks(data)
        if frames > 1:
            still = getattr(opened, "default_image", False) or None
            options |= {"duration": timing, "loop": opened.info.get("loop"), "default_image": still}
    if name in ("JPEG2000", "HEIF", "AVIF") and (bits := _depth_of(name, data)) > 8:
        note(f"{bits} bits per channel became 8")
    return ImageFile(path, name, data, natives.__getitem__, frames, (turn,) * frames, metadata, options)


def _metadata(image: Image.Image, data: bytes = b"") -> tuple[meta.Metadata, int]:
    """What Pillow found beside the pixels, and the orientation; some decoders have applied it already."""
    text = {str(key): str(value) for key, value in getattr(image, "text", {}).items() if "xmp" not in key}
    info = image.info  # now with what follows the pixels of a PNG
    exif = info.get("exif") or b""
    if not exif and "Raw profile type exif" in info:
        exif = image.getexif().tobytes()  # as ImageMagick writes it, in text
    exif = exif.removeprefix(meta.EXIF_START)
    turn = 1 if image.format in ("HEIF", "JXL") else orientation_of(exif)
    dpi = info.get("dpi")
    if not (isinstance(dpi, tuple) and len(dpi) == 2 and all(1 <= value <= 65535 for value in dpi)):
        dpi = ()  # NaN, too
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    chunks = dict(meta.png_chunks(data)) if image.format == "PNG" else {}
    colours = (b"cICP", b"mDCV", b"cLLI") + (() if b"iCCP" in chunks else (b"gAMA", b"cHRM"))
    comment = info.get("comment") if image.format != "JPEG2000" else None
    comment = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment
    found = {
        "icc_profile": info.get("icc_profile") or meta.icc_of_jp2(data),
        "exif": exif and meta.EXIF_START + exif,
        "xmp": xmp if isinstance(xmp, bytes) else str(xmp).encode(),
        "dpi": tuple(map(float, dpi)),
        "comment": str(comment or text.pop("Comment", "")),
        "text": text,
        "colour": ", ".join(kind.decode() for kind in colours if chunks.get(kind, b"") not in _SRGB),
    }
    return {key: value for key, value in found.items() if value}, turn


def _checked_jpeg(data: bytes) -> tuple[bytes, str]:
    """Refuse what no decoder here knows, and add the end mark that a JPEG lacks, unless more is missing.

    In a whole image the decoder needs no more bits, so it does not look at any that are added. Gives the file
    and, in words, what other formats do not take of it.
    """
    parts = split(data)
    if parts.depth != 8 or parts.frame in (0xC3, 0xF7):
        kind = {0xC3: "lossless JPEG (process 3)", 0xF7: "JPEG-LS file"}.get(parts.frame)
        kind = kind or f"JPEG of {parts.depth} bits per channel"
        raise ImageError(f"is a {kind}, which cannot be read: convert it to PNG")
    if parts.has_end:
        return data, meta.beside_jpeg(parts)
    scans = parts.coded.removesuffix(EOI).rstrip(b"\xff")
    coded = [scans + more * 64 + EOI for more in (b"", b"\x55", b"\xaa")]
    one, *others = (np.asarray(Image.open(io.BytesIO(part)).convert("RGB")) for part in coded)
    if any((one != other).any() for other in others):
        raise ValueError("the lower part is missing")
    note("the JPEG lacked its end mark, which was added")
    return data + EOI, meta.beside_jpeg(parts)


def _info(metadata: meta.Metadata, mode: str, source: str | None) -> dict[Any, Any]:
    """Metadata as Pillow's ``info`` has it, fit for a plain image that is upright."""
    with collect_notes([]):
        clean = meta.clean_metadata(metadata)
    found = {key: clean[key] for key in ("icc_profile", "exif", "dpi") if key in clean}
    if not fits_profile(clean.get("icc_profile", b""), mode):
        found.pop("icc_profile", None)
    return found | ({"source_format": source} if source else {})


def plain_image(image: Image.Image) -> Image.Image:
    """A new image with the modes and ``info`` that ``read_image`` promises, from a Pillow image of any mode.

    ImageError for a float image whose values cannot be understood.
    """
    if not isinstance(image, Image.Image):
        raise ImageError(f"got a {type(image).__name__}, expected a Pillow image or a NumPy array (H, W, C)")
    image.load()  # first: PNG may carry EXIF after its pixels, and TIFF is turned by Pillow itself here
    plain = to_plain(turn_upright(image, image.getexif().get(ORIENTATION, 1))).copy()
    source = image.info.get("source_format", "JPEG" if image.format == "MPO" else image.format)
    plain.info = _info(_metadata(image)[0], plain.mode, source)
    return plain


def first_line(error: BaseException) -> str:
    """What an error says, in one line, without numbers of the system."""
    return (str(getattr(error, "strerror", "") or error).strip().splitlines() or [type(error).__name__])[0]


# What decoders warn of names no file; what is lost is told by notes, and what is damaged by errors.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.|tifffile\b")
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it would go to stderr

_lock, _limits = threading.Lock(), []  # Pillow's limit, for each thread that is reading


@contextmanager
def no_pillow_limit() -> Iterator[None]:
    """Pillow's own, lower pixel limit is a global: it is away while any thread reads an image."""
    with _lock:
        _limits.append(_limits[0] if _limits else Image.MAX_IMAGE_PIXELS)
        if Image.MAX_IMAGE_PIXELS is not None:  # not None: Pillow may just be computing with it elsewhere
            Image.MAX_IMAGE_PIXELS = sys.maxsize
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                Image.MAX_IMAGE_PIXELS = limit
