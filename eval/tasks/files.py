"""Image files of a folder or zip, whatever they are for: listed, named and opened."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaint.batch import READABLE_SUFFIXES
from inpaint.batch.pairing import find_images, match_files, normal_stem
from inpaint.errors import DataError
from inpaint.images import hole_from_mask, plain_image, read_image, read_mask

_TOLD = 3  # names in a message; the count says how many there are


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk, or in a zip that is kept open."""

    path: Path  # in a zip the archive's path and the member's
    stem: str  # an accent is one character, whatever the system makes of it
    stamp: str  # changes when the file does: name, size and time, or the checksum in a zip
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)
    member: str = ""

    def open(self) -> Image.Image:
        """Open it as Pillow does: header only, not turned upright; OSError if it is no image."""
        return Image.open(self.path if self.archive is None else io.BytesIO(self.archive.read(self.member)))

    def read(self) -> NDArray[np.uint8]:
        """Its upright pixels, ``(H, W, 3)`` RGB; ImageError if it cannot be read."""
        return np.array(read_image(self.path).convert("RGB"))

    def read_hole(self) -> NDArray[np.bool_]:
        """Its pixels as a mask, ``(H, W)``, True = hole (white or opaque, see ``inpaint.images``).

        Raises:
            MaskError: it cannot be read.
            DataError: it cannot be read from its zip.
        """
        if self.archive is None:
            return hole_from_mask(read_mask(self.path))
        try:
            with self.open() as image:
                return hole_from_mask(plain_image(image))
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise DataError(f"{str(self.path)!r} cannot be read ({error}); make the zip again") from error


def list_images(source: Path, what: str, *, zips: bool = False) -> list[ImageFile]:
    """The image files of a folder or zip, sorted by file name; ``what`` they are is for messages.

    Raises:
        DataError: there are none, or two of one stem.
    """
    if zips and source.is_file() and zipfile.is_zipfile(source):
        files = _files_of_zip(source)
    elif source.is_dir():
        files = []
        for path in find_images(source)[0]:
            status = path.stat()
            stamp = f"{path.name} {status.st_size} {status.st_mtime_ns}"
            files.append(ImageFile(path, normal_stem(path), stamp))
    else:
        got = f"got a file for the {what}" if source.exists() else f"no such folder for the {what}"
        raise DataError(f"{got}: {str(source)!r}; expected a folder{' or a zip' if zips else ''}")
    if not files:
        expected = " ".join(READABLE_SUFFIXES)
        raise DataError(f"no {what} in {str(source)!r}; expected {expected} (subfolders are not searched)")
    if twins := match_files(files, (), lambda file: file.stem).twins:
        names = {file.stem: " and ".join(f.path.name for f in (file, *rest)) for file, rest in twins[::-1]}
        raise DataError(
            f"{len(names)} names twice among the {what} in {str(source)!r}: {few([*names.values()][::-1])}; "
            "keep one of each"
        )
    return files


def read_headers(files: Iterable[ImageFile], what: str) -> tuple[dict[Path, tuple[int, int]], int]:
    """The (H, W) each header names, and how many files are JPEG."""
    shapes, jpegs, broken = {}, 0, []
    for file in files:
        try:
            with file.open() as image:
                shapes[file.path] = (image.height, image.width)
                jpegs += image.format in ("JPEG", "MPO")
        except Exception:  # decoders raise nearly anything on damaged data
            broken.append(file.path.name)
    if broken:
        raise DataError(
            f"{len(broken)} of the {what} cannot be read as an image: {few(broken)}; get them again"
        )
    return shapes, jpegs


def few(names: Iterable[str]) -> str:
    """The first few names, for a message."""
    told = list(names)
    return ", ".join(told[:_TOLD]) + (", ..." if len(told) > _TOLD else "")


def _files_of_zip(path: Path) -> list[ImageFile]:
    archive = zipfile.ZipFile(path)
    files = []
    for member in sorted(archive.infolist(), key=lambda member: member.filename):
        name = Path(member.filename)
        hidden = name.name.startswith(".") or "__MACOSX" in name.parts
        if name.suffix.lower() in READABLE_SUFFIXES and not hidden:
            stamp = f"{member.filename} {member.CRC}"
            files.append(ImageFile(path / name, normal_stem(name), stamp, archive, member.filename))
    return files
