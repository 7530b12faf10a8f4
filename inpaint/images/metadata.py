"""What a file says beside its pixels: carried over, but for whatever still shows what was erased."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import inpaint.images.tags as tags
from inpaint.errors import note
from inpaint.images.jpeg import APP0, APP1, APP2, APP11, APP13, APP14, COM, JpegParts, Segment, join

EXIF_START, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_CARRIED = EXIF_START, _XMP, b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"MPF\0", b"Adobe"
_NUMBER_OF_PICTURES, _PICTURES = 0xB001, 0xB002
PNG_START = b"\x89PNG\r\n\x1a\n"
# Chunks of the picture itself, and EXIF, which may show what was erased; all others are carried over.
_PNG_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"eXIf"}
_PNG_COLOUR = {b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI"}  # these precede PLTE
Chunk = tuple[bytes, bytes]
Metadata = dict[str, Any]
"""icc_profile, exif, xmp, dpi, comment as Pillow takes them; text, a dict; colour and other, in words."""


def clean_metadata(metadata: Metadata, *, upright: bool = True) -> Metadata:
    """Without what shows the erased and, for an image that was turned upright, without orientation."""
    xmp = clean_xmp(metadata.get("xmp", b""))
    if upright:
        xmp = re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]", rb"\g<1>1", xmp)
    exif = tags.clean_exif(metadata.get("exif", b"").removeprefix(EXIF_START), upright=upright)
    cleaned = {**metadata, "exif": exif and EXIF_START + exif, "xmp": xmp}
    return {key: value for key, value in cleaned.items() if value}


def clean_xmp(xmp: bytes) -> bytes:
    """Overwrite thumbnails with spaces."""
    pattern = re.compile(rb"<(\w+:Thumbnails)\b.*?</\1>", re.DOTALL)
    if pattern.search(xmp):
        tags.note_left_out("XMP thumbnail")
    return pattern.sub(lambda found: b" " * len(found[0]), xmp)


def clean_photoshop(resources: bytes) -> bytes:
    """Overwrite the thumbnails (1033, 1036) of Photoshop's image resources."""
    data = bytearray(resources)
    for found in re.finditer(rb"8BIM\x04[\x09\x0c]\0\0(....)", resources, re.DOTALL):
        size = int.from_bytes(found[1], "big")
        data[found.end() : found.end() + size] = bytes(len(data[found.end() : found.end() + size]))
        tags.note_left_out("Photoshop thumbnail")
    return bytes(data)


def clean_jpeg(parts: JpegParts, *, strip: bool) -> list[Segment]:
    """The segments to keep, in order; ``strip`` keeps only what colours and orientation need."""
    kept = []
    for marker, payload in parts.metadata:
        if marker == APP0 and payload[:5] == b"JFIF\0":
            if len(payload) > 14:
                tags.note_left_out("JFIF thumbnail")
            payload = payload[:12] + b"\0\0"
        elif marker == APP0 and payload.startswith(b"JFXX"):
            tags.note_left_out("JFIF thumbnail")
            continue
        elif marker == APP1 and payload.startswith(EXIF_START):
            exif = payload[6:]
            exif = tags.exif_of_orientation(tags.orientation_of(exif)) if strip else tags.clean_exif(exif)
            if not exif:
                continue
            payload = EXIF_START + exif
        elif strip and marker != APP14 and not payload.startswith(b"ICC_PROFILE\0"):
            continue
        elif marker == APP1 and payload.startswith(_XMP):
            payload = clean_xmp(payload)
        elif marker == APP1 and re.search(rb"xmp/extension/.*(GImage:Data|/9j/|xmpGImg)", payload, re.DOTALL):
            tags.note_left_out("original in extended XMP")
            continue
        elif marker == APP11 and b"c2pa" in payload:
            tags.note_left_out("content credentials")
            continue
        elif marker == APP13:
            payload = clean_photoshop(payload)
        kept.append(Segment(marker, payload))
    return kept


def beside_jpeg(parts: JpegParts) -> str:
    """What a JPEG holds that no other format takes, in words."""
    apps = (one for one in parts.metadata if one.marker != COM and not one.payload.startswith(_CARRIED))
    names = sorted({"IPTC" if b"8BIM\4\4" in one.payload else f"APP{one.marker - APP0}" for one in apps})
    if size := len(parts.trailer.strip(b"\0")):
        names.append(f"{size:,} bytes after the image (a gain map, a second picture, a video or the like)")
    return ", ".join(names)


