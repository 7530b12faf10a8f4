"""Colour modes: what the network is shown of an image, and its fill in the image's own mode."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter

from inpaint.errors import ShapeError, note
from inpaint.images.depth import Pixels, find_range

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 64  # that are compared at once: few enough to stay in the cache
Native = Image.Image | Pixels
"""An image as its file has it: a Pillow image of any 8-bit mode, or an array of its own depth."""

# Share of pixels that a median of 3 x 3 changes: few in text and line art, most in dithered greys.
_HALFTONE = 0.1
# Upright from EXIF orientation 2, 3, ... 8.
_TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90".split()
_BACK = {6: 8, 8: 6}


def turn_upright(image: Any, orientation: int) -> Any:
    """Turn what lies in a file as EXIF orientation 1 to 8 says."""
    if orientation not in range(2, 9):
        return image
    if isinstance(image, Image.Image):
        return image.transpose(Image.Transpose[_TURNS[orientation - 2]])
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(turned[::rows, ::columns])


def turn_back(image: Any, orientation: int) -> Any:
    """Undo :func:`turn_upright`."""
    return turn_upright(image, _BACK.get(orientation, orientation))


def size_of(native: Native) -> tuple[int, int]:
    """``(width, height)``."""
    return native.size if isinstance(native, Image.Image) else (native.shape[1], native.shape[0])


def to_plain(image: Image.Image) -> Image.Image:
    """Convert to 8-bit ``RGB``, ``RGBA``, ``L`` or ``LA``; a plain image is returned as it is.

    CMYK goes through its profile where it has one. 16- and 32-bit grey and floats are scaled by their range.
    ImageError for floats whose range cannot be understood.
    """
    mode, transparent = image.mode, image.has_transparency_data
    if mode in ("RGBA", "LA") or (mode in ("RGB", "L") and not transparent):
        return image
    if mode == "F" or mode.startswith("I"):
        plain = to_8_bit(np.asarray(image))
        if "transparency" in image.info:
            opaque = np.asarray(image) != image.info["transparency"]
            plain.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
        return plain
    if mode in ("CMYK", "LAB"):
        return _through_profile(image, image, "RGB")
    return image.convert(("L" if mode in ("1", "L", "La") else "RGB") + ("A" if transparent else ""))


def to_8_bit(pixels: Native) -> Image.Image:
    """An image of any depth as ``L``, ``LA``, ``RGB`` or ``RGBA``, by its range or the logarithm of light."""
    if isinstance(pixels, Image.Image):
        return to_plain(pixels)
    if pixels.dtype == np.uint8:
        return Image.fromarray(pixels)
    found = find_range(pixels)
    eight = np.rint(found.to_unit(pixels) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        white = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
        eight[..., -1] = np.rint(pixels[..., -1].astype(np.float64).clip(0, white) / white * 255)
    return Image.fromarray(eight)


def to_palette(image: Image.Image) -> Image.Image:
    """An image in mode ``P``: exact where 256 colours are enough; transparent where alpha is below 128."""
    pixels = np.asarray(to_plain(image).convert("RGBA")).astype(np.int32)
    clear = pixels[..., 3] < 128
    packed = np.where(clear, 1 << 24, pixels[..., 0] * (1 << 16) + pixels[..., 1] * 256 + pixels[..., 2])
    colours, indices = np.unique(packed, return_inverse=True)
    if len(colours) > 256:
        note(f"{len(colours):,} colours became the 256 of a palette")
        reduced = image.convert("RGB").quantize(255)
        palette, key = np.array(reduced.getpalette("RGB"), np.uint8), 255
        indices = np.where(clear, 255, np.asarray(reduced))
    else:
        palette = np.stack([colours >> 16, colours >> 8, colours], axis=-1).astype(np.uint8)
        key = len(colours) - 1
    result = Image.fromarray(indices.reshape(clear.shape).astype(np.uint8), "P")
    result.putpalette(palette.tobytes())
    if clear.any():
        result.info["transparency"] = key
    return result


def to_view(native: Native) -> Native:
    """What the pipeline takes: a plain Pillow image or the array as it is; of a 1-bit halftone, its greys."""
    if not isinstance(native, Image.Image):
        return native
    plain = to_plain(native)
    if native.mode == "1" and changes(plain, plain.filter(ImageFilter.MedianFilter(3))).mean() > _HALFTONE:
        return plain.filter(ImageFilter.GaussianBlur(2))
    return plain


def take_fill(native: Native, shown: Native, filled: Native) -> Native:
    """Take over in an image's own mode what has changed between what was shown and its filled version.

    Palettes get the fill's colours where they have room, one-bit images black and white, CMYK and LAB numbers
    through the profile; pixels that have not changed keep their very numbers.
    """
    if not isinstance(native, Image.Image) or not isinstance(shown, Image.Image):
        return filled
    assert isinstance(filled, Image.Image)
    if native.mode == shown.mode:
        return filled
    changed = changes(shown, filled)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    result = native.copy()
    if not rows.size:
        return result
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    part, where = filled.crop(box), Image.fromarray(changed).crop(box)
    if native.mode == "P":
        used = np.bincount(np.asarray(native)[~changed], minlength=256) > 0
        part = _in_palette(part.convert("RGB"), result, where, used)
    elif native.mode == "1":
        halftone = shown.getcolors(2) is None
        part = part.convert("1", dither=Image.Dither.FLOYDSTEINBERG if halftone else Image.Dither.NONE)
    elif native.mode in ("CMYK", "LAB"):
        part = _through_profile(part, native, native.mode)
    else:
        part = part.convert(native.mode)
        key = native.info.get("transparency")  # one colour that is transparent, which no fill may hit
        if key is not None:
            pixels = np.array(part)
            hit = (pixels == key) if pixels.ndim == 2 else (pixels == np.array(key)).all(axis=-1)
            pixels[hit] ^= 1
            part = Image.fromarray(pixels)
    result.paste(part, box[:2], where)
    return result


def fits_profile(profile: bytes, mode: str) -> bool:
    """Whether an ICC profile is of the mode's colour space; another would falsify the colours."""
    spaces = {"L": b"GRAY", "LA": b"GRAY", "1": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}
    return profile[16:20] == spaces.get(mode, b"RGB ")


