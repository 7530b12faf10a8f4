"""TIFF page by page: tags and untouched pages are copied as they are, compressed data and all.

Neither Pillow nor tifffile keeps all tags, EXIF beside compression, and untouched data. Pillow codes pages of
up to 8 bits; tifffile deeper ones, of all kinds.
"""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageChops

import inpaint.images.tags as tags
from inpaint.errors import ImageError, note
from inpaint.images.depth import Pixels, rescale
from inpaint.images.metadata import EXIF_START, Metadata, clean_photoshop, clean_xmp
from inpaint.images.modes import Native
from inpaint.images.tags import Ifd, Tag, build, read_header, read_ifd, short

# Of the coding of a page, taken from the new coding where it is encoded anew.
_CODING = {*range(256, 260), 262, 266, 273, 277, 278, 279, 284, 317, 320, *range(322, 326), 338, 339, 347,
           *range(512, 522), *range(529, 533)}  # fmt: skip
_PALETTE, EXTRA, _DEPTH = 320, 338, 32997
# Tags that say nothing of their own; all others that another format does not take are told, some by a name.
_STRUCTURE = _CODING | {254, 280, 281, 292, 293, 297, 332, 334, 340, 341, 700, 34675, 50674, *tags.DPI}
_NAMES = {**dict.fromkeys((33550, 33922, 34264, 34735, 34736, 34737), "GeoTIFF tags"), 33723: "IPTC"}
_PILLOW = {1: "raw", 2: "tiff_ccitt", 3: "group3", 4: "group4", 5: "tiff_lzw", 8: "tiff_adobe_deflate",
           32773: "packbits", 32946: "tiff_deflate"}  # fmt: skip
_TIFFFILE = {1: None, 5: "lzw", 8: "zlib", 32946: "zlib", 34925: "lzma", 50000: "zstd"}


@dataclass
class TiffPages:
    """A TIFF taken apart: every directory of its chain, and which of them are pages of their own."""

    data: bytes
    order: str = "<"
    ifds: list[Ifd] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)

    def number(self, page: int, tag: int, default: int) -> int:
        """The largest number of a page's tag."""
        found = self.ifds[self.pages[page]].get(tag)
        return max(found.numbers(), default=default) if found else default


_NEW = TiffPages(b"", "<", [{tags.COMPRESSION: short(8), tags.PREDICTOR: short(2)}], [0])


def open_tiff(data: bytes) -> TiffPages:
    """Read all directories; thumbnails, reduced copies and layers are left out, and told."""
    order, big, offset = read_header(data)
    tiff, seen = TiffPages(data, order), set()
    while offset and offset not in seen:
        seen.add(offset)
        ifd, offset, _ = read_ifd(data, order, offset, big)
        kind = (ifd[tags.SUBFILE].numbers() or [0])[0] if tags.SUBFILE in ifd else 0
        if kind & 1 and not tiff.ifds and tags.SUB_IFDS in ifd:  # DNG, NEF, ARW: a preview, then the raw data
            raise ImageError("is a raw file of a camera, expected an image: export it as PNG or TIFF")
        if kind & 1 and tiff.ifds:
            tags.note_left_out("reduced copies")
            continue
        for tag, name in ((tags.SUB_IFDS, "reduced copies"), (tags.LAYERS, "Photoshop layers")):
            if ifd.pop(tag, None):
                tags.note_left_out(name)
        for tag, clean in ((tags.XMP, clean_xmp), (tags.PHOTOSHOP, clean_photoshop)):
            if tag in ifd:
                value = clean(ifd[tag].value)
                ifd[tag] = Tag(ifd[tag].kind, len(value), value)
        for inner in (entry.child for entry in ifd.values() if entry.child):
            if tags.MAKER_NOTE in inner and tags.JPEG_START in inner[tags.MAKER_NOTE].value:
                del inner[tags.MAKER_NOTE]
                tags.note_left_out("maker notes with an image")
        if not kind & 4:  # else a mask of transparency
            tiff.pages.append(len(tiff.ifds))
        tiff.ifds.append(ifd)
    return tiff


