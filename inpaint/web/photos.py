"""An uploaded photo: checked, measured, shown small. The original file stays on disk and is never changed.

The page's editor holds a preview only. A browser drops orientation, colour profile and file name, and shows
pictures beyond its texture limit as blank; so whatever is drawn is brought back to the original's size, and
the original is what gets filled.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inpaint.errors import ImageError
from inpaint.images import WRITABLE_FORMATS, read_image, write_image

PREVIEW_SIDE = 1536
_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Limits:
    """What one upload may be: this protects the server, and the patience of who waits behind it.

    Attributes:
        file_bytes: of one file.
        pixels: of one picture.
        files: pictures of one batch.
        waiting: requests in the queue; further ones are turned away with a message.
        keep_seconds: how long uploads and results stay on the server.
    """

    file_bytes: int = 200 * 2**20
    pixels: int = 100_000_000
    files: int = 200
    waiting: int = 40
    keep_seconds: int = 3600


@dataclass(frozen=True)
class Photo:
    """One photo that somebody works on.

    Attributes:
        path: the file as it came, or the lossless working copy of a result.
        name: file name for people, without folder, safe as a file name.
        height: pixels, upright.
        width: pixels, upright.
        suffix: of results in the photo's own format; ``.png`` where that cannot be written.
    """

    path: Path
    name: str
    height: int
    width: int
    suffix: str

    @property
    def preview_size(self) -> tuple[int, int]:
        """``(height, width)`` of the preview."""
        scale = min(1.0, PREVIEW_SIDE / max(self.height, self.width))
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))


def open_photo(
    path: Path | str, limits: Limits | None = None, name: str | None = None
) -> tuple[Photo, Image.Image]:
    """Check an uploaded file and make its preview.

    Args:
        path: the file; its content decides what it is, not its suffix.
        limits: None takes the standard ones.
        name: what the file was called; None takes the path's own name.

    Returns:
        The photo and its preview: RGB or RGBA, upright, at most ``PREVIEW_SIDE`` a side.

    Raises:
        ImageError: too large, no picture, damaged; the message names the file as its owner calls it.
    """
    limits, path = limits or Limits(), Path(path)
    called = safe_name(name or path.name)
    picture = read_upload(path, limits, called)
    suffix = _SUFFIXES.get(str(picture.info.get("source_format")), ".png")
    photo = Photo(path, called, picture.height, picture.width, suffix)
    return photo, make_preview(picture, photo)


def read_upload(path: Path, limits: Limits, called: str) -> Image.Image:
    """Read a picture that came from outside.

    Raises:
        ImageError: too large, no picture or damaged; no path of the server is told.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{called} is no longer on the server; upload it again") from error
    if size > limits.file_bytes:
        raise ImageError(
            f"{called} has {size / 2**20:.0f} MB, the limit is {limits.file_bytes / 2**20:.0f} MB"
        )
    try:
        return read_image(path, max_pixels=limits.pixels)
    except ImageError as error:
        raise ImageError(str(error).replace(repr(str(path)), called)) from error


def make_preview(picture: Image.Image, photo: Photo) -> Image.Image:
    """The picture at the photo's preview size, ``RGB`` or ``RGBA``, without metadata."""
    height, width = photo.preview_size
    shown = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
    if shown.size != (width, height):
        shown = shown.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    shown.info = {}
    return shown


def save_result(picture: Image.Image, photo: Photo, folder: Path, *, lossless: bool = False) -> Path:
    """Write a result for its owner to download.

    Args:
        picture: the filled photo at full size.
        photo: what it was made from: gives name and format.
        folder: of the server's, for results.
        lossless: PNG whatever the photo's format; JPEG and WebP compress known pixels, too.

    Returns:
        The file, in a folder of its own so that it can bear the photo's name.

    Raises:
        ImageError: it cannot be written.
    """
    suffix = ".png" if lossless else photo.suffix
    own = folder / secrets.token_hex(8)
    own.mkdir(parents=True)
    path = own / f"{Path(photo.name).stem}-filled{suffix}"
    write_image(picture, path)
    return path


def continue_with(picture: Image.Image, photo: Photo, folder: Path) -> Photo:
    """Make a result the photo to go on with, kept without loss, so that editing on costs no quality.

    Returns:
        The same name, size and format, another file.
    """
    own = folder / secrets.token_hex(8)
    own.mkdir(parents=True)
    path = own / "working.png"
    write_image(picture, path, fast=True)
    return Photo(path, photo.name, photo.height, photo.width, photo.suffix)


def safe_name(name: str) -> str:
    """A file name without folder, control characters or surprises; never empty, never hidden."""
    bare = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w.()\[\] +-]", "_", bare).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    if dot and f".{suffix.lower()}" in WRITABLE_FORMATS:
        return f"{stem[:_LONGEST_NAME] or 'photo'}.{suffix}"
    return kept[:_LONGEST_NAME] or "photo"