def image_to_tensor(image: Image.Image) -> "Tensor":
    """Turn an image into ``(1, 3, H, W)`` float32 RGB in [0, 1]; grey is repeated, alpha is left out."""
    import torch  # not above: files are read and written without it

    pixels = np.array(to_plain(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous()


def tensor_to_image(tensor: "Tensor") -> Image.Image:
    """Turn ``(1, 3, H, W)`` or ``(3, H, W)`` float in [0, 1] into an ``RGB`` image, clamped and rounded.

    ShapeError for any other shape.
    """
    single = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if single.ndim != 3 or len(single) != 3:
        raise ShapeError(f"got {tuple(tensor.shape)}, expected (3, H, W) or (1, 3, H, W): pass one image")
    pixels = single.detach().float().clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().contiguous().numpy())


def changes(before: Native, after: Native) -> NDArray[np.bool_]:
    """``(H, W)``, True where any channel differs (NaN is equal to itself)."""
    width, height = size_of(before)
    changed = np.zeros((height, width), np.bool_)
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        one, other = (
            np.asarray(image.crop((0, top, width, rows.stop)))
            if isinstance(image, Image.Image)
            else image[rows]
            for image in (before, after)
        )
        differs = one != other
        if one.dtype.kind == "f":
            differs &= ~(np.isnan(one) & np.isnan(other))
        if differs.any():
            for channel in np.moveaxis(np.atleast_3d(differs), -1, 0):  # faster than a short axis
                changed[rows] |= channel
    return changed


def _in_palette(
    part: Image.Image, result: Image.Image, where: Image.Image, used: NDArray[np.bool_]
) -> Image.Image:
    """Indices for a fill, in a palette that takes up new colours where there is room in it."""
    palette, alpha = np.zeros((256, 3), np.uint8), np.full(256, 255)
    old = np.array(result.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(old)] = old
    key = result.info.get("transparency")
    if isinstance(key, bytes):
        alpha[: len(key)] = list(key)
    elif key is not None:
        alpha[key] = 0
    if (free := np.flatnonzero(~used & (alpha == 255))).size:
        fill = np.asarray(part)[np.asarray(where)]
        reduced = Image.fromarray(fill[None]).quantize(len(free), Image.Quantize.MEDIANCUT)
        new = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)[: len(free)]
        palette[free[: len(new)]] = new
        used[free[: len(new)]] = True
        result.putpalette(palette[: int(np.flatnonzero(used)[-1]) + 1].tobytes())
    opaque = np.flatnonzero(used & (alpha == 255))
    opaque = opaque if opaque.size else np.flatnonzero(used)
    target = Image.new("P", (1, 1))
    target.putpalette(palette[opaque].tobytes())
    indices = np.asarray(part.quantize(palette=target, dither=Image.Dither.FLOYDSTEINBERG))
    return Image.fromarray(opaque[indices.clip(0, len(opaque) - 1)].astype(np.uint8), "L")


def _through_profile(image: Image.Image, native: Image.Image, mode: str) -> Image.Image:
    """Between ``RGB`` and the mode of ``native`` by its profile, or by plain arithmetic where that fails."""
    if native.mode == "LAB":
        profile = ImageCms.createProfile("LAB")
    else:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(native.info["icc_profile"]))
        except (KeyError, OSError, ImageCms.PyCMSError):
            return image.convert(mode)
    srgb = ImageCms.createProfile("sRGB")
    try:
        if mode == "RGB":
            transform = ImageCms.buildTransform(profile, srgb, image.mode, mode)
        else:
            image, transform = image.convert("RGB"), ImageCms.buildTransform(srgb, profile, "RGB", mode)
        return transform.apply(image)
    except ImageCms.PyCMSError:  # of another space, or without the way back
        return image.convert(mode)
