"""Photos from outside and their fills: limits, checks before decoding, views at screen size, downloads."""

import io
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from inpaint.errors import ImageError, MaskError
from inpaint.fills.holes import default_dilation, find_hole
from inpaint.images import WRITABLE_FORMATS, ImageFile, read_file, write_file, write_image
from inpaint.images.depth import Pixels
from inpaint.images.modes import changes, to_8_bit
from inpaint.inspect import Inspection
from inpaint.web import masks
from inpaint.web.masks import Drawing, Holes

PREVIEW_SIDE = 2048
_LONGEST_NAME = 60
_MOST_FILLS = 300
Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the photo; bottom and right are outside."""


class GoneError(ImageError):
    """A photo or result is no longer, or never was, on the server."""


class QuotaError(ImageError):
    """A visitor stored too much, or has, like the whole server, too much that waits."""


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for: this protects the server, and the patience of who waits behind them."""

    file_bytes: int = 200 * 2**20
    pixels: int = 100_000_000
    waiting: int = 40
    """Jobs in the queue; further ones are turned away with a message."""
    keep_seconds: int = 3600
    """How long photos and results stay after they were last used."""
    visitor_bytes: int = 8 * 2**30
    """What one visitor (one address) may upload and store within that time."""
    visitor_jobs: int = 8


@dataclass(frozen=True)
class Fill:
    """One fill of a photo (``parent`` None) or of an earlier fill: what it changed, not the whole photo."""

    id: str
    parent: str | None
    model: str
    box: Box
    seconds: float


class Photo:
    """One photo that somebody works on, in a folder of its own, which is named by the photo's id.

    ImageError if the file is too large, damaged or not an image.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.id, self.name = path.parent.name, path.name
        self.folder, self.path = path.parent, path
        self.limits = limits
        file = read_upload(path, limits)
        self.suffix, self.frames = suffix_of(file), file.frames
        self.decoded: Pixels | None = np.asarray(file.image())
        """Kept while there is memory for it."""
        self.height, self.width = self.decoded.shape[:2]
        self.preview = preview_size(self.height, self.width)
        self.used = time.monotonic()
        self.fills: dict[str, Fill] = {}
        self.layers: set[str] = set()
        self.files: dict[str, Path] = {}
        """What else the browser may get, by an id that cannot be guessed."""
        self.inspection: Inspection | None = None

    # -- fills ---------------------------------------------------------------------------------------

    def fill(self, key: str) -> Fill:
        """Find a fill."""
        if key not in self.fills:
            raise GoneError("this result is no longer on the server; go on from another one")
        return self.fills[key]

    def chain(self, key: str | None) -> list[Fill]:
        """A fill and all it was made on, the oldest first."""
        if key is None:
            return []
        fill = self.fill(key)
        return [*self.chain(fill.parent), fill]

    def render(self, fill: str | None) -> Pixels:
        """The photo, upright, with a fill and all it was made on."""
        decoded = self.decoded
        if decoded is None:
            decoded = self.decoded = np.asarray(read_upload(self.path, self.limits).image())
        pixels = decoded.copy()
        for step in self.chain(fill):
            top, left, bottom, right = step.box
            part, holes = self.patch(step)
            pixels[top:bottom, left:right][holes] = part[holes]
        return pixels

    def patch(self, fill: Fill) -> tuple[Pixels, Holes]:
        """What a fill put into its box, and where."""
        with np.load(self.folder / f"{fill.id}.npz", allow_pickle=False) as stored:
            part = stored["part"]
            count = part.shape[0] * part.shape[1]
            return part, np.unpackbits(stored["holes"], count=count).reshape(part.shape[:2]) > 0

    def keep(self, result: Pixels, holes: Holes, parent: str | None, model: str, seconds: float) -> Fill:
        """Store what a fill changed."""
        if len(self.fills) >= _MOST_FILLS:
            raise QuotaError(f"this photo has {_MOST_FILLS} results; download it and open it again")
        left, top, width, height = cv2.boundingRect(holes.astype(np.uint8))
        box = top, left, bottom, right = top, left, top + height, left + width
        part, holes_here = result[top:bottom, left:right], holes[top:bottom, left:right]
        fill = Fill(secrets.token_urlsafe(9), parent, model, box, seconds)
        np.savez(self.folder / f"{fill.id}.npz", part=part, holes=np.packbits(holes_here))
        self.fills[fill.id] = fill
        return fill

    def forget(self, key: str) -> None:
        """Delete a fill that none other was made on."""
        if any(other.parent == key for other in self.fills.values()):
            raise ImageError("later results were made on this one; remove those first")
        self.fill(key)
        del self.fills[key]
        (self.folder / f"{key}.npz").unlink(missing_ok=True)

    # -- masks and files -----------------------------------------------------------------------------

    def holes(self, drawing: Drawing) -> Holes:
        """What was drawn, at the photo's full size, grown as asked."""
        return masks.grow(masks.draw(drawing, self.height, self.width, self.layer), drawing.grow)

    def layer(self, key: str) -> Holes:
        """A mask that was stored."""
        if key not in self.layers:
            raise MaskError("a part of the mask is no longer on the server; clear it and paint again")
        with Image.open(self.folder / f"{key}.png") as stored:
            return np.asarray(stored) > 0

    def add_layer(self, holes: Holes) -> str:
        """Store a mask beside the photo, and give its id."""
        key = secrets.token_urlsafe(9)
        Image.fromarray(holes).save(self.folder / f"{key}.png")
        self.layers.add(key)
        return key

    def add_mask(self, path: Path) -> dict[str, str]:
        """Take a mask file of the photo's size as a layer; its ``id``, and a ``warning`` if it is doubted."""
        mask = masks.read_masks_of(path, (self.width, self.height), self.limits.pixels)[0]
        holes = find_hole(mask, 0)  # with its soft rim
        return {"id": self.add_layer(holes), "warning": masks.tell_doubt(self.render(None), mask, holes)}

    def new_file(self, suffix: str) -> tuple[str, Path]:
        """A place for a file that the browser may get, and its id."""
        key = secrets.token_urlsafe(9)
        self.files[key] = self.folder / f"{key}{suffix}"
        return key, self.files[key]

    def add_image(self, image: Image.Image) -> str:
        """Store an image for the browser, and give its id."""
        key, path = self.new_file(".png")
        write_image(image, path)
        return key

    def download(self, fill: str | None, *, lossless: bool) -> tuple[Path, list[str]]:
        """The whole result in the photo's own format and with its metadata, or as PNG.

        With it, one line for each thing that could not be kept; only when the file is made, not again later.
        """
        folder = self.folder / f".download-{fill or 'photo'}"
        folder.mkdir(exist_ok=True)
        path = folder / result_name(self.name, ".png" if lossless else self.suffix)
        if path.exists():
            return path, []
        file = read_upload(self.path, self.limits)
        result = self.render(fill)
        changed = changes(self.render(None), result)
        if changed.any():  # of the first page or frame, the one that was shown
            others = [Image.new("L", (1, 1))] * (file.frames - 1)
            file.fill(
                lambda shown, _: Image.fromarray(result) if isinstance(shown, Image.Image) else result,
                [masks.mask_image(changed), *others],
            )
        return path, write_file(file, path)

    # -- what the browser knows ----------------------------------------------------------------------

    def describe(self, job: str | None = None) -> dict[str, Any]:
        """The photo and its fills, with the id of the job that works on it."""
        return {
            **{key: getattr(self, key) for key in ("id", "name", "width", "height", "frames")},
            "format": self.suffix.lstrip("."),
            "growth": default_dilation((self.height, self.width)),
            "preview": {"width": self.preview[1], "height": self.preview[0]},
            "fills": [self.describe_fill(fill) for fill in self.fills.values()],
            "job": job,
        }

    def describe_fill(self, fill: Fill) -> dict[str, Any]:
        """One fill; ``patch`` is in pixels of the preview, ``box`` of the photo."""
        height, width = self.preview
        top, left, bottom, right = fill.box
        x0, x1 = left * width // self.width, -(-right * width // self.width)
        y0, y1 = top * height // self.height, -(-bottom * height // self.height)
        scale_x, scale_y = self.width / width, self.height / height
        box = {"left": x0 * scale_x, "top": y0 * scale_y, "right": x1 * scale_x, "bottom": y1 * scale_y}
        return {
            **vars(fill),
            "seconds": round(fill.seconds, 2),
            "patch": {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0},
            "box": {side: round(place) for side, place in box.items()},
        }


