"""JPEG files as segments and DCT blocks: only blocks that a fill touches are encoded anew.

``jpeglib`` reads and writes quantised coefficients; Pillow, OpenCV and imagecodecs only know pixels. It gets
tables and scans alone; its choice of a libjpeg holds for the whole process, hence the lock.
"""

import re
import struct
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
APP0, APP1, APP2, APP11, APP13, APP14, COM = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE
_DQT_SOS = 0xDA
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # kinds of frames
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # but not stuffed bytes and restarts
_USUAL_CODES = bytes([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125])  # of ITU-T T.81, by length
_LARGEST = 1023  # quantised coefficient that every Huffman coder accepts
_lock = threading.Lock()

# BT.601 full range, as JFIF has it; rows are Y, Cb, Cr, without the offsets.
_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_COLOURS = {"JCS_GRAYSCALE": [None], "JCS_YCbCr": _YCBCR, "JCS_RGB": np.eye(3, dtype=np.float32)}
_STEPS = np.arange(8)
_DCT = (np.cos((2 * _STEPS[None] + 1) * _STEPS[:, None] * np.pi / 16) / 2).astype(np.float32)
_DCT[0] /= np.sqrt(2)


class Segment(NamedTuple):
    """A marker and what follows its length."""

    marker: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Marker, length and payload as they stand in a file."""
        return struct.pack(">BBH", 0xFF, self.marker, len(self.payload) + 2) + self.payload


@dataclass
class JpegParts:
    """A JPEG file taken apart.

    Attributes:
        metadata: APPn and COM segments before the first scan, in order.
        coded: all the rest from tables to the last scan, as a file of its own with SOI and EOI.
        trailer: what follows the end mark: gain maps, second images, motion photos.
        frame: the SOF marker: ``BASELINE``, ``EXTENDED``, ``PROGRESSIVE``; others are rare.
        depth: bits per channel.
        has_end: whether the file had its end mark.
    """

    metadata: list[Segment] = field(default_factory=list)
    coded: bytes = b""
    trailer: bytes = b""
    frame: int = 0
    depth: int = 8
    has_end: bool = False


class UnfitError(Exception):
    """The blocks of this file cannot be kept; the message says why."""


def split(data: bytes) -> JpegParts:
    """Take a JPEG file apart; a missing end mark is added.

    ValueError if this is not the structure of a JPEG file.
    """
    if not data.startswith(SOI):
        raise ValueError("no JPEG start mark")
    parts, coded, position, in_header = JpegParts(), [SOI], 2, True
    while found := _MARKER.search(data, position):
        coded.append(data[position : found.start()])  # of a scan
        marker, position = data[found.end() - 1], found.end()
        if marker == EOI[1]:
            parts.trailer, parts.has_end = data[position:], True
            break
        if len(data) < position + 2:
            position = len(data)
            break
        (length,) = struct.unpack_from(">H", data, position)
        segment = Segment(marker, data[position + 2 : position + length])
        position += max(length, 2)
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            parts.frame, parts.depth = marker, segment.payload[0]
        if in_header and (APP0 <= marker <= 0xEF or marker == COM):
            parts.metadata.append(segment)
        if not (APP0 <= marker <= 0xEF or marker == COM) or marker == APP14:  # Adobe's tells the colour space
            coded.append(segment.to_bytes())
        in_header &= marker != _DQT_SOS
    else:
        coded.append(data[position:])
    parts.coded = b"".join(coded) + EOI
    return parts


def join(metadata: list[Segment], coded: bytes) -> bytes:
    """Put metadata back in front of a coded image, whose own APPn and COM segments are left out."""
    body, position = [], 2
    while True:
        marker, (length,) = coded[position + 1], struct.unpack_from(">H", coded, position + 2)
        if not (APP0 <= marker <= 0xEF or marker == COM):
            body.append(coded[position : position + 2 + length])
        position += 2 + length
        if marker == _DQT_SOS:
            break
    return b"".join([SOI, *(segment.to_bytes() for segment in metadata), *body, coded[position:]])


def encode_changed_blocks(parts: JpegParts, filled: NDArray[np.uint8], changed: NDArray[np.bool_]) -> bytes:
    """Encode the blocks that hold changed pixels; all other coefficients stay what they are.

    Args:
        parts: the file, from :func:`split`.
        filled: ``(H, W)`` grey or ``(H, W, 3)`` RGB, as the file is oriented.
        changed: ``(H, W)``, True where ``filled`` is to be taken.

    Returns a coded image like ``parts.coded``: tables, sampling and progression stay, Huffman tables do not.
    UnfitError for arithmetic coding, lossless, CMYK, odd sampling, or coefficients out of range.
    """
    if parts.frame not in (BASELINE, EXTENDED, PROGRESSIVE):
        raise UnfitError(f"JPEG process {parts.frame - 0xC0} (arithmetic or lossless)")
    try:
        import jpeglib
    except ImportError as error:  # no wheel for this machine
        raise UnfitError("jpeglib is not installed") from error
    with _lock, tempfile.TemporaryDirectory(prefix="inpaint-") as folder:
        source, result = Path(folder) / "source.jpg", Path(folder) / "result.jpg"
        source.write_bytes(parts.coded)
        # mozjpeg writes progressive scans; the others write sequential ones whatever they are given.
        with jpeglib.version("mozjpeg403" if parts.frame == PROGRESSIVE else "turbo210"):
            jpeg: Any = jpeglib.read_dct(str(source))
            space = jpeg.jpeg_color_space.name
            jpeg.load()
            if space not in _COLOURS or (filled.ndim == 3) != (len(_COLOURS[space]) == 3):
                raise UnfitError(f"colour space {space.removeprefix('JCS_')}")
            # Grey may name any factors, and has none.
            factors = np.array(jpeg.samp_factor) if filled.ndim == 3 else np.ones((1, 2), int)
            if (factors.max(axis=0) % factors).any() or not jpeg.qt.all():
                raise UnfitError(f"sampling {factors.tolist()} or a step of 0")
            places = np.divmod(np.flatnonzero(changed), changed.shape[1])
            for index, colour in enumerate(_COLOURS[space]):
                offset = 128 if index and space == "JCS_YCbCr" else 0
                step = tuple(factors.max(axis=0) // factors[index])
                table = jpeg.get_component_qt(index).astype(np.float32)
                blocks = (jpeg.Y, jpeg.Cb, jpeg.Cr)[index]
                _encode_component(blocks, table, step, filled, changed, places, colour, offset)
                if blocks.max() > _LARGEST or blocks.min() < -_LARGEST:  # libjpeg would end the process
                    raise UnfitError("coefficients out of range")
            sequential = parts.frame != PROGRESSIVE
            if sequential and space == "JCS_YCbCr":
                jpeg.content = None  # lest it be decoded once more, for what other kinds alone need of it
            # Own Huffman tables take a second pass: not where the source does without them.
            usual = sequential and _USUAL_CODES in parts.coded[: parts.coded.find(b"\xff\xda")]
            jpeg.write_dct(str(result), flags=[f"{'-' if usual else '+'}OPTIMIZE_CODING"])
        return result.read_bytes()


def _encode_component(
    blocks: NDArray[np.int16],
    table: NDArray[np.float32],
    step: tuple[int, int],
    filled: NDArray[np.uint8],
    changed: NDArray[np.bool_],
    places: tuple[NDArray[np.intp], ...],
    colour: NDArray | None,
    offset: int,
) -> None:
    """Encode the blocks ``(h, w, 8, 8)`` of one component that hold changed ``places`` in place.

    Known samples of a touched block keep their exact value before quantisation.
    """
    height, width = 8 * step[0], 8 * step[1]
    touched = np.zeros(blocks.shape[:2], np.bool_)
    touched[places[0] // height, places[1] // width] = True
    y, x = np.nonzero(touched)
    # What lies beyond the image's edge repeats it, lest the erased be seen there.
    rows = np.minimum(y[:, None] * height + np.arange(height), len(changed) - 1)[:, :, None]
    columns = np.minimum(x[:, None] * width + np.arange(width), changed.shape[1] - 1)[:, None]
    shape = (len(y), 8, step[0], 8, step[1])
    inside = changed[rows, columns].reshape(shape)
    pixels = filled[rows, columns].reshape(shape + filled.shape[2:]).astype(np.float32)
    target = pixels if colour is None else pixels @ colour + offset
    samples = _DCT.T @ (blocks[y, x] * table) @ _DCT + 128
    mixed = np.where(inside, target, samples[:, :, None, :, None]).mean(axis=(2, 4))
    blocks[y, x] = np.rint(_DCT @ (mixed - 128) @ _DCT.T / table).clip(-_LARGEST, _LARGEST).astype(np.int16)