def read_page(tiff: TiffPages, page: int) -> Native:
    """Decode one page as it is stored: its orientation is not applied."""
    index, photometric = tiff.pages[page], tiff.number(page, tags.PHOTOMETRIC, 1)
    samples, bits, code = (tiff.number(page, tag, 1) for tag in (tags.SAMPLES, tags.BITS, tags.COMPRESSION))
    extras = samples - {5: 4}.get(photometric, 3 if photometric in (2, 6, 8) else 1)
    extra = tiff.ifds[index][EXTRA].numbers() if EXTRA in tiff.ifds[index] else []
    is_plain = bits <= 8 and tiff.number(page, tags.FORMAT, 1) == 1
    planes = tiff.number(page, _DEPTH, 1)
    name = {5: "CMYK", 8: "LAB"}.get(photometric, f"photometric {photometric}")
    why = f"has {planes} planes; one is supported" if planes > 1 else ""
    if photometric > 2 and not is_plain:
        why = f"is {name} with {bits} bits per channel; {name} is supported with 8"
    elif extras > (photometric < 3):
        why = f"has {extras} extra channel{'s' * (extras > 1)}; at most one is supported, beside grey or RGB"
    if why:
        raise ImageError(f"page {page + 1} {why}: convert it")
    if is_plain and (code in _PILLOW or code in (6, 7)):
        # Pillow would turn the page, and divide premultiplied colours by alpha.
        alpha = {EXTRA: short(2)} if len(extra) == 1 else {}
        ifd = {**tiff.ifds[index], tags.ORIENTATION: short(1), **alpha}
        data = build([(ifd, _segments(tiff, index))], tiff.order)
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            image.load()
            return image.copy()
    with tifffile.TiffFile(io.BytesIO(tiff.data)) as opened:
        first = (tiff.ifds[index].get(tags.TILES) or tiff.ifds[index][tags.STRIPS]).numbers()[0]
        found: Any = next(one for one in opened.pages if one.dataoffsets[:1] == (first,))
        pixels = found.asarray()
        if found.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if bits < 8 * pixels.itemsize and bits <= 24 and photometric != 3:  # packed, such as 10 bits in 16
        pixels = rescale(pixels, 2**bits - 1, 2 ** (8 * pixels.itemsize) - 1)
    pixels = _inverted(pixels) if photometric == 0 else np.ascontiguousarray(pixels)
    return Image.fromarray(pixels) if is_plain else pixels


def metadata_of(tiff: TiffPages) -> Metadata:
    """What another format can carry of the first page's tags."""
    ifd, dpi = tiff.ifds[tiff.pages[0]], None
    described = {tag: entry for tag, entry in ifd.items() if tag in tags.DESCRIPTIVE or entry.child}
    if tags.DPI[0] in ifd and tags.DPI[1] in ifd:
        pair = [np.frombuffer(ifd[tag].value, "<u4") for tag in tags.DPI[:2]]
        scale = {2: 1.0, 3: 2.54}.get(ifd[tags.DPI[2]].numbers()[0] if tags.DPI[2] in ifd else 2)
        if scale and all(len(one) == 2 and one[1] for one in pair):
            dpi = (float(pair[0][0] / pair[0][1] * scale), float(pair[1][0] / pair[1][1] * scale))
    icc, xmp = (ifd[tag].value if tag in ifd else b"" for tag in (tags.ICC, tags.XMP))
    exif = EXIF_START + build([(described, None)], "<") if described else b""
    other = dict.fromkeys(_NAMES.get(tag, f"tag {tag}") for tag in sorted({*ifd} - {*described} - _STRUCTURE))
    found = {"icc_profile": icc, "exif": exif, "xmp": xmp, "dpi": dpi, "other": ", ".join(other)}
    return {key: value for key, value in found.items() if value}


def write_pages(tiff: TiffPages, filled: dict[int, Native], *, strip: bool) -> bytes:
    """The file with the filled pages; ``strip`` keeps tags of coding, resolution, colour, orientation."""
    parts, kept_tags = [], _CODING | {tags.SUBFILE, tags.ORIENTATION, tags.ICC, *tags.DPI}
    for index, ifd in enumerate(tiff.ifds):
        kept = {tag: entry for tag, entry in ifd.items() if not strip or tag in kept_tags}
        page = tiff.pages.index(index) if index in tiff.pages else None
        segments = None if page in filled else _segments(tiff, index)
        if page is not None and page in filled:
            coding, segments = _encode(filled[page], tiff, page)
            kept = {tag: entry for tag, entry in kept.items() if tag not in _CODING} | coding
        parts.append((kept, segments))
    return build(parts, tiff.order)