def read_upload(path: Path, limits: Limits) -> ImageFile:
    """Read an image file from outside; errors name the file without its path on this server."""
    try:
        file = read_file(path, max_pixels=limits.pixels)
        file.load(0)  # decoded now: what is damaged shows
        return file
    except ImageError as error:
        raise ImageError(str(error).replace(repr(str(path)), f"the file {path.name}")) from error


def suffix_of(file: ImageFile) -> str:
    """Suffix of results in the photo's own format; ``.png`` where that cannot be written."""
    own = file.path.suffix.lower()
    if WRITABLE_FORMATS.get(own) == file.format:
        return own
    return next((suffix for suffix, name in WRITABLE_FORMATS.items() if name == file.format), ".png")


def safe_name(name: str) -> str:
    """A file name without folder, control characters or surprises; never empty, never hidden."""
    bare = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w.()\[\] +-]", "_", bare).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    if dot and f".{suffix.lower()}" in WRITABLE_FORMATS:
        return f"{stem[:_LONGEST_NAME] or 'photo'}.{suffix}"
    return kept[:_LONGEST_NAME] or "photo"


def result_name(name: str, suffix: str) -> str:
    """What a result is called."""
    return f"{Path(name).stem}-filled{suffix}"


def preview_size(height: int, width: int, side: int = PREVIEW_SIDE) -> tuple[int, int]:
    """``(height, width)`` at most ``side`` large."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def view(pixels: Pixels, box: Box, size: tuple[int, int]) -> Image.Image:
    """A part of a photo of any depth as the screen shows it, RGB or RGBA; ``size`` is ``(height, width)``."""
    top, left, bottom, right = box
    part = pixels[top:bottom, left:right]
    if part.dtype != np.uint8:
        part = np.asarray(to_8_bit(part))
    height, width = size
    method = cv2.INTER_AREA if width <= part.shape[1] and height <= part.shape[0] else cv2.INTER_CUBIC
    small = part if part.shape[:2] == size else cv2.resize(part, (width, height), interpolation=method)
    shown = Image.fromarray(np.ascontiguousarray(small))
    return shown.convert("RGBA" if "A" in shown.getbands() else "RGB")


def encode_view(image: Image.Image) -> tuple[bytes, str]:
    """Bytes for the browser and their media type: JPEG, or PNG where there is alpha."""
    kind = "png" if image.mode == "RGBA" else "jpeg"
    image.save(buffer := io.BytesIO(), kind, compress_level=1, quality=90, subsampling=0)  # each has its own
    return buffer.getvalue(), f"image/{kind}"
