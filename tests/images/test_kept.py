"""What a file holds comes back in its format: modes, depths, alpha, frames, metadata; or a line tells."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from inpaint.errors import ImageError, MaskError
from inpaint.images import read_file, read_image
from inpaint.images.metadata import box, png_chunk, png_chunks
from tests.images.painting import COLOUR, cv_read, fill_file, mask_of, one_line, opened, scene

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HOLE = np.asarray(mask_of(60, 90)) > 0


def in_mode(mode: str, seed: int = 0) -> Image.Image:
    image = Image.fromarray(scene(seed=seed))
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(np.tile(np.linspace(60, 255, 90).astype(np.uint8), (60, 1))))
        return image
    if mode == "LAB":
        transform = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        return transform.apply(image)
    return image.quantize(64) if mode == "P" else image.convert(mode)


def raw(path: Path, frame: int = 0) -> np.ndarray:
    with opened(path) as image:
        image.seek(frame)
        return np.asarray(image.copy())


LOSSLESS = [
    *((".png", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *((".tif", mode, {"compression": "tiff_lzw"}) for mode in ("L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB")),
    *((".tif", "1", {"compression": c}) for c in ("group4", "group3", "packbits", None)),
    *((".tif", "RGB", {"compression": c}) for c in (None, "tiff_adobe_deflate", "packbits", "tiff_deflate")),
    *((".bmp", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *((".webp", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    *((".gif", mode, {}) for mode in ("P", "L")),
    (".jp2", "RGB", {}),
]


@pytest.mark.parametrize(("suffix", "mode", "options"), LOSSLESS)
def test_lossless_files_keep_mode_and_known_pixels(
    tmp_path: Path, suffix: str, mode: str, options: dict
) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    in_mode(mode).save(source, **options)
    notes = fill_file(source, target)
    with opened(source) as before, Image.open(target) as after:
        assert after.mode == before.mode and after.size == before.size and after.format == before.format
        one, other = np.asarray(before), np.asarray(after)
        if before.mode != "P":
            assert np.array_equal(one[~HOLE], other[~HOLE])
        shown, painted = np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA"))
        assert np.array_equal(shown[~HOLE], painted[~HOLE])
        fill = np.array(COLOUR) * 255
        if mode not in ("1", "L", "LA"):
            assert np.abs(painted[HOLE][:, :3] - fill).max() <= (6 if mode in ("P", "LAB") else 1)
        if suffix == ".tif":
            assert before.info["compression"] == after.info["compression"]
    assert notes == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("top", [1023, 4095, 65535])
def test_16_bits_are_kept(tmp_path: Path, suffix: str, channels: int, top: int) -> None:
    colour = scene().astype(np.float64) / 255
    pixels = np.dstack([colour, np.full((60, 90), 1.0)])[..., : channels or 1]
    pixels = np.rint((pixels if channels else pixels[..., 0]) * top).astype(np.uint16)
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_deep(source, pixels)
    assert fill_file(source, target) == []
    again = read_deep(target, pixels)
    assert again.dtype == np.uint16 and np.array_equal(again[~HOLE], pixels[~HOLE])
    first = again[HOLE].reshape(HOLE.sum(), -1)[:, 0]
    expected = (COLOUR[0] if channels >= 3 else COLOUR[1]) * top
    assert np.abs(first - expected).max() <= 1  # 257 apart in steps of 8 bits


def write_deep(path: Path, pixels: np.ndarray) -> None:
    if path.suffix == ".tif":
        alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
        options = {"photometric": "rgb" if pixels.ndim == 3 and pixels.shape[2] > 2 else "minisblack"}
        options |= {"planarconfig": "contig"} if pixels.ndim == 3 else {}
        options |= {"extrasamples": ["unassalpha"]} if alpha else {}
        tifffile.imwrite(path, pixels, compression="lzw", predictor=True, **options)
    elif pixels.ndim == 3 and pixels.shape[2] == 2:
        from inpaint.images.write import _encode_png

        path.write_bytes(_encode_png(pixels, "L", {}))
    else:
        order = [2, 1, 0, 3][: pixels.shape[2]] if pixels.ndim == 3 else None
        assert cv2.imwrite(str(path), pixels if order is None else np.ascontiguousarray(pixels[..., order]))


def read_deep(path: Path, like: np.ndarray) -> np.ndarray:
    if path.suffix == ".tif":
        return tifffile.imread(path)
    found = cv_read(path)
    if like.ndim == 2:
        return found
    return found[..., [0, 3]] if like.shape[2] == 2 else found[..., [2, 1, 0, 3][: like.shape[2]]]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [(np.float32, 0, 1), (np.float16, 0, 1), (np.float64, 0, 255), (np.float32, 0, 65535),
     (np.float32, -1, 1), (np.int16, -1000, 3000), (np.int8, -100, 100), (np.uint32, 0, 10**6),
     (np.int32, 0, 10**6)],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("colour", [False, True])
def test_tiff_of_any_type_is_kept(
    tmp_path: Path, kind: Any, low: float, high: float, order: str, colour: bool
) -> None:
    values = (low + scene() / 255 * (high - low)).astype(kind)
    values = values if colour else values[..., 0]
    options = {"photometric": "rgb" if colour else "minisblack", "byteorder": order, "rowsperstrip": 7}
    tifffile.imwrite(
        tmp_path / "a.tif", values, compression="zlib", description="a scan", metadata=None, **options
    )
    assert fill_file(tmp_path / "a.tif", tmp_path / "b.tif") == []
    again = tifffile.imread(tmp_path / "b.tif")
    assert again.dtype == values.dtype and np.array_equal(again[~HOLE], values[~HOLE])
    assert (again[HOLE] != values[HOLE]).any()
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.byteorder == order and tiff.pages[0].description == "a scan"  # type: ignore[union-attr]
        assert tiff.pages[0].compression.name in ("ADOBE_DEFLATE", "DEFLATE")  # type: ignore[union-attr]


def test_light_is_kept_and_filled_as_light(tmp_path: Path) -> None:
    values = (np.exp(scene() / 20.0) / 100).astype(np.float32)  # 0.01 to 3,000
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    assert fill_file(tmp_path / "a.tif", tmp_path / "b.tif") == []
    again = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(again[~HOLE], values[~HOLE])
    assert values[~HOLE].min() < again[HOLE].min() < again[HOLE].max() < values.max() / 4


def test_planar_tiled_and_inverted_tiff(tmp_path: Path) -> None:
    deep = scene().astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "c.tif", deep[..., 0], photometric="miniswhite", tile=(32, 32), bigtiff=True)
    for name in ("a", "c"):
        assert fill_file(tmp_path / f"{name}.tif", tmp_path / "b.tif") == []
        one, other = (tifffile.imread(tmp_path / f"{n}.tif") for n in (name, "b"))
        one = np.moveaxis(one, 0, -1) if name == "a" else one
        assert np.array_equal(one[~HOLE], other[~HOLE]) and (one[HOLE] != other[HOLE]).any()
    assert np.abs(other[HOLE] / 65535 - (1 - COLOUR[1])).max() < 0.01  # white is zero


def test_a_value_range_without_meaning_is_refused(tmp_path: Path) -> None:
    values = np.full((60, 90), 3.0, np.float32)
    values[0, 0] = -9999
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(ImageError, match=r"-9999"):
        fill_file(tmp_path / "a.tif", tmp_path / "b.tif")


# Frames and pages


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK"])
def test_pages_of_a_tiff(tmp_path: Path, mode: str) -> None:
    pages = [in_mode(mode, seed) for seed in range(3)]
    pages[0].save(
        tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw", dpi=(300, 300)
    )
    assert fill_file(tmp_path / "a.tif", tmp_path / "b.tif") == []
    empty, holes = Image.new("L", (90, 60)), mask_of(60, 90)
    assert fill_file(tmp_path / "a.tif", tmp_path / "c.tif", empty, holes, empty) == []
    for name, filled in (("b", [0, 1, 2]), ("c", [1])):
        with opened(tmp_path / f"{name}.tif") as image:
            assert image.n_frames == 3 and image.info["dpi"] == (300, 300)
        for page in range(3):
            one, other = raw(tmp_path / "a.tif", page), raw(tmp_path / f"{name}.tif", page)
            assert np.array_equal(one[~HOLE], other[~HOLE])
            assert (one[HOLE] != other[HOLE]).any() == (page in filled)
    with pytest.raises(MaskError, match="2 pages in the mask and 3"):
        fill_file(tmp_path / "a.tif", tmp_path / "d.tif", holes, holes)


def test_pages_of_other_sizes_want_masks_of_their_own(tmp_path: Path) -> None:
    pages = [Image.fromarray(scene(60, 90)), Image.fromarray(scene(40, 50))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert fill_file(tmp_path / "a.tif", tmp_path / "b.tif", mask_of(60, 90), mask_of(40, 50, 3, 3, 9)) == []
    assert raw(tmp_path / "b.tif", 1).shape == (40, 50, 3)

    def refuse(image: Any, mask: Image.Image) -> Any:
        raise MaskError("the mask has another size")

    with pytest.raises(MaskError, match="page or frame 1 of 2: the mask has another size"):
        read_file(tmp_path / "a.tif").fill(refuse, [mask_of(60, 90)])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("alpha", [False, True])
def test_animations_frame_by_frame(tmp_path: Path, suffix: str, alpha: bool) -> None:
    frames = []
    for seed in range(3):
        frame = Image.fromarray(scene(seed=seed)).quantize(100).convert("RGBA")
        if alpha:
            frame.putalpha(
                Image.fromarray(np.where(np.arange(5400).reshape(60, 90) % 90 < 9, 0, 255).astype(np.uint8))
            )
        frames.append(frame if alpha else frame.convert("RGB"))
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    options |= {"disposal": 2} if suffix == ".gif" and alpha else {}
    frames[0].save(
        tmp_path / f"a{suffix}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 250, 80],
        loop=3,
        **options,
    )
    assert fill_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}") == []
    with opened(tmp_path / f"a{suffix}") as before, opened(tmp_path / f"b{suffix}") as after:
        assert (after.n_frames, after.info.get("loop")) == (3, 3)
        for frame in range(3):
            before.seek(frame)
            after.seek(frame)
            one, other = np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA"))
            visible = ~HOLE & (one[..., 3] > 0)
            assert np.array_equal(one[..., 3], other[..., 3]) and np.array_equal(one[visible], other[visible])
            assert (one[HOLE] != other[HOLE]).any()
            assert before.info["duration"] == after.info["duration"]


# Alpha


def test_a_transparent_colour_stays_one_and_no_fill_hits_it(tmp_path: Path) -> None:
    pixels = scene()
    pixels[:30] = (51, 153, 102)  # what is painted
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=(51, 153, 102))
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png", mask_of(60, 90, 35, 20, 20)) == []
    with opened(tmp_path / "b.png") as image:
        assert image.mode == "RGB" and image.info["transparency"] == (51, 153, 102)
        assert np.asarray(image.convert("RGBA"))[35:55, 20:40, 3].min() == 255  # the fill is seen


def test_a_fill_that_is_not_seen_is_told(tmp_path: Path) -> None:
    image = in_mode("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    (note,) = fill_file(tmp_path / "a.png", tmp_path / "b.png")
    assert note.startswith("225 filled pixels cannot be seen")


# Metadata


def test_png_chunks(tmp_path: Path) -> None:
    from inpaint.images.metadata import png_chunks

    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Me")
    info.add_itxt("Title", "Über", "de", "Titel")
    info.add_text("Long", "x" * 2000, zip=True)
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"cHRM", struct.pack(">8I", *range(30000, 30008)))
    info.add(b"cICP", bytes([9, 16, 0, 1]))
    info.add(b"tIME", bytes([7, 230, 1, 2, 3, 4, 5]))
    info.add(b"prVt", b"private")
    for mode in ("RGB", "P", "1", "LA"):
        in_mode(mode).save(tmp_path / "a.png", pnginfo=info, dpi=(300, 200), exif=Image.Exif().tobytes())
        assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
        pictures = (b"IHDR", b"PLTE", b"IDAT")
        one, other = (
            [c for c in png_chunks((tmp_path / n).read_bytes()) if c[0] not in pictures]
            for n in ("a.png", "b.png")
        )
        assert sorted(one) == sorted(other)
        fill_file(tmp_path / "a.png", tmp_path / "c.png", strip=True)
        kept = {kind for kind, _ in png_chunks((tmp_path / "c.png").read_bytes())}
        assert {b"gAMA", b"cHRM", b"cICP", b"pHYs"} <= kept and not kept & {
            b"tEXt",
            b"iTXt",
            b"zTXt",
            b"tIME",
            b"prVt",
        }


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_files_keep_their_metadata(tmp_path: Path, suffix: str) -> None:
    pixels = scene().astype(np.uint16) * 257
    write_deep(tmp_path / f"a{suffix}", pixels)
    if suffix == ".png":
        from inpaint.images.metadata import png_with_chunks_of

        carrier = io.BytesIO()
        Image.new("RGB", (1, 1)).save(carrier, "PNG", icc_profile=SRGB, dpi=(300, 300))
        data = png_with_chunks_of((tmp_path / "a.png").read_bytes(), carrier.getvalue(), strip=False)
        (tmp_path / "a.png").write_bytes(data)
    else:
        options = {
            "photometric": "rgb",
            "iccprofile": SRGB,
            "resolution": (300, 300),
            "resolutionunit": "inch",
        }
        tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(65000, "s", 0, "private", True)], **options)
    assert fill_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}") == []
    info = read_image(tmp_path / f"b{suffix}").info
    assert info["icc_profile"] == SRGB and info["dpi"] == pytest.approx((300, 300), abs=0.1)
    if suffix == ".tif":
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            assert tiff.pages[0].tags[65000].value == "private"  # type: ignore[union-attr]


def test_exif_xmp_and_icc_stay_and_the_thumbnail_goes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "Maker", 6, {0x829A: 0.01, 0x927C: b"MAKER\0notes" * 9}
    thumbnail = io.BytesIO()
    Image.fromarray(scene(30, 45)).save(thumbnail, "JPEG")
    data = bytearray(exif.tobytes())
    order = ">" if data[6:8] == b"MM" else "<"
    following = 6 + 8 + 2 + 12 * struct.unpack_from(order + "H", data, 14)[0]
    struct.pack_into(order + "I", data, following, len(data) - 6)
    place = len(data) - 6 + 2 + 24 + 4
    data += struct.pack(
        order + "HHHIIHHIII", 2, 0x0201, 4, 1, place, 0x0202, 4, 1, len(thumbnail.getvalue()), 0
    )
    data += thumbnail.getvalue()
    xmp = b"<x:xmpmeta><xmp:Thumbnails><rdf:li>/9j/AAAA</rdf:li></xmp:Thumbnails>keep</x:xmpmeta>"
    for suffix in (".png", ".webp", ".jpg", ".tif"):
        options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
        source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(source, scene(), photometric="rgb", extratags=[(700, 1, len(xmp), xmp, True)])
        elif suffix == ".png":
            info = PngImagePlugin.PngInfo()
            info.add_itxt("XML:com.adobe.xmp", xmp.decode())
            Image.fromarray(scene()).save(source, exif=bytes(data), pnginfo=info)
        else:
            Image.fromarray(scene()).save(source, exif=bytes(data), xmp=xmp, icc_profile=SRGB, **options)
        width, height = read_file(source).size
        notes = fill_file(source, target, mask_of(height, width))
        assert any("XMP thumbnail" in note for note in notes)
        written = target.read_bytes()
        assert b"/9j/AAAA" not in written and b"keep" in written
        if suffix != ".tif":
            assert (
                any("EXIF thumbnail" in note for note in notes) and thumbnail.getvalue()[:200] not in written
            )
            tags = Image.open(target).getexif()
            assert tags[0x010F] == "Maker" and tags.get_ifd(0x8769)[0x927C] == b"MAKER\0notes" * 9
            assert read_image(target).size == read_image(source).size


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_exif_and_gps_stay_beside_compression(tmp_path: Path, order: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8769], exif[0x8825] = (
        "Maker",
        {0x829A: 0.01, 0x9286: b"note"},
        {1: "N", 2: (48.0, 8.0, 30.0)},
    )
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=exif)
    fill_file(tmp_path / "a.png", tmp_path / "a.tif")
    assert (tmp_path / "a.tif").stat().st_size < scene().size
    fill_file(tmp_path / "a.tif", tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        with opened(tmp_path / name) as image:
            tags = image.getexif()
            assert image.info["compression"] == "tiff_adobe_deflate" and tags[0x010F] == "Maker"
            assert float(tags.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)
            assert [float(v) for v in tags.get_ifd(0x8825)[2]] == [48, 8, 30]


def test_reduced_copies_and_layers_are_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(
            scene(),
            photometric="rgb",
            subifds=1,
            extratags=[(37724, 7, 40, b"layers of the erased".ljust(40), True)],
        )
        tiff.write(scene(30, 45), photometric="rgb", subfiletype=1)
        tiff.write(scene(15, 22), photometric="rgb", subfiletype=1)
    notes = fill_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert len(notes) == 2 and "reduced copies" in notes[0] and "Photoshop layers" in notes[1]
    with opened(tmp_path / "b.tif") as image:
        assert image.n_frames == 1
    assert b"layers" not in (tmp_path / "b.tif").read_bytes()


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".deep.png"])
def test_the_mask_is_upright_and_the_file_is_not_turned(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    if suffix == ".deep.png":
        from inpaint.images.tags import exif_of_orientation

        write_deep(source, scene().astype(np.uint16) * 257)
        data = source.read_bytes()
        source.write_bytes(data[:33] + png_chunk(b"eXIf", exif_of_orientation(orientation)) + data[33:])
    else:
        Image.fromarray(scene()).save(source, exif=exif, **({"quality": 95} if suffix == ".jpg" else {}))
    before = np.asarray(read_image(source)).astype(int)
    height, width = before.shape[:2]
    assert (height, width) == ((60, 90) if orientation < 5 else (90, 60))
    mask = mask_of(height, width)
    fill_file(source, target, mask)
    hole, after = np.asarray(mask) > 0, np.asarray(read_image(target)).astype(int)
    assert after.shape == before.shape
    assert np.abs(after[hole] - np.array(COLOUR) * 255).mean() < 10
    far = ~(np.asarray(mask.resize((width, height))) > 0)
    far[max(0, 10 - 16) : 25 + 16, max(0, 20 - 16) : 35 + 16] = False
    assert np.array_equal(after[far], before[far])
    if suffix != ".deep.png":
        assert Image.open(target).getexif().get(0x0112, 1) == orientation


def test_a_halftone_is_shown_as_grey_and_filled_with_dots(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.tile(np.linspace(60, 200, 240).astype(np.uint8), (160, 1)))
    ramp.convert("1").save(tmp_path / "a.tif", compression="group4")
    text = Image.new("1", (240, 160), 1)
    text.paste(0, (20, 20, 60, 24))
    text.save(tmp_path / "t.tif", compression="group4")
    shown = np.asarray(read_file(tmp_path / "a.tif").image()).astype(int)
    assert np.abs(shown[20:-20, 20:-20] - np.asarray(ramp)[20:-20, 20:-20]).mean() < 12
    assert set(np.unique(read_file(tmp_path / "t.tif").image())) == {0, 255}
    mask = mask_of(160, 240, 30, 40, 60)
    hole = np.asarray(mask) > 0
    fill_file(tmp_path / "a.tif", tmp_path / "b.tif", mask)
    before, after = raw(tmp_path / "a.tif"), raw(tmp_path / "b.tif")
    assert np.array_equal(before[~hole], after[~hole])
    assert after[hole].mean() == pytest.approx(COLOUR[1], abs=0.05)  # dots of the painted grey


# Kinds that other tools write


@pytest.mark.parametrize(
    "options",
    [
        {"extrasamples": ["assocalpha"], "photometric": "rgb"},
        {"photometric": "miniswhite"},
        {"photometric": "rgb", "compression": "lzma"},
        {"photometric": "rgb", "compression": "webp"},
        {"photometric": "rgb", "tile": (32, 32), "compression": "jpeg2000"},
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_numbers_of_unusual_tiffs_stay_what_they_are(tmp_path: Path, options: dict, deep: bool) -> None:
    if "compression" in options:
        pytest.importorskip("imagecodecs")
    colour = np.dstack([scene(), np.tile(np.linspace(9, 255, 90).astype(np.uint8), (60, 1))])
    pixels = colour if "extrasamples" in options else colour[..., :3]
    pixels = pixels[..., 0] if options["photometric"] == "miniswhite" else pixels
    if deep and options.get("compression") == "webp":
        pytest.skip("WebP has 8 bits")
    pixels = pixels.astype(np.uint16) * 257 if deep else pixels
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    before = tifffile.imread(tmp_path / "a.tif")
    fill_file(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as one, tifffile.TiffFile(tmp_path / "b.tif") as other:
        again, old, new = other.asarray(), one.pages[0], other.pages[0]
        assert (old.photometric, old.extrasamples) == (new.photometric, new.extrasamples)  # type: ignore[union-attr]
    assert again.dtype == before.dtype and np.array_equal(again[~HOLE], before[~HOLE])
    assert (again[HOLE] != before[HOLE]).any()


def test_a_tiff_that_cannot_be_kept_is_refused_or_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([scene(), scene()[..., :2]]), photometric="rgb")
    assert "page 1 has 2 extra channels; at most one is supported" in one_line(
        lambda: read_file(tmp_path / "a.tif")
    )
    tifffile.imwrite(tmp_path / "b.tif", np.stack([scene()[..., 0]] * 16), volumetric=True, tile=(16, 16, 16))
    cmyk = np.dstack([scene(), scene()[..., 0]]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", cmyk, photometric="separated")
    assert "page 1 is CMYK with 16 bits per channel; CMYK is supported with 8: convert it" in one_line(
        lambda: read_file(tmp_path / "a.tif")
    )
    assert "16 planes" in one_line(lambda: read_file(tmp_path / "b.tif"))
    with tifffile.TiffWriter(tmp_path / "raw.dng") as writer:
        writer.write(scene(), photometric="rgb", subfiletype=1, subifds=1)
        writer.write(scene(120, 180), photometric="rgb")
    assert "is a raw file of a camera" in one_line(lambda: read_file(tmp_path / "raw.dng"))
    nibbles = scene()[..., 0] >> 4
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "c.tif", nibbles, bitspersample=4, photometric="minisblack")
    assert fill_file(tmp_path / "c.tif", tmp_path / "d.tif") == ["page 1: 4 bits became 8"]
    assert np.array_equal(tifffile.imread(tmp_path / "d.tif")[~HOLE], nibbles[~HOLE] * 17)


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", [".jxl", ".jp2"])
def test_jpeg_xl_and_2000_keep_their_depth(tmp_path: Path, suffix: str, channels: int, dtype: type) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    colour = np.dstack([scene(), np.tile(np.linspace(9, 255, 90).astype(np.uint8), (60, 1))])
    pixels = colour[..., 0] if not channels else colour[..., -2:] if channels == 2 else colour[..., :channels]
    pixels = np.ascontiguousarray(pixels)
    pixels = (pixels / 255).astype(dtype) if dtype == np.float32 else pixels.astype(dtype)
    pixels = pixels * 257 if dtype == np.uint16 else pixels
    if suffix == ".jp2" and dtype == np.float32:
        pytest.skip("JPEG 2000 has no floats")
    options = (
        {"lossless": True} if suffix == ".jxl" else {"level": 0, "codecformat": "jp2", "reversible": True}
    )
    name = "jpegxl" if suffix == ".jxl" else "jpeg2k"
    encode, decode = getattr(imagecodecs, f"{name}_encode"), getattr(imagecodecs, f"{name}_decode")
    (tmp_path / f"a{suffix}").write_bytes(encode(pixels, **options))
    assert fill_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}") == []
    again = decode((tmp_path / f"b{suffix}").read_bytes())
    assert again.dtype == dtype and np.array_equal(again[~HOLE], pixels[~HOLE])
    assert (again[HOLE] != pixels[HOLE]).any()


def test_metadata_of_jpeg_xl_and_2000(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(scene()).save(tmp_path / "a.png", icc_profile=SRGB, exif=exif)
    assert fill_file(tmp_path / "a.png", tmp_path / "a.jxl") == []
    assert fill_file(tmp_path / "a.jxl", tmp_path / "b.jxl") == []
    with opened(tmp_path / "b.jxl") as image:
        assert image.getexif()[0x010F] == "Maker" and image.info["icc_profile"] == SRGB
    assert fill_file(tmp_path / "a.png", tmp_path / "a.jp2") == ["not kept in JPEG 2000: EXIF"]
    data = (tmp_path / "a.jp2").read_bytes() + box(b"xml ", b"<note/>")
    (tmp_path / "a.jp2").write_bytes(data)
    assert fill_file(tmp_path / "a.jp2", tmp_path / "b.jp2") == []
    again = (tmp_path / "b.jp2").read_bytes()
    assert SRGB in again and b"<note/>" in again
    animation = imagecodecs.jpegxl_encode(np.stack([scene(seed=seed) for seed in range(3)]), lossless=True)
    (tmp_path / "c.jxl").write_bytes(animation)
    (note,) = fill_file(tmp_path / "c.jxl", tmp_path / "d.jxl")
    assert note == "only the first of 3 frames or images is kept and filled"


def test_10_bits_of_heic_stay(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    deep = scene().astype(np.uint16) * 257
    heif.from_bytes("RGB;16", (90, 60), deep.tobytes()).save(tmp_path / "a.heic", quality=95)
    (note,) = fill_file(tmp_path / "a.heic", tmp_path / "b.heic")
    assert note.endswith("encoded anew as a whole: known pixels change slightly")
    after = heif.open_heif(tmp_path / "b.heic", convert_hdr_to_8bit=False)
    assert after.info["bit_depth"] == 10
    assert np.abs(np.asarray(after).astype(int) - deep)[~HOLE].mean() < 600
    assert (
        fill_file(tmp_path / "a.heic", tmp_path / "b.png") == []
        and cv_read(tmp_path / "b.png").dtype == np.uint16
    )


@pytest.mark.parametrize("turn", [3, 6])
@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_turned_files_are_shown_the_same_way(tmp_path: Path, suffix: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95}
    Image.fromarray(scene()).save(tmp_path / f"a{suffix}", exif=exif, icc_profile=SRGB, **options)
    fill_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    one, other = (ImageOps.exif_transpose(opened(tmp_path / f"{name}{suffix}")) for name in "ab")
    hole = np.asarray(mask_of(*one.size[::-1])) > 0
    difference = np.abs(np.asarray(one).astype(int) - np.asarray(other)).max(axis=-1)
    assert difference[~hole].mean() <= (0 if suffix == ".webp" else 3) and difference[hole].mean() > 20


def test_an_animated_gif_keeps_the_known_colours_of_full_palettes(tmp_path: Path) -> None:
    frames = [Image.fromarray(scene(seed=seed)).quantize(256) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    fill_file(tmp_path / "a.gif", tmp_path / "b.gif")
    with opened(tmp_path / "a.gif") as before, opened(tmp_path / "b.gif") as after:
        for frame in range(3):
            before.seek(frame)
            after.seek(frame)
            one, other = np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB"))
            assert np.array_equal(one[~HOLE], other[~HOLE]) and (one[HOLE] != other[HOLE]).any()


# What a PNG holds beside its pixels


def png_of(*chunks: tuple[bytes, bytes], palette: bool = False) -> bytes:
    """A PNG of the scene with chunks in front of its pixels."""
    buffer = io.BytesIO()
    image = Image.fromarray(scene())
    (image.quantize(16) if palette else image).save(buffer, "PNG", **({"bits": 4} if palette else {}))
    data = buffer.getvalue()
    place = data.index(b"IDAT") - 4
    return data[:place] + b"".join(png_chunk(*chunk) for chunk in chunks) + data[place:]


@pytest.mark.parametrize("kind", ["RGB", "P", "APNG"])
@pytest.mark.parametrize("tail", [b"<?php", bytes(100), b"PK\3\4", png_of()])
def test_bytes_after_a_png_are_left_out_and_told(tmp_path: Path, kind: str, tail: bytes) -> None:
    options = {"save_all": True, "append_images": [in_mode("RGB", 1)]} if kind == "APNG" else {}
    in_mode(kind.replace("APNG", "RGB")).save(tmp_path / "a.png", **options)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + tail)
    notes = fill_file(tmp_path / "a.png", tmp_path / "b.png")
    assert notes == [f"left out: {len(tail):,} bytes after the image"]
    assert (tmp_path / "b.png").read_bytes().endswith(png_chunk(b"IEND", b""))
    assert cv_read(tmp_path / "b.png").shape[:2] == (60, 90)
    with opened(tmp_path / "a.png") as before, opened(tmp_path / "b.png") as after:
        assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
        one, other = np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB"))
        assert np.array_equal(one[~HOLE], other[~HOLE])


def raw_profile(kind: str, data: bytes) -> bytes:
    """Metadata in hexadecimal text, as ImageMagick writes it."""
    return f"\n{kind}\n{len(data):8}\n{data.hex()}\n".encode()


def exif_with_thumbnail(orientation: int = 6) -> bytes:
    """EXIF whose second directory holds a JPEG."""
    thumbnail = b"\xff\xd8\xff SECRET"
    entries = struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 26)
    entries += struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, len(thumbnail), 0)
    return b"II*\0\x08\0\0\0" + entries + thumbnail


XMP = b"<x:xmpmeta><xmp:Thumbnails>/9j/SECRET</xmp:Thumbnails><dc:title>keep</dc:title></x:xmpmeta>"
RESOURCES = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 10) + b"SECRET...."
HIDDEN = {
    "exif, packed": (b"zTXt", b"Raw profile type exif\0\0", b"exif", b"Exif\0\0" + exif_with_thumbnail()),
    "exif, text": (b"tEXt", b"Raw profile type APP1\0", b"APP1", b"Exif\0\0" + exif_with_thumbnail()),
    "photoshop": (b"zTXt", b"Raw profile type 8bim\0\0", b"8bim", RESOURCES),
    "xmp in hex": (b"zTXt", b"Raw profile type xmp\0\0", b"xmp", XMP),
    "xmp": (b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0title\0", b"", XMP),
    "xmp in zTXt": (b"zTXt", b"XML:com.adobe.xmp\0\0", b"", XMP),
    "damaged": (b"tEXt", b"Raw profile type 8bim\0SECRET", b"", b""),
}


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("name", HIDDEN)
def test_thumbnails_in_packed_and_hexadecimal_text_go(tmp_path: Path, name: str, strip: bool) -> None:
    kind, head, profile, data = HIDDEN[name]
    text = raw_profile(profile.decode(), data) if profile else data
    whole = head + (zlib.compress(text) if kind == b"zTXt" or head[18:19] == b"\1" else text)
    (tmp_path / "a.png").write_bytes(png_of((kind, whole), (b"tEXt", b"Author\0Me")))
    turned = name == "exif, packed"
    notes = fill_file(
        tmp_path / "a.png", tmp_path / "b.png", mask_of(90, 60) if turned else mask_of(60, 90), strip=strip
    )
    assert (notes or strip) and all(note.startswith("left out, as it belongs to") for note in notes)
    chunks = list(png_chunks((tmp_path / "b.png").read_bytes()))
    for kind, content in chunks:
        text = content
        if kind == b"zTXt":
            text = zlib.decompress(content.split(b"\0", 1)[1][1:])
        assert b"SECRET" not in bytes(text) and b"SECRET".hex().encode() not in bytes(text)
    assert ((b"tEXt", b"Author\0Me") in chunks) != strip
    texts = [content for kind, content in chunks if kind == b"iTXt"]
    if name == "xmp" and not strip:
        assert texts[0].startswith(b"XML:com.adobe.xmp\0\0\0\0\0<x:") and b"keep" in texts[0]
    with opened(tmp_path / "b.png") as image:  # EXIF in text tells how a photo lies, and stays
        assert image.getexif().get(274) == (6 if turned else None)


def test_text_without_a_thumbnail_stays(tmp_path: Path) -> None:
    iptc = b"8BIM\x04\x04\0\0\0\0\0\4IPTC"
    chunks = [
        (b"tEXt", b"Raw profile type iptc\0" + raw_profile("iptc", iptc)),
        (b"zTXt", b"Long\0\0" + zlib.compress(b"text" * 99)),
        (b"iTXt", b"Packed\0\1\0\0\0" + zlib.compress(b"text" * 99)),
    ]
    xmp = (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x:xmpmeta/>"))
    (tmp_path / "a.png").write_bytes(png_of(*chunks, xmp))
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
    again = list(png_chunks((tmp_path / "b.png").read_bytes()))
    assert all(chunk in again for chunk in chunks)
    assert (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>") in again


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_orientation_in_xmp_becomes_no_exif(tmp_path: Path, orientation: int) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation
    (tmp_path / "a.png").write_bytes(png_of((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)))
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
    chunks = list(png_chunks((tmp_path / "b.png").read_bytes()))
    assert (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp) in chunks
    assert b"eXIf" not in dict(chunks)


def test_chunks_that_speak_of_an_old_palette_go(tmp_path: Path) -> None:
    chunks = [(b"hIST", struct.pack(">16H", *range(16))), (b"bKGD", b"\3"), (b"gAMA", b"\0\0\xb1\x8f")]
    (tmp_path / "a.png").write_bytes(png_of(*chunks, palette=True))
    left_out = "left out, as the palette or the depth changed: the chunk "
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == [left_out + "hIST", left_out + "bKGD"]
    kinds = {kind for kind, _ in png_chunks((tmp_path / "b.png").read_bytes())}
    assert b"gAMA" in kinds and not kinds & {b"hIST", b"bKGD"}
    (tmp_path / "a.png").write_bytes(png_of((b"bKGD", bytes(6))))
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
    assert (b"bKGD", bytes(6)) in png_chunks((tmp_path / "b.png").read_bytes())


def test_colours_by_chunks_and_tags_without_a_place_are_told(tmp_path: Path) -> None:
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    usual = [(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", primaries)]
    for chunks, told in (
        (usual, []),
        ([(b"cICP", b"\x09\x10\0\1"), (b"gAMA", struct.pack(">I", 100_000))], ["cICP, gAMA"]),
        ([(b"cHRM", primaries[:-1] + b"\0")], ["cHRM"]),
    ):
        (tmp_path / "a.png").write_bytes(png_of(*chunks))
        assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
        for strip in (False, True):
            notes = fill_file(tmp_path / "a.png", tmp_path / "b.tif", strip=strip)
            assert notes == [f"not kept in TIFF: {names}" for names in told]
    extra = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (33723, 7, 4, b"IPTC", True),
        (65000, "s", 0, "mine", True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", scene(), photometric="rgb", extratags=extra, metadata=None)
    assert fill_file(tmp_path / "a.tif", tmp_path / "c.png") == [
        "not kept in PNG: GeoTIFF tags, IPTC, tag 65000"
    ]
    assert fill_file(tmp_path / "a.tif", tmp_path / "c.tif") == []


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("frames", [1, 2])
def test_xmp_goes_with_a_conversion_to_png(tmp_path: Path, suffix: str, frames: int) -> None:
    xmp = "<x:xmpmeta>über</x:xmpmeta>".encode()
    pages = [in_mode("RGB", seed) for seed in range(frames)]
    options: dict[str, Any] = {"save_all": True, "append_images": pages[1:]} if frames > 1 else {}
    if suffix == ".tif":
        options["tiffinfo"] = {700: xmp}
    elif suffix == ".jpg" and frames > 1:
        pytest.skip("JPEG has one frame")
    else:
        options["xmp"] = xmp
    pages[0].save(tmp_path / f"a{suffix}", **options)
    fill_file(tmp_path / f"a{suffix}", tmp_path / "b.png")
    with opened(tmp_path / "b.png") as image:
        assert image.info["xmp"] == xmp and image.n_frames == frames
    fill_file(tmp_path / f"a{suffix}", tmp_path / "c.png", strip=True)
    assert b"xmpmeta" not in (tmp_path / "c.png").read_bytes()


def test_a_still_image_before_an_animation_has_no_duration(tmp_path: Path) -> None:
    pages = [in_mode("RGB", seed) for seed in range(4)]
    options = {"save_all": True, "append_images": pages[1:], "default_image": True, "loop": 2}
    pages[0].save(tmp_path / "a.png", duration=[100, 200, 300], **options)
    assert fill_file(tmp_path / "a.png", tmp_path / "b.png") == []
    for name in ("a.png", "b.png"):
        with opened(tmp_path / name) as image:
            durations = []
            for frame in range(image.n_frames):
                image.seek(frame)
                durations.append(image.info.get("duration"))
            assert image.default_image and durations == [None, 100, 200, 300] and image.info["loop"] == 2


def test_a_deep_page_behind_others_is_told(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in (scene(), scene()[..., 0].astype(np.uint16) * 257, scene(seed=1)):
            tiff.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
    notes = fill_file(tmp_path / "a.tif", tmp_path / "b.png")
    assert notes == ["PNG holds one deep frame: 2 of 3 are left out"]


# Depths of 9 to 15 bits


def write_packed(path: Path, values: np.ndarray, white: int) -> None:
    """Values of 0 to ``white`` in a format that says so."""
    imagecodecs = pytest.importorskip("imagecodecs")
    kind = b"P6" if values.ndim == 3 else b"P5"
    if path.suffix in (".pgm", ".ppm"):
        head = b"%s\n#%s\n%d %d\n%d\n" % (kind, b"x" * 600, values.shape[1], values.shape[0], white)
        path.write_bytes(head + values.astype(">u2").tobytes())
    elif path.suffix == ".jp2":
        options = {"codecformat": "jp2", "level": 0, "reversible": True, "bitspersample": white.bit_length()}
        path.write_bytes(imagecodecs.jpeg2k_encode(values, **options))
    else:
        dark = "miniswhite" if "dark" in path.name else "minisblack"
        photometric = "rgb" if values.ndim == 3 else dark
        tifffile.imwrite(path, values, bitspersample=white.bit_length(), photometric=photometric)


@pytest.mark.parametrize("target", [".png", ".tif"])
@pytest.mark.parametrize(
    ("name", "white"),
    [("a.pgm", 1023), ("a.ppm", 1000), ("a.ppm", 4095), ("a.jp2", 1023), ("a.jp2", 4095), ("a.tif", 1023),
     ("a.tif", 4095), ("rgb.tif", 16383), ("dark.tif", 4095)],
)  # fmt: skip
def test_values_that_end_below_16_bits_fill_them(tmp_path: Path, name: str, white: int, target: str) -> None:
    colour = np.rint(scene() / 255 * 0.6 * white).astype(np.uint16)  # nothing of it is white
    values = colour if name in ("a.ppm", "rgb.tif") else colour[..., 0].copy()
    write_packed(tmp_path / name, values, white)
    (note,) = fill_file(tmp_path / name, tmp_path / f"b{target}")
    if Path(name).suffix == target:
        assert note == f"page 1: {white.bit_length()} bits became 16"
        again = tifffile.imread(tmp_path / f"b{target}")
    else:
        assert note == f"values from 0 to {white:,} became 16-bit: 0 to 65,535"
        again = cv_read(tmp_path / f"b{target}")
        again = again[..., ::-1] if again.ndim == 3 else again
        values = white - values if name == "dark.tif" else values
    assert again.dtype == np.uint16
    assert np.array_equal(again[~HOLE], np.rint(values * (65535 / white)).astype(np.uint16)[~HOLE])
    assert np.array_equal(np.rint(again[~HOLE] * (white / 65535)), values[~HOLE])
    fill = again[HOLE].reshape(HOLE.sum(), -1)[:, 0] / 65535
    expected = COLOUR[0] if values.ndim == 3 else COLOUR[1]
    is_dark = name == "dark.tif" and target == ".tif"
    assert np.abs(fill - (1 - expected if is_dark else expected)).max() < 0.01


def test_jpeg_2000_keeps_its_own_depth(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.rint(scene()[..., 0] / 255 * 1000).astype(np.uint16)
    write_packed(tmp_path / "a.jp2", values, 1023)
    assert fill_file(tmp_path / "a.jp2", tmp_path / "b.jp2") == []
    again = imagecodecs.jpeg2k_decode((tmp_path / "b.jp2").read_bytes())
    assert np.array_equal(again[~HOLE], values[~HOLE]) and again.max() < 1024
    assert np.abs(again[HOLE] / 1023 - COLOUR[1]).max() < 0.01


def test_a_palette_keeps_the_low_bits_of_its_colours(tmp_path: Path) -> None:
    indices = np.asarray(in_mode("P"))
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256), np.uint16)
    colours[:, 255] = 65472
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    assert fill_file(tmp_path / "a.tif", tmp_path / "b.tif") == []
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        page: Any = tiff.pages[0]
        kept = np.array(page.colormap).reshape(3, 256)
        assert np.array_equal(page.asarray()[~HOLE], indices[~HOLE])
    used = np.unique(indices[~HOLE])
    assert np.array_equal(kept[:, used], colours[:, used]) and (kept[:, 255] >= 0).all()
