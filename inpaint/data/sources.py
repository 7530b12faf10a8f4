"""Where the photos of a training set are: folders, lists and tar shards as one numbered collection.

Names and places are columns, not Python objects, so that 1.8 million photos cost some hundred megabytes,
shared by all worker processes, and any photo is read with one seek.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from inpaint.atomic import atomic_write
from inpaint.errors import DataError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_COLUMNS = ("names", "offsets", "lengths")


@dataclass(frozen=True)
class PhotoIndex:
    """N photos that are files of their own, or lie inside tar files.

    Attributes:
        names: (N,) bytes, their paths, or names inside the tar file.
        shards: the tar files.
        owners: (N,) which of the shards each photo lies in; -1 for a file of its own.
        offsets: (N,) int64, the first byte of each in its tar file.
        lengths: (N,) int64, bytes of each there.
    """

    names: NDArray[np.bytes_]
    shards: tuple[Path, ...]
    owners: NDArray[np.int32]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of_files(cls, paths: Iterable[str]) -> PhotoIndex:
        """Photos that are files of their own."""
        names = np.array([os.fsencode(path) for path in paths], np.bytes_)
        none = np.zeros(len(names), np.int64)
        return cls(names, (), np.full(len(names), -1, np.int32), none, none)

    @classmethod
    def joined(cls, parts: Sequence[PhotoIndex]) -> PhotoIndex:
        """The photos of several indices, one after the other."""
        shards = dict.fromkeys(path for part in parts for path in part.shards)  # each once, in order
        numbers = {path: number for number, path in enumerate(shards)}
        owners = []
        for part in parts:
            theirs = [*(numbers[path] for path in part.shards), -1]  # the last one for files of their own
            owners.append(np.array(theirs, np.int32)[part.owners])
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(shards=tuple(shards), owners=np.concatenate(owners), **columns)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, numbers: NDArray[np.integer] | slice) -> PhotoIndex:
        """Some of the photos, in the order of their numbers here."""
        columns = {name: getattr(self, name)[numbers] for name in _COLUMNS}
        return PhotoIndex(shards=self.shards, owners=self.owners[numbers], **columns)

    def name(self, number: int) -> str:
        """Name a photo for people: `shard.tar/member` or a path."""
        name, owner = os.fsdecode(self.names[number]), self.owners[number]
        return name if owner < 0 else f"{self.shards[owner].name}/{name}"

    def read(self, number: int) -> bytes:
        """The bytes of a photo; OSError if they cannot be read."""
        owner = self.owners[number]
        if owner < 0:
            return Path(self.name(number)).read_bytes()
        with open(self.shards[owner], "rb") as file:
            file.seek(self.offsets[number])
            return file.read(self.lengths[number])


def index_photos(
    source: Path | str | Sequence[Path | str], *, limit: int | None = None, cache: Path | None = None
) -> PhotoIndex:
    """List the photos of one or several sources without reading any image.

    Args:
        source: folders (with their subfolders), `.txt` lists (one path a line, relative to the list),
            `.tar` shards, photo files, or patterns such as `photos-*.tar`; one or several.
        limit: keep only the first so many photos.
        cache: folder to keep what was found in each shard, for the next start. A shard that has changed is
            scanned anew; None scans every time.

    Raises:
        DataError: a source does not exist or holds no photo, or a shard cannot be read.
    """
    sources = [source] if isinstance(source, (str, Path)) else source
    parts = []
    for file in [file for item in sources for file in _resolve(Path(item))]:
        part = _open_shard(file, cache) if file.suffix == ".tar" else _list_files(file)
        if not len(part):
            raise DataError(f"no photo in {file}; expected {', '.join(sorted(PHOTO_SUFFIXES))} files in it")
        parts.append(part)
    return PhotoIndex.joined(parts).take(slice(limit))


def decode_photo(content: bytes) -> Image.Image:
    """Read one photo, upright, RGB; raises one of Pillow's many errors if it is broken."""
    with Image.open(io.BytesIO(content)) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


def describe_broken(name: str, problem: Exception) -> str:
    """The one line that a broken photo costs."""
    reason = (str(problem) or type(problem).__name__).splitlines()[0]
    if isinstance(problem, UnidentifiedImageError):
        reason = "not an image file"  # Pillow's words hold an address, which is another in every run
    return f"{name}: cannot be read as a photo, left out ({reason})"


def _resolve(source: Path) -> list[Path]:
    if any(character in source.name for character in "*?["):
        matches = sorted(source.parent.glob(source.name))
        if not matches:
            raise DataError(f"no file matches {source}; check the folder and the pattern")
        return matches
    if not source.exists():
        raise DataError(f"{source} does not exist; expected a folder of images, a .txt list or a .tar shard")
    return [source]


def _list_files(source: Path) -> PhotoIndex:
    """List a folder, a list file, or a single photo."""
    if source.is_dir():
        found = (os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names)
        return PhotoIndex.of_files(sorted(filter(_is_photo, found)))
    if source.suffix != ".txt":
        return PhotoIndex.of_files([str(source)])
    try:
        lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{source}: cannot be read as a list of photos ({problem})") from None
    folder = str(source.parent)
    return PhotoIndex.of_files(os.path.join(folder, line) for line in lines if line and line[0] != "#")


def _open_shard(path: Path, cache: Path | None) -> PhotoIndex:
    """Take what is kept of a shard, if the shard still has the size and time it had then; else scan it."""
    state = path.stat()
    stamp = np.array([state.st_size, state.st_mtime_ns])
    whereabouts = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=6).hexdigest()
    kept = cache / f"{path.stem}-{whereabouts}.npz" if cache else None
    columns = None
    if kept is not None and kept.exists():
        try:
            with np.load(kept) as file:
                if np.array_equal(file["stamp"], stamp):
                    columns = {name: file[name] for name in _COLUMNS}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # cut off or of another version: the scan below replaces it
    if columns is None:
        columns = _scan(path)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as file:  # several processes may scan at once
                np.savez(file, stamp=stamp, **columns)
    return PhotoIndex(shards=(path,), owners=np.zeros(len(columns["names"]), np.int32), **columns)


def _scan(path: Path) -> dict[str, Any]:
    """Read the headers of a tar file, none of its photos: the columns of an index."""
    try:
        with tarfile.open(path, "r:") as file:
            found = [(m.name, m.offset_data, m.size) for m in file if m.isfile() and _is_photo(m.name)]
    except (OSError, tarfile.TarError) as problem:
        raise DataError(
            f"{path}: not a readable, uncompressed tar file ({problem}); copy, download or unpack it again"
        ) from None
    names, offsets, lengths = zip(*found, strict=True) if found else ((), (), ())
    return {
        "names": np.array([os.fsencode(name) for name in names], np.bytes_),
        "offsets": np.array(offsets, np.int64),
        "lengths": np.array(lengths, np.int64),
    }


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES
