"""Images to files: the same kind with all it held (``write_file``), or a plain image (``write_image``)."""

import errno
import io
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

import inpaint.images.metadata as meta
from inpaint.atomic import atomic_write
from inpaint.errors import ImageError, InpaintError, collect_notes, note
from inpaint.images.depth import Pixels, find_range, rescale, to_array
from inpaint.images.file import ImageFile
from inpaint.images.formats import FORMATS, WRITABLE_FORMATS, require_plug_in
from inpaint.images.jpeg import APP14, PROGRESSIVE, UnfitError, encode_changed_blocks, join, split
from inpaint.images.modes import Native, changes, fits_profile, size_of, to_8_bit, to_palette, to_plain
from inpaint.images.read import first_line, no_pillow_limit, plain_image
from inpaint.images.tags import exif_of_orientation
from inpaint.images.tiff import new_tiff, write_pages

QUALITY = 95
_PNG_LEVEL = 2  # of Pillow's; higher ones take several times as long for a few per cent
_LARGEST_SEGMENT = 65_500  # bytes of EXIF or XMP that one JPEG segment holds
_LABELS = {"icc_profile": "ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution", "text": "text",
           "comment": "comment", "colour": "", "other": ""}  # fmt: skip


def write_image(image: Native, path: str | os.PathLike[str], *, quality: int = QUALITY) -> list[str]:
    """Write a Pillow image of any mode with the ``icc_profile``, ``exif`` and ``dpi`` of its ``info``.

    Or write an array of any depth, ``(H, W)`` or ``(H, W, C)`` with C = 2 (grey, alpha), 3 or 4. PNG, TIFF,
    BMP, JPEG XL and WebP at quality 100 are lossless. JPEG and BMP flatten transparency on white. Else as
    :func:`write_file`.
    """
    if isinstance(image, np.ndarray):
        file = ImageFile(Path(), "", b"", lambda _: to_8_bit(image) if image.dtype == np.uint8 else image)
        return write_file(file, path, quality=quality)
    plain = plain_image(image)
    metadata = {key: plain.info[key] for key in ("icc_profile", "exif", "dpi") if key in plain.info}
    return write_file(ImageFile(Path(), "", b"", lambda _: plain, metadata=metadata), path, quality=quality)


def write_file(
    file: ImageFile, path: str | os.PathLike[str], *, quality: int | None = None, strip: bool = False
) -> list[str]:
    """Write an image file with its fills, whole or not at all; in its own format with all it held.

    A JPEG keeps its tables, sampling and every block that the fill does not touch; a TIFF its pages, tags and
    compression; a PNG its chunks; animations their timing; EXIF orientation stays in the file. Another format
    gets what it can hold.

    Args:
        file: what was read, with fills.
        path: its suffix decides the format; its folder must exist.
        quality: 1 to 100: encode a lossy format anew as a whole. None keeps a JPEG's blocks; else it is 95.
        strip: leave out metadata but for colours, resolution and orientation.

    Returns one line for each thing that could not be kept.

    Raises:
        ImageError: unknown suffix, missing folder, quality out of range, too large for the format, full disk.
    """
    path = Path(path)
    failed, target = f"cannot write {str(path)!r}", WRITABLE_FORMATS.get(path.suffix.lower())
    if target is None:
        raise ImageError(f"{failed}: got suffix {path.suffix!r}, expected {' '.join(WRITABLE_FORMATS)}")
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"{failed}: got quality {quality}, expected 1 to 100")
    if not path.parent.is_dir():
        raise ImageError(f"{failed}: there is no folder {str(path.parent)!r}, make it first")
    try:
        require_plug_in(target)
        with no_pillow_limit(), collect_notes(notes := [*file.notes]):
            data = _encode_file(file, target, quality=quality, strip=strip)
        with atomic_write(path) as opened:
            opened.write(data)
    except InpaintError as error:
        raise ImageError(f"{failed}: {error}") from error
    except Exception as error:
        if not isinstance(error, OSError) or not error.errno:
            raise ImageError(f"{failed} ({first_line(error)}): use .png") from error
        room = "free some space or " * (error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
        why = first_line(error).lower().replace("on device", "on the disk")
        raise ImageError(f"{failed}: {why}; {room}choose another folder") from error
    return notes


def _encode_file(file: ImageFile, target: str, *, quality: int | None, strip: bool) -> bytes:
    """Encode a file with its fills, as it was read or for another format."""
    same = target == file.format
    if same and file.tiff is not None:
        return write_pages(file.tiff, file.filled, strip=strip)
    if same and target == "JPEG":
        return _encode_jpeg(file, quality, strip)
    kept = ["duration", "loop", "default_image", *["bits"] * same, *["spec"] * (same and not strip)]
    options = {key: value for key, value in file.options.items() if key in kept}
    turn = file.orientations[0] if same else 1  # the same format keeps its pixels as they lie
    natives = [file.native(n) if turn > 1 else file.upright(n) for n in range(file.frames)]
    if not same and FORMATS[target].deep and 255 < (white := file.options.get("white", 0)) < 65535:
        note(f"values from 0 to {white:,} became 16-bit: 0 to 65,535")
    same_png = same and target == "PNG"  # which keeps its chunks
    metadata = meta.clean_metadata(file.metadata, upright=turn == 1 and not same_png)
    metadata = {key: metadata[key] for key in ("exif", "xmp") if key in metadata} if same_png else metadata
    if strip:
        metadata = {key: metadata[key] for key in ("icc_profile", "dpi", "colour") if key in metadata}
        metadata |= {"exif": meta.EXIF_START + exif_of_orientation(turn)} if turn > 1 else {}
    if same and target == "WEBP" and quality is None:
        options["lossless"] = file.options["lossless"]
    if same and not FORMATS[target].lossless and not options.get("lossless"):
        note(f"{FORMATS[target].called} is encoded anew as a whole: known pixels change slightly")
    encoded = _encode(natives, target, metadata, quality or QUALITY, options)
    if same_png:
        return meta.png_with_chunks_of(encoded, file.data, strip=strip)
    if target == "JPEG2000":
        source = file.data if same else b""
        return meta.jp2_with_boxes_of(encoded, source, metadata.get("icc_profile", b""), strip=strip)
    return encoded


def _encode(
    natives: list[Native], target: str, metadata: meta.Metadata, quality: int, options: dict[str, Any]
) -> bytes:
    """Encode frames with what the format can hold of them and of their metadata."""
    if (count := len(natives)) > 1 and (why := _why_one_frame(natives, target)):
        note(f"{why}: {count - 1} of {count} are left out")
        natives, options = natives[:1], {}
    if target == "GIF" and len(natives) > 1:  # Pillow compares frames well where palettes are sorted
        natives = [to_plain(native) if isinstance(native, Image.Image) else native for native in natives]
    fitted = [_fit(native, target) for native in natives]
    first, images = fitted[0], [one for one in fitted if isinstance(one, Image.Image)]
    mode = first.mode if isinstance(first, Image.Image) else "RGB" if first.shape[2:] > (2,) else "L"
    kept = _fit_metadata(metadata, target, mode)
    if target == "PNG":
        kept["pnginfo"] = PngImagePlugin.PngInfo()
        if "comment" in kept:
            kept["pnginfo"].add_text("Comment", kept.pop("comment"))
        if "xmp" in kept:
            kept["pnginfo"].add(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + kept.pop("xmp"))
    if target == "TIFF":
        return new_tiff(fitted, kept)
    if target in ("EXR", "HDR"):
        return _encode_light(np.asarray(first), target, options.get("spec"))
    if target == "JXL":
        return _encode_jxl(np.asarray(first), kept)
    bits, keyed = options.pop("bits", 0), "transparency" in getattr(first, "info", {})
    if target == "PNG" and len(fitted) == 1 and mode not in ("1", "P") and not keyed:
        return _encode_png(first if isinstance(first, np.ndarray) else to_array(first), mode, kept)
    if not isinstance(first, Image.Image):
        return _encode_deep(first, target, kept, quality, bits)
    options = {key: value for key, value in options.items() if value is not None}
    if target == "PNG":
        options = {"compress_level": _PNG_LEVEL, **options}
        if "default_image" in options:  # it comes before the animation, and has no duration
            options["duration"] = options["duration"][1:]
    elif target == "JPEG":
        options = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif target == "WEBP":  # exact: colours under alpha 0 are pixels, too
        options = {"lossless": quality == 100, "exact": True, **options, "quality": quality}
    elif target in ("AVIF", "HEIF"):
        options = {"quality": quality, **options}
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:]}
        if target == "GIF":
            options["disposal"] = 2 if any(image.has_transparency_data for image in images) else 1
    for image in images:
        image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    buffer = io.BytesIO()
    first.save(buffer, target, **options, **kept)
    if len(images) > 1:
        with Image.open(io.BytesIO(buffer.getvalue())) as again:
            joined = len(images) - getattr(again, "n_frames", 1)
        if joined:
            note(f"{joined} frames are the same as the one before and were joined with it")
    return buffer.getvalue()


def _why_one_frame(natives: list[Native], target: str) -> str:
    """Why only the first of several frames can be written; empty where all can."""
    called = FORMATS[target].called
    if not FORMATS[target].frames:
        return f"{called} holds one frame"
    if target == "TIFF":
        return ""
    if len(set(map(size_of, natives))) > 1:
        return "the pages differ in size"
    deep = FORMATS[target].deep and any(not isinstance(native, Image.Image) for native in natives)
    return f"{called} holds one deep frame" if deep else ""


def _fit(native: Native, target: str) -> Native:
    """Change mode and depth to what a format holds, and say so."""
    kind, called, deep = FORMATS[target], FORMATS[target].called, FORMATS[target].deep
    if "float" in deep:
        return _to_float(native)
    if not isinstance(native, Image.Image):
        if "any" in deep or native.dtype.name in deep:
            return native
        found = find_range(native)
        if deep and native.dtype != np.uint8:
            how = "by their logarithm" if found.scale else f"from {found.low:g} to {found.high:g}"
            note(f"{native.dtype} values became 16-bit integers, {how}")
            return np.rint(found.to_unit(native) * 65535).astype(np.uint16)
        span = f" from {found.low:g} to {found.high:g}" if found.high not in (1, 65535) else ""
        note(f"{native.dtype} values{span} became 8-bit, as {called} has no more")
        native = to_8_bit(native)
    if native.mode in kind.modes and (
        target in ("PNG", "GIF") or native.mode == "P" or "transparency" not in native.info
    ):
        return native
    if target == "GIF":
        return to_palette(native)
    image = to_plain(native)
    if image.mode not in kind.modes and "A" in image.getbands() and image.mode[:-1] in kind.modes:
        flat = Image.new(image.mode[:-1], image.size, "white")
        flat.paste(image.convert(flat.mode), mask=image.getchannel("A"))
        note(f"{called} is written without transparency: it became white")
        image = flat
    elif image.mode not in kind.modes:
        image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    if image.mode != native.mode:
        note(f"mode {native.mode} became {image.mode}, as {called} does not hold it")
    return image


def _to_float(native: Native) -> Pixels:
    """Floats as they are, and integers as floats of which 1 is white."""
    pixels = np.asarray(to_plain(native) if isinstance(native, Image.Image) else native)
    if pixels.dtype.kind == "f":
        return pixels
    white = find_range(pixels).high
    note(f"integers became floats, {white:g} is 1")
    return pixels.astype(np.float32) / np.float32(white)


