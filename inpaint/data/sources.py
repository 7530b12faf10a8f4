"""The photos of a training set: folders, lists and tar shards as one numbered collection, or in memory.

Names and places are an array, not Python objects, so that 1.8 million photos cost some hundred megabytes,
shared by all worker processes, and any photo is read with one seek. A few thousand photos at 256 pixels are
200 kB each: they fit into host or device memory, and no loader stands between them and the network.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from inpaint.atomic import atomic_write
from inpaint.data.crops import crop_and_resize
from inpaint.errors import DataError
from inpaint.images.modes import to_plain
from inpaint.images.read import first_line

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_SOURCES = "a folder of images, a .txt list, an uncompressed .tar shard or a photo"
_DEVICE_SHARE = 0.5  # of a device's free memory that photos may take; the network needs the rest


@dataclass(frozen=True)
class PhotoIndex:
    """N photos that are files of their own, or lie inside tar files."""

    # (N,) records: `name`, a path or a name inside a tar file; `shard`, that file's number or -1;
    # `offset` and `length`, in bytes there
    photos: NDArray[np.void]
    shards: tuple[Path, ...] = ()  # the tar files

    @classmethod
    def of_files(cls, paths: Iterable[str]) -> PhotoIndex:
        """Photos that are files of their own."""
        return cls(_records(paths))

    @classmethod
    def joined(cls, parts: Sequence[PhotoIndex]) -> PhotoIndex:
        """The photos of several indices, one after the other."""
        shards = list(dict.fromkeys(path for part in parts for path in part.shards))  # each once, in order
        photos = [part.photos.copy() for part in parts]
        for part, records in zip(parts, photos, strict=True):
            numbers = [*map(shards.index, part.shards), -1]  # the last one for files of their own
            records["shard"] = np.array(numbers, np.int32)[part.photos["shard"]]
        return cls(np.concatenate(photos), tuple(shards))

    def __len__(self) -> int:
        return len(self.photos)

    def take(self, numbers: NDArray[np.integer] | slice) -> PhotoIndex:
        """Some of the photos, in the order of their numbers here."""
        return PhotoIndex(self.photos[numbers], self.shards)

    def name(self, number: int) -> str:
        """Name a photo for people: `shard.tar/member` or a path."""
        name, shard = os.fsdecode(self.photos[number]["name"]), self.photos[number]["shard"]
        return name if shard < 0 else f"{self.shards[shard].name}/{name}"

    def read(self, number: int) -> bytes:
        """The bytes of a photo; OSError if they cannot be read."""
        _, shard, offset, length = self.photos[number]
        if shard < 0:
            return Path(self.name(number)).read_bytes()
        with open(self.shards[shard], "rb") as file:
            file.seek(offset)
            return file.read(length)


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
    """Read one photo, upright, 8-bit RGB; raises one of Pillow's many errors if it is broken."""
    with Image.open(io.BytesIO(content)) as opened:
        return to_plain(ImageOps.exif_transpose(opened)).convert("RGB")  # alone, that cuts 16 bits at 255


def describe_broken(name: str, problem: Exception) -> str:
    """The one line that a broken photo costs, without the address that Pillow adds, another in every run."""
    reason = "not an image file" if isinstance(problem, UnidentifiedImageError) else first_line(problem)
    return f"{name}: cannot be read as a photo, left out ({reason})"


@dataclass(frozen=True)
class PhotoSet:
    """Square photos of one size, as bytes."""

    photos: Tensor  # (N, 3, S, S) uint8 RGB
    names: tuple[str, ...]  # N names, `shard.tar/member` or a path
    skipped: int = 0  # how many photos could not be read

    def __len__(self) -> int:
        return len(self.photos)

    def to(self, device: torch.device) -> PhotoSet:
        """Return the set with its bytes on `device`, or as it is where they would take too much of it."""
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.photos.nbytes > _DEVICE_SHARE * free:
                return self
        return replace(self, photos=self.photos.to(device))

    def crop(
        self,
        indices: Tensor | Sequence[int],
        boxes: NDArray[np.int64],
        mirrored: NDArray[np.bool_],
        *,
        size: int,
        device: torch.device | None = None,
    ) -> Tensor:
        """Cut one crop, (B, 3, size, size) in [0, 1], from each photo of `indices`; see `crop_and_resize`."""
        chosen = self.photos[torch.as_tensor(indices, device=self.photos.device)]
        target = device or chosen.device
        places, flips = torch.from_numpy(boxes).to(target), torch.from_numpy(mirrored).to(target)
        return crop_and_resize(chosen.to(target), places, flips, size)


