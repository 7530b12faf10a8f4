"""TIFF directories, which EXIF and the index of second images in a JPEG are as well."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from inpaint.errors import note

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 254, 256, 257, 258, 259, 262, 274
STRIPS, SAMPLES, STRIP_SIZES, TILES, TILE_SIZES = 273, 277, 279, 324, 325
PREDICTOR, SUB_IFDS, FORMAT = 317, 330, 339
XMP, PHOTOSHOP, ICC, LAYERS, DPI = 700, 34377, 34675, 37724, (282, 283, 296)
EXIF_IFD, GPS_IFD, INTEROP_IFD, MAKER_NOTE, EXIF_SIDES = 34665, 34853, 40965, 37500, (40962, 40963)
# Description, make, model, orientation, software, date, artist, host computer, copyright.
DESCRIPTIVE = {270, 271, 272, ORIENTATION, 305, 306, 315, 316, 33432}
JPEG_START = b"\xff\xd8\xff"
_UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SIZES = {1: 1, 2: 1, 6: 1, 7: 1, **_UNITS, 5: 8, 10: 8}
_ORDERS = {b"II": "<", b"MM": ">"}


class Tag(NamedTuple):
    """A tag's type, count and little-endian value, or the directory it points at; and the value's place."""

    kind: int
    count: int
    value: bytes
    child: dict[int, Tag] | None = None
    place: int = 0

    def numbers(self) -> list[int]:
        """The value as integers."""
        kinds = {1: "<u1", 3: "<u2", 4: "<u4", 8: "<i2", 9: "<i4", 13: "<u4", 16: "<u8"}
        return np.frombuffer(self.value, kinds.get(self.kind, "<u1")).tolist()


Ifd = dict[int, Tag]


def short(value: int) -> Tag:
    """A tag of one 16-bit number."""
    return Tag(3, 1, struct.pack("<H", value))


def read_header(data: bytes) -> tuple[str, bool, int]:
    """Byte order, whether it is a BigTIFF, and where the first directory stands."""
    order = _ORDERS.get(bytes(data[:2]), "")
    if not order:
        raise ValueError("no TIFF byte order mark")
    big = 43 in data[2:4]
    return order, big, struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]


def read_ifd(data: bytes, order: str, offset: int, big: bool = False) -> tuple[Ifd, int, int]:
    """A directory with its EXIF and GPS directories, the offset of the next, and where that is written."""
    count_format, entry_format, offset_format = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    (count,) = struct.unpack_from(order + count_format, data, offset)
    width, inline = struct.calcsize("<" + entry_format), struct.calcsize("<" + offset_format)
    position, ifd = offset + struct.calcsize("<" + count_format), {}
    for _ in range(count):
        tag, kind, length = struct.unpack_from(order + entry_format, data, position)
        place, size = position + width, _SIZES.get(kind, 1) * length
        is_child = tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD)
        if size > inline or is_child:
            (place,) = struct.unpack_from(order + (offset_format if size > 4 else "I"), data, place)
        value = bytes(data[place : place + size])
        if order == ">" and (unit := _UNITS.get(kind)):
            value = np.frombuffer(value, f">u{unit}").astype(f"<u{unit}").tobytes()
        child = Tag(4, 1, b"", read_ifd(data, order, place, big)[0]) if is_child else None
        ifd[tag] = child or Tag(kind, length, value, None, place)
        position += width + inline
    return ifd, struct.unpack_from(order + offset_format, data, position)[0], position


def build(parts: list[tuple[Ifd, list[bytes] | None]], order: str) -> bytes:
    """Lay out directories, and the strips or tiles of those that have any, as a classic TIFF."""
    out, pointer = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4), 4
    for ifd, segments in parts:
        places = []
        for segment in segments or ():
            out += bytes(len(out) % 2)
            places.append(len(out))
            out += segment
        tags = () if segments is None else (TILES, TILE_SIZES) if TILES in ifd else (STRIPS, STRIP_SIZES)
        for tag, numbers in zip(tags, (places, [len(segment) for segment in segments or ()]), strict=False):
            ifd = {**ifd, tag: Tag(4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers))}
        position = _append_ifd(out, ifd, order)
        struct.pack_into(order + "I", out, pointer, position)
        pointer = len(out) - 4
    return bytes(out)


def _append_ifd(out: bytearray, ifd: Ifd, order: str) -> int:
    entries = []
    for tag, (kind, count, value, child, _) in sorted(ifd.items()):
        if child is not None:
            value = struct.pack("<I", _append_ifd(out, child, order))
        if order == ">" and (unit := _UNITS.get(kind)):
            value = np.frombuffer(value, f"<u{unit}").astype(f">u{unit}").tobytes()
        if len(value) > 4:
            place = len(out) + len(out) % 2
            out += bytes(len(out) % 2) + value
            value = struct.pack(order + "I", place)
        entries.append(struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0"))
    out += bytes(len(out) % 2)
    position = len(out)
    out += struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return position


def note_left_out(what: str) -> None:
    """Say what is left out because it still shows, or vouches for, the image before the fill."""
    note(f"left out, as it belongs to the image before the fill: {what}")


def clean_exif(exif: bytes, *, upright: bool = False) -> bytes:
    """Remove the thumbnail, and maker notes that hold an image; all else stays where it is, byte for byte.

    Args:
        exif: from its byte order mark on, perhaps empty. EXIF that cannot be parsed is dropped as a whole.
        upright: set the orientation to 1, and exchange the sides that EXIF names where it lay on its side.
    """
    if not exif:
        return b""
    data = bytearray(exif)
    try:
        order, _, first = read_header(exif)
        ifd, following, pointer = read_ifd(exif, order, first)
        if following:
            thumbnail = read_ifd(exif, order, following)[0]
            for start, length in ((0x0201, 0x0202), (STRIPS, STRIP_SIZES)):
                if start in thumbnail and length in thumbnail:
                    begin, size = thumbnail[start].numbers()[0], sum(thumbnail[length].numbers())
                    data[begin : begin + size] = bytes(size) if begin + size < len(data) else b""
            struct.pack_into(order + "I", data, pointer, 0)
            note_left_out("EXIF thumbnail")
        inner = (ifd[EXIF_IFD].child or {}) if EXIF_IFD in ifd else {}
        if MAKER_NOTE in inner and JPEG_START in inner[MAKER_NOTE].value:
            maker = inner[MAKER_NOTE]
            data[maker.place : maker.place + maker.count] = bytes(maker.count)
            note_left_out("maker notes with an image")
        if upright and ORIENTATION in ifd:
            struct.pack_into(order + "H", data, ifd[ORIENTATION].place, 1)
            if orientation_of(exif) >= 5 and all(side in inner for side in EXIF_SIDES):
                one, other = (slice(inner[side].place - 6, inner[side].place + 4) for side in EXIF_SIDES)
                data[one], data[other] = data[other], data[one]
        return bytes(data)
    except (ValueError, struct.error, RecursionError):
        note("left out: EXIF data, which is damaged")
        return b""


def orientation_of(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none."""
    try:
        order, _, first = read_header(exif)
        value = read_ifd(exif, order, first)[0][ORIENTATION].numbers()[0]
    except (ValueError, KeyError, IndexError, struct.error, RecursionError):
        return 1
    return value if 1 <= value <= 8 else 1


def exif_of_orientation(orientation: int) -> bytes:
    """EXIF that holds an orientation and nothing else."""
    return build([({ORIENTATION: short(orientation)}, None)], "<")