def join_with_second_pictures(segments: list[Segment], coded: bytes, parts: JpegParts, data: bytes) -> bytes:
    """Put a JPEG together with the gain maps and second pictures that follow the first one.

    The index of an MPF file (CIPA DC-007) holds their places, which move with what is before them. Left out
    are large thumbnails, and what no index names, such as a motion photo's video.
    """
    pictures: list[bytes] = []
    place = next((i for i, s in enumerate(segments) if s.payload.startswith(b"MPF\0")), None)
    if place is not None:
        old = segments[place].payload
        segments[place] = Segment(APP2, old)
        old_base = data.find(old) + 4
        new_base = sum(len(segment.payload) + 4 for segment in segments[:place]) + 10
        try:
            payload, pictures = _renew_index(old, data, old_base, new_base, len(join(segments, coded)))
            segments[place] = Segment(APP2, payload)
        except (ValueError, KeyError, struct.error):
            pictures = []
        if not pictures:
            del segments[place]
    elif parts.trailer.startswith(tags.JPEG_START) and any(b"hdrgm:" in s.payload for s in segments):
        pictures = [parts.trailer]
    if (left := len(parts.trailer.strip(b"\0")) - sum(map(len, pictures))) > 0:
        note(f"left out: {left:,} bytes after the image (a preview, a video or the like)")
    if pictures:
        count, many = len(pictures), len(pictures) > 1
        what = f"{count} further picture{'s' * many} in the file (gain map or second view)"
        note(f"{what} {'are' if many else 'is'} kept unchanged and may still show what was erased")
    return join(segments, coded) + b"".join(pictures)


def _renew_index(
    old: bytes, data: bytes, old_base: int, new_base: int, end: int
) -> tuple[bytes, list[bytes]]:
    """The payload of the MPF segment for a first picture that ends at ``end``, and the pictures behind it."""
    order, _, first = tags.read_header(old[4:])
    ifd = tags.read_ifd(old[4:], order, first)[0]
    payload, pictures, table = bytearray(old), [], ifd[_PICTURES]
    struct.pack_into(order + "II", payload, table.place + 8, end, 0)
    for position in range(table.place + 20, table.place + 4 + table.count, 16):
        attributes, length, offset = struct.unpack_from(order + "III", old, position)
        if attributes & 0xFF0000 != 0x010000:  # no large thumbnail
            pictures.append(data[old_base + offset : old_base + offset + length])
            to = table.place + 4 + 16 * len(pictures)
            struct.pack_into(order + "IIII", payload, to, attributes, length, end - new_base, 0)
            end += length
    count = len(pictures) + 1
    struct.pack_into(order + "I", payload, ifd[_NUMBER_OF_PICTURES].place + 4, count)
    entry = payload.find(struct.pack(order + "HHI", _PICTURES, 7, table.count))
    struct.pack_into(order + "I", payload, entry + 4, 16 * count)
    return bytes(payload), pictures


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """``(type, content)`` of each chunk of a PNG file, that of pictures as a view: it may be large."""
    position, view, kind = len(PNG_START), memoryview(data), b""
    while position + 8 <= len(data) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        kind, content = data[position + 4 : position + 8], view[position + 8 : position + 8 + length]
        yield kind, content if kind in _PNG_PICTURE else bytes(content)  # type: ignore[misc]
        position += 12 + length


def png_alone(data: bytes) -> bytes:
    """A PNG file up to its end mark; what follows is told."""
    end = len(PNG_START) + sum(12 + len(content) for _, content in png_chunks(data))
    if end < len(data):
        note(f"left out: {len(data) - end:,} bytes after the image")
    return data[:end]


def png_without_pixels(data: bytes) -> bytes:
    """A PNG of one pixel with all else of another: text and EXIF may follow the pixels."""
    place, idat = len(PNG_START), list[int]()
    for kind, content in png_chunks(data):
        if kind == b"IDAT":
            idat += place, place + 12 + len(content)
        place += 12 + len(content)
    if not idat or data[:8] + data[12:16] != PNG_START + b"IHDR" or b"acTL" in data[: idat[0]]:
        return data  # for its decoder to complain about
    header = png_chunk(b"IHDR", struct.pack(">II", 1, 1) + data[24:29])
    pixel = png_chunk(b"IDAT", zlib.compress(bytes(9)))
    return PNG_START + header + data[33 : idat[0]] + pixel + data[idat[-1] :]