def load_photos(
    index: PhotoIndex, size: int, *, squeeze: bool = False, on_problem: Callable[[str], None]
) -> PhotoSet:
    """Decode photos into memory, as squares of side `size`: the middle, or the whole photo squeezed.

    DataError if no photo could be read, or there are more than the machine's memory holds.
    """
    needed = len(index) * 3 * size * size
    if hasattr(os, "sysconf"):  # not on Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > memory:
            raise DataError(
                f"{len(index)} photos at {size} x {size} take {needed / 1e9:.0f} GB of memory and this "
                f"machine has {memory / 1e9:.0f} GB; expected keep = 'disk', a smaller photo_size or a "
                "photo_limit"
            )
    photos = np.empty((len(index), 3, size, size), dtype=np.uint8)

    def load(number: int) -> Exception | None:
        try:
            photos[number] = _load_square(index.read(number), size, squeeze)
        except Exception as problem:  # any broken file: Pillow raises a dozen different classes
            return problem

    kept: list[str] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, problem in enumerate(pool.map(load, range(len(index)))):
            if problem is not None:
                on_problem(describe_broken(index.name(number), problem))
                continue
            photos[len(kept)] = photos[number]  # moves up into the place of one that is broken
            kept.append(index.name(number))
    if not kept:
        raise DataError(f"no readable photo among {len(index)}, such as {index.name(0)}")
    return PhotoSet(torch.from_numpy(photos[: len(kept)]), tuple(kept), len(index) - len(kept))


def _load_square(content: bytes, size: int, squeeze: bool) -> NDArray[np.uint8]:
    """Decode one photo to (3, size, size) uint8."""
    photo = decode_photo(content)
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    square = photo.crop((0, 0, *photo.size) if squeeze else (left, top, left + side, top + side))
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).transpose(2, 0, 1)


def _resolve(source: Path) -> list[Path]:
    if any(character in source.name for character in "*?["):
        matches = sorted(source.parent.glob(source.name))
        if not matches:
            raise DataError(f"no file matches {source}; check the folder and the pattern")
        return matches
    if not source.exists():
        raise DataError(f"{source} does not exist; expected {_SOURCES}")
    return [source]


def _list_files(source: Path) -> PhotoIndex:
    """List a folder, a list file, or a single photo."""
    if source.is_dir():
        walk = os.walk(source, followlinks=True)
        found = (os.path.join(folder, name) for folder, _, names in walk for name in names)
        return PhotoIndex.of_files(sorted(filter(_is_photo, found)))
    if _is_photo(source.name):
        return PhotoIndex.of_files([str(source)])
    if source.suffix != ".txt":
        raise DataError(f"{source} is not a photo; expected {_SOURCES}")
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
    photos = None
    if kept is not None and kept.exists():
        try:
            with np.load(kept) as file:
                photos = file["photos"] if np.array_equal(file["stamp"], stamp) else None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # cut off or of another version: the scan below replaces it
    if photos is None:
        photos = _scan(path)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as file:  # several processes may scan at once
                np.savez(file, stamp=stamp, photos=photos)
    return PhotoIndex(photos, (path,))


def _scan(path: Path) -> NDArray[np.void]:
    """Read the headers of a tar file, none of its photos: the records of an index."""
    try:
        with tarfile.open(path, "r:") as file:
            found = [(m.name, m.offset_data, m.size) for m in file if m.isfile() and _is_photo(m.name)]
    except (OSError, tarfile.TarError) as problem:
        raise DataError(f"{path}: not a readable plain tar ({problem}); get or unpack it again") from None
    names, offsets, lengths = zip(*found, strict=True) if found else ((), (), ())
    return _records(names, 0, offsets, lengths)


def _records(names: Iterable[str], shard: int = -1, offsets: Any = 0, lengths: Any = 0) -> NDArray[np.void]:
    """The photos of an index, from their columns."""
    encoded = np.array([os.fsencode(name) for name in names], np.bytes_)
    columns = [("name", encoded.dtype), ("shard", np.int32), ("offset", np.int64), ("length", np.int64)]
    photos = np.empty(len(encoded), columns)
    photos["name"], photos["shard"], photos["offset"], photos["length"] = encoded, shard, offsets, lengths
    return photos


def _is_photo(name: str) -> bool:
    hidden = os.path.basename(name).startswith(".")  # such as ._photo.jpg, which macOS puts beside photo.jpg
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES and not hidden