def _fit_metadata(metadata: meta.Metadata, target: str, mode: str) -> meta.Metadata:
    """What a format can hold of metadata; what it cannot is told."""
    long = {k for k in ("exif", "xmp") if target == "JPEG" and len(metadata.get(k, b"")) >= _LARGEST_SEGMENT}
    kept = {k: value for k, value in metadata.items() if k in FORMATS[target].metadata and k not in long}
    if not fits_profile(metadata.get("icc_profile", b""), mode):
        kept.pop("icc_profile", None)
    if lost := [called or metadata[k] for k, called in _LABELS.items() if k in metadata and k not in kept]:
        note(f"not kept in {FORMATS[target].called}: {', '.join(lost)}")
    return kept


def _encode_jpeg(file: ImageFile, quality: int | None, strip: bool) -> bytes:
    """The JPEG with only the touched blocks encoded anew; for a quality, or if it must be, the whole."""
    parts = split(file.data)
    segments, coded = meta.clean_jpeg(parts, strip=strip), parts.coded
    after, options = file.native(), dict[str, Any]()
    assert isinstance(after, Image.Image)
    filled = to_array(after)
    try:
        if quality is not None:
            note("JPEG is encoded anew as a whole: known pixels change slightly")
            options = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
        elif (changed := changes(file.load(0), filled)).any():
            coded = encode_changed_blocks(parts, filled, changed)
    except UnfitError as error:
        note(f"the JPEG is encoded anew as a whole, with its own tables ({error})")
        with Image.open(io.BytesIO(file.data), formats=["JPEG", "MPO"]) as opened:
            source: Any = opened
            sampling = {(2, 1): 1, (2, 2): 2}.get(source.layer[0][1:3], 0)
            options = {"qtables": source.quantization, "subsampling": sampling}
    if options:
        buffer, after.info = io.BytesIO(), {}
        after.save(buffer, "JPEG", optimize=True, progressive=parts.frame == PROGRESSIVE, **options)
        made = split(buffer.getvalue())  # Adobe's segment tells the colour transform, here of the new coding
        segments = [segment for segment in segments if segment.marker != APP14]
        segments += [segment for segment in made.metadata if segment.marker == APP14]
        coded = made.coded
    if strip:
        return join(segments, coded)
    return meta.join_with_second_pictures(segments, coded, parts, file.data)


def _encode_png(pixels: Pixels, mode: str, metadata: dict[str, Any]) -> bytes:
    """A PNG of 8 or 16 bits, by libdeflate's fastest level: half of libpng's time at a smaller size."""
    height, width, channels, *_ = (*pixels.shape, 1)
    header = (width, height, 8 * pixels.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    middle, step = rows[height // 2 :][:64], rows.shape[1] // width
    kind = min(range(3), key=lambda kind: len(_pack_rows(middle, kind, step)))
    packed, most = _pack_rows(rows, kind, step), 2**30  # a chunk holds less than twice that
    chunks = [(b"IDAT", packed[start : start + most]) for start in range(0, len(packed), most)]
    Image.new(mode, (1, 1)).save(carrier := io.BytesIO(), "PNG", **metadata)
    others = [one for one in meta.png_chunks(carrier.getvalue()) if one[0] not in (b"IHDR", b"IDAT", b"IEND")]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *header)), *others, *chunks, (b"IEND", b"")]
    return b"".join((meta.PNG_START, *(meta.png_chunk(*chunk) for chunk in chunks)))


def _pack_rows(rows: NDArray[np.uint8], kind: int, step: int) -> bytes:
    """Deflate rows under one of PNG's filters: 0 none, 1 less the pixel before, 2 less the row above."""
    filtered: Any = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    filtered[:, 0], filtered[:, 1:] = kind, rows
    if kind == 1:
        np.subtract(rows[:, step:], rows[:, :-step], out=filtered[:, 1 + step :])
    elif kind == 2:
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return bytes(imagecodecs.deflate_encode(filtered, level=1))