def new_tiff(natives: list[Native], metadata: Metadata) -> bytes:
    """Encode images as a TIFF, one page each, compressed without loss (deflate)."""
    parts = []
    for native in natives:
        coding, segments = _encode(native, _NEW, 0)
        if exif := metadata.get("exif", b"").removeprefix(EXIF_START):
            order, _, place = read_header(exif)
            described = read_ifd(exif, order, place)[0]
            coding = {tag: entry for tag, entry in described.items() if tag not in _CODING} | coding
        for tag, kind, key in ((tags.ICC, 7, "icc_profile"), (tags.XMP, 1, "xmp")):
            if value := metadata.get(key):
                coding[tag] = Tag(kind, len(value), value)
        if dpi := metadata.get("dpi"):
            for tag, value in zip(tags.DPI[:2], dpi, strict=True):
                coding[tag] = Tag(5, 1, np.array([round(value * 1000), 1000], "<u4").tobytes())
            coding[tags.DPI[2]] = short(2)
        parts.append((coding, segments))
    return build(parts, "<")


def _encode(native: Native, tiff: TiffPages, page: int) -> tuple[Ifd, list[bytes]]:
    """Code one page by Pillow or tifffile, in the source's compression where that is without loss."""
    code, photometric = tiff.number(page, tags.COMPRESSION, 1), tiff.number(page, tags.PHOTOMETRIC, 1)
    predicted, buffer = tiff.number(page, tags.PREDICTOR, 1) != 1, io.BytesIO()
    if isinstance(native, Image.Image):
        name = _PILLOW.get(code, "")
        known = bool(name) and (code not in (2, 3, 4) or native.mode == "1")
        name, is_dark = name if known else "tiff_adobe_deflate", native.mode in ("1", "L") and not photometric
        plain = ImageChops.invert(native) if is_dark else native.copy()
        plain.info = {}
        predicts = predicted and native.mode != "1" and ("lzw" in name or "deflate" in name)
        plain.save(buffer, "TIFF", compression=name, tiffinfo={tags.PREDICTOR: 2} if predicts else {})
    else:
        pixels, known = _inverted(native) if photometric == 0 else native, code in _TIFFFILE
        channels = pixels.shape[2] if pixels.ndim == 3 else 0
        options: dict[str, Any] = {
            "byteorder": tiff.order,
            "photometric": "rgb" if channels > 2 else "minisblack" if photometric else "miniswhite",
            "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
            "planarconfig": "contig" if channels else None,
        }
        for compression, predictor in [(_TIFFFILE.get(code), predicted)] * known + [("zlib", False)]:
            options |= {"compression": compression, "predictor": predictor or None, "metadata": None}
            try:
                tifffile.imwrite(buffer := io.BytesIO(), pixels, **options)
                break
            except (ValueError, NotImplementedError):  # a type that this compression does not take
                known = False
    if not known:
        note(f"page {page + 1} is compressed without loss (deflate) instead of TIFF compression {code}")
    made = open_tiff(buffer.getvalue())
    coding = {tag: entry for tag, entry in made.ifds[0].items() if tag in _CODING}
    old = tiff.ifds[tiff.pages[page]]
    if _PALETTE in old and _PALETTE in coding:  # Pillow knows 8 of its 16 bits
        was, now = (np.array(entry[_PALETTE].numbers()).reshape(3, -1) for entry in (old, coding))
        new = now[:, : was.shape[1]]
        new[:] = np.where((was // 256 == new // 256).all(axis=0), was, new // 256 * 257)
        coding[_PALETTE] = Tag(3, now.size, now.astype("<u2").tobytes())
    if EXTRA in old and EXTRA in coding:  # premultiplied alpha stays what it is
        coding[EXTRA] = old[EXTRA]
        if old[EXTRA].numbers() == [0]:
            note(f"page {page + 1}: the last channel is kept as it is, not filled")
    if not photometric and coding[tags.PHOTOMETRIC].numbers() == [1]:
        coding[tags.PHOTOMETRIC] = short(0)
    if (bits := tiff.number(page, tags.BITS, 1)) not in (1, made.number(0, tags.BITS, 1)):
        note(f"page {page + 1}: {bits} bits became {made.number(0, tags.BITS, 1)}")
    return coding, _segments(made, 0)


def _inverted(pixels: Pixels) -> Pixels:
    """White is zero: unsigned integers are turned round, floats and signed integers negated."""
    return ~pixels if pixels.dtype.kind == "u" else -pixels


def _segments(tiff: TiffPages, index: int) -> list[bytes]:
    """The strips or tiles of a directory as they are compressed."""
    ifd = tiff.ifds[index]
    places = (ifd.get(tags.TILES) or ifd[tags.STRIPS]).numbers()
    sizes = ifd.get(tags.TILE_SIZES) or ifd.get(tags.STRIP_SIZES)
    lengths = sizes.numbers() if sizes else [len(tiff.data)] * len(places)
    return [tiff.data[place : place + size] for place, size in zip(places, lengths, strict=True)]