def boxes(data: bytes) -> Iterator[Chunk]:
    """``(type, content)`` of each box of a JPEG 2000 or JPEG XL file, or of what such a box holds."""
    position = 0
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        start = 16 if length == 1 else 8
        length = int.from_bytes(data[position + 8 : position + 16], "big") if length == 1 else length
        end = position + max(length, start) if length else len(data)
        yield data[position + 4 : position + 8], data[position + start : end]
        position = end


def box(kind: bytes, content: bytes) -> bytes:
    """A box as it stands in a file."""
    return struct.pack(">I", len(content) + 8) + kind + content


def icc_of_jp2(data: bytes) -> bytes:
    """The ICC profile of a JPEG 2000 file, empty where a number tells its colours."""
    header = dict(boxes(data)).get(b"jp2h", b"") if data[4:8] == b"jP  " else b""
    colours = dict(boxes(header)).get(b"colr", b"")
    return colours[3:] if colours[:1] == b"\2" else b""


def jp2_with_boxes_of(encoded: bytes, source: bytes, icc: bytes, *, strip: bool) -> bytes:
    """Give a JPEG 2000 file a profile, and the resolution and metadata of another; ``strip`` as above."""
    old = list(boxes(source)) if source[4:8] == b"jP  " else []
    joined = []
    for kind, content in boxes(encoded):
        if kind == b"jp2h":
            inner = [(k, b"\2\0\0" + icc if k == b"colr" and icc else c) for k, c in boxes(content)]
            inner += [one for one in boxes(dict(old).get(b"jp2h", b"")) if one[0] == b"res "]
            content = b"".join(box(*one) for one in inner)
        if kind == b"jp2c" and not strip:
            for name, text in old:
                if name == b"uuid" and text[16:18] in (b"II", b"MM"):
                    text = text[:16] + tags.clean_exif(text[16:])
                if name in (b"uuid", b"xml "):
                    joined.append(box(name, clean_xmp(text)))
        joined.append(box(kind, content))
    return b"".join(joined)


def webp_chunks(data: bytes) -> set[bytes]:
    """Types of the chunks of a WebP file, those of its frames included."""
    kinds, position = set(), 12
    while position + 8 <= len(data):
        kinds.add(kind := data[position : position + 4])
        (length,) = struct.unpack_from("<I", data, position + 4)
        position += 8 + (16 if kind == b"ANMF" else length + length % 2)
    return kinds


def png_with_chunks_of(encoded: bytes, source: bytes, *, strip: bool) -> bytes:
    """Give an encoded PNG the ancillary chunks of another but EXIF and XMP; ``strip`` as above."""
    colour, other, found = [], [], list(png_chunks(source))
    first = list(takewhile(lambda chunk: chunk[0] not in (b"IDAT", b"acTL"), png_chunks(encoded)))
    old, new = ([*dict(c)[b"IHDR"][8:10], *dict(c).get(b"PLTE", b"")] for c in (found, first))
    for kind, content in found:
        key = content.partition(b"\0")[0] if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        if kind in (b"bKGD", b"hIST") and old != new:
            note(f"left out, as the palette or the depth changed: the chunk {kind.decode()}")
        elif kind in _PNG_COLOUR:
            colour.append((kind, content))
        elif kind == b"caBX":
            tags.note_left_out("content credentials")
        elif key.startswith(b"Raw profile type ") and key[17:] not in (b"icc", b"icm", b"iptc"):
            tags.note_left_out(f"the text {key.decode('latin-1')!r}")  # hexadecimal, perhaps with thumbnails
        elif kind not in _PNG_PICTURE and key != b"XML:com.adobe.xmp" and (not strip or kind == b"pHYs"):
            other.append((kind, clean_xmp(content) if kind == b"iTXt" else content))
    rest = len(PNG_START) + sum(12 + len(content) for _, content in first)
    # bKGD and hIST speak of PLTE and follow it; text, EXIF and time may stand anywhere.
    chunks = (png_chunk(*chunk) for chunk in (first[0], *colour, *first[1:], *other))
    return b"".join((PNG_START, *chunks, memoryview(encoded)[rest:]))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk as it lies in a PNG file."""
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