def _encode_deep(pixels: Pixels, target: str, metadata: dict[str, Any], quality: int, bits: int) -> bytes:
    """JPEG 2000 without loss, by imagecodecs; HEIC of 10 bits by pillow-heif."""
    if target == "JPEG2000":
        lossless: dict[str, Any] = {"codecformat": "jp2", "level": 0, "reversible": True}
        pixels = rescale(pixels, 65535, 2 ** (bits or 16) - 1)
        return bytes(imagecodecs.jpeg2k_encode(pixels, bitspersample=bits or None, **lossless))
    import pillow_heif

    if bits != 10:
        note(f"{bits or 16} bits per channel became 10, as {FORMATS[target].called} has no more here")
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = np.ascontiguousarray(pixels[..., [0, 0, 0, 1]])
    mode = "L" if pixels.ndim == 2 else "RGB" if pixels.shape[2] == 3 else "RGBA"
    image = pillow_heif.from_bytes(f"{mode};16", pixels.shape[1::-1], pixels.tobytes())
    image.save(buffer := io.BytesIO(), quality=quality, **metadata)
    return buffer.getvalue()


def _encode_jxl(pixels: Pixels, metadata: meta.Metadata) -> bytes:
    """JPEG XL without loss, by imagecodecs or, with a profile of its own, by OpenImageIO."""
    icc, colours = metadata.get("icc_profile"), pixels.ndim == 3 and pixels.shape[2] > 2
    lossless: dict[str, Any] = {"lossless": True, "usecontainer": True}
    encoded = bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(pixels), **lossless))
    if icc and Image.open(io.BytesIO(encoded)).info.get("icc_profile") != icc:
        if not colours:
            note("not kept in JPEG XL: ICC profile")
        else:
            import OpenImageIO as oiio

            kind = {"float16": "half", "float32": "float"}.get(pixels.dtype.name, pixels.dtype.name)
            spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
            spec.attribute("ICCProfile", oiio.TypeDesc(f"uint8[{len(icc)}]"), np.frombuffer(icc, np.uint8))
            spec["jpegxl:distance"], spec["jpegxl:use_boxes"], spec["oiio:UnassociatedAlpha"] = 0.0, 1, 1
            encoded = _write_by_oiio(pixels, spec, ".jxl")
    if "exif" in metadata:
        encoded += meta.box(b"Exif", bytes(4) + metadata["exif"].removeprefix(meta.EXIF_START))
    return encoded + (meta.box(b"xml ", metadata["xmp"]) if "xmp" in metadata else b"")


def _write_by_oiio(pixels: Pixels, spec: Any, suffix: str) -> bytes:
    """Encode by OpenImageIO, which cannot write all formats to memory."""
    import OpenImageIO as oiio

    with tempfile.TemporaryDirectory(prefix="inpaint-") as folder:
        place = str(Path(folder) / f"image{suffix}")
        output = oiio.ImageOutput.create(place)
        if not output or not output.open(place, spec) or not output.write_image(np.ascontiguousarray(pixels)):
            raise ValueError(output.geterror() if output else oiio.geterror())
        output.close()
        return Path(place).read_bytes()


def _encode_light(pixels: Pixels, target: str, source: Any) -> bytes:
    """OpenEXR or Radiance HDR by OpenImageIO, with the attributes of the source's specification, if any."""
    import OpenImageIO as oiio

    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if target == "HDR" and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
        note("Radiance HDR has no alpha: it is left out")
    if target == "HDR" and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
        note("Radiance HDR has no grey: it became RGB")
    kind = "half" if pixels.dtype == np.float16 else "float"
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    if source is not None:
        spec.extra_attribs = source.extra_attribs
        lossy = str(source.get_string_attribute("compression"))
        if lossy.startswith(("dwa", "b44", "pxr24")):  # known values would change
            spec["compression"] = "zip"
            note(f"compressed without loss (zip) instead of {lossy.partition(':')[0]}")
    spec.channelnames = {1: ("Y",), 2: ("Y", "A"), 3: tuple("RGB"), 4: tuple("RGBA")}[pixels.shape[2]]
    return _write_by_oiio(pixels, spec, f".{target.lower()}")
