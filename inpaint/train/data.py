"""Training photos: decoded once, kept as bytes in memory, cropped and flipped on any device.

A few thousand photos at 256 pixels are 200 kB each, so the whole set fits into host or device memory and no
loader stands between it and the network. All randomness follows from (seed, images_seen), so that a run which
is stopped and started again sees the same crops in the same order.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import math
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from inpaint.errors import DataError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_LARGEST_ASPECT = 4 / 3
_IN_FLIGHT = 256  # decoded photos waiting for their place; bounds the memory beside the set itself


@dataclass(frozen=True)
class PhotoSet:
    """Square photos of one size, as bytes.

    Attributes:
        photos: (N, 3, S, S) uint8 RGB.
        names: N names, `shard.tar/member` or a path.
        skipped: how many photos could not be read.
    """

    photos: Tensor
    names: tuple[str, ...]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.photos)

    def to(self, device: torch.device | str) -> PhotoSet:
        """Return the set with its bytes on `device`."""
        return PhotoSet(self.photos.to(device), self.names, self.skipped)

    def batch(
        self,
        indices: Tensor,
        *,
        size: int,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        min_scale: float = 1.0,
    ) -> Tensor:
        """Cut one random crop from each of the photos named by `indices`.

        A crop covers `min_scale` to 1 of the photo's area with an aspect ratio of at most 4:3, is resized
        with an antialiased bilinear filter and mirrored half of the time.

        Args:
            indices: (B,) photo numbers, repeats allowed.
            size: side of the crops in pixels.
            generator: a CPU generator; the same state gives the same batch on every device, up to rounding.
            device: where the result is wanted; None leaves it where the photos are.
            min_scale: smallest part of the area, in (0, 1]; 1 takes the whole photo.

        Returns:
            (B, 3, size, size) float32 RGB in [0, 1].
        """
        boxes = random_boxes(len(indices), self.photos.shape[-1], min_scale=min_scale, generator=generator)
        mirrored = torch.rand(len(indices), generator=generator) < 0.5
        chosen = self.photos[indices.to(self.photos.device)]
        target = chosen.device if device is None else torch.device(device)
        return crop_and_resize(chosen.to(target), boxes.to(target), mirrored.to(target), size)


def random_boxes(count: int, side: int, *, min_scale: float, generator: torch.Generator) -> Tensor:
    """Draw crop boxes inside a square photo.

    Returns:
        (count, 4) int64 boxes (top, left, height, width) with top + height <= side and left + width <= side.
    """
    if not 0 < min_scale <= 1:
        raise DataError(f"min_scale is {min_scale}, expected a part of the area in (0, 1]")
    draws = torch.rand((4, count), generator=generator, dtype=torch.float64)
    area = min_scale + (1 - min_scale) * draws[0]
    # The aspect is held back where it would push a side out of the photo, so that nothing has to be redrawn.
    aspect_room = (-area.log()).clamp(max=math.log(_LARGEST_ASPECT))
    log_aspect = (2 * draws[1] - 1) * aspect_room
    height = (side * (area * (-log_aspect).exp()).sqrt()).round().clamp(1, side)
    width = (side * (area * log_aspect.exp()).sqrt()).round().clamp(1, side)
    top = (draws[2] * (side - height + 1)).floor().clamp(max=side - height)
    left = (draws[3] * (side - width + 1)).floor().clamp(max=side - width)
    return torch.stack([top, left, height, width], dim=1).long()


def crop_and_resize(photos: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """Crop each photo to its own box and resize with an antialiased bilinear filter.

    Done as two batched matrix products, one per axis: one code path for every device, equal to cropping and
    calling `F.interpolate(mode="bilinear", antialias=True)` image by image.

    Args:
        photos: (B, 3, S, S) uint8.
        boxes: (B, 4) integers (top, left, height, width).
        mirrored: (B,) bool, flip left and right.
        size: side of the result.

    Returns:
        (B, 3, size, size) float32 in [0, 1].
    """
    side = photos.shape[-1]
    rows = _resize_matrix(boxes[:, 0], boxes[:, 2], side, size)
    columns = _resize_matrix(boxes[:, 1], boxes[:, 3], side, size)
    columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
    with torch.autocast(photos.device.type, enabled=False):
        resized = rows[:, None] @ (photos.float() / 255) @ columns.transpose(1, 2)[:, None]
    return resized.clamp_(0, 1)


def _resize_matrix(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """Weights (B, size, side) of an antialiased linear resize of pixels start .. start + length to `size`."""
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    target = torch.arange(size, device=start.device, dtype=torch.float32)[None, :, None] + 0.5
    source = torch.arange(side, device=start.device, dtype=torch.float32)[None, None, :] + 0.5
    scale = length / size
    distance = (source - (start + target * scale)).abs() / scale.clamp(min=1)
    inside = (source > start) & (source < start + length)
    weights = (1 - distance).clamp(min=0) * inside
    return weights / weights.sum(dim=2, keepdim=True)


def load_photos(
    source: Path | str | Sequence[Path | str],
    size: int,
    *,
    limit: int | None = None,
    on_problem: Callable[[str], None],
    threads: int | None = None,
) -> PhotoSet:
    """Decode photos into memory, centre-cropped to a square and resized to `size`.

    Args:
        source: folders (with their subfolders), `.txt` lists (one path a line, relative to the list),
            `.tar` shards, photo files, or patterns such as `photos-*.tar`; one or several.
        size: side in pixels.
        limit: keep only the first so many photos.
        on_problem: called with one line per photo that cannot be read.
        threads: decoding threads; the number of processors if None.

    Raises:
        DataError: a source does not exist or no photo could be read.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    files = [file for item in sources for file in _resolve(Path(item))]
    names: list[tuple[Path, str | None]] = [entry for file in files for entry in _entries(file)]
    names = names[:limit]
    photos = np.empty((len(names), size, size, 3), dtype=np.uint8)
    kept: list[str] = []

    def settle(name: str, decoded: Future[np.ndarray]) -> None:
        try:
            photos[len(kept)] = decoded.result()
        except Exception as problem:  # any broken file: Pillow raises a dozen different classes
            on_problem(f"{name}: cannot be read as a photo, left out ({problem or type(problem).__name__})")
        else:
            kept.append(name)

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        waiting: list[tuple[str, Future[np.ndarray]]] = []
        for name, content in _contents(names):
            waiting.append((name, pool.submit(_decode, content, size)))
            if len(waiting) > _IN_FLIGHT:
                settle(*waiting.pop(0))
        for entry in waiting:
            settle(*entry)
    if not kept:
        tried = ", ".join(str(item) for item in sources)
        raise DataError(
            f"no readable photo in {tried} ({len(names)} tried); "
            "expected a folder of images, a .txt list or .tar shards"
        )
    # Channels first without a second full copy in memory beside it: photo by photo, in place.
    photos = photos[: len(kept)]
    flat = photos.reshape(len(kept), -1)
    for index in range(len(kept)):
        flat[index] = np.ascontiguousarray(photos[index].transpose(2, 0, 1)).ravel()
    tensor = torch.from_numpy(flat.reshape(len(kept), 3, size, size))
    return PhotoSet(tensor, tuple(kept), skipped=len(names) - len(kept))


def _resolve(source: Path) -> list[Path]:
    if any(character in source.name for character in "*?["):
        matches = sorted(source.parent.glob(source.name))
        if not matches:
            raise DataError(f"no file matches {source}; check the folder and the pattern")
        return matches
    if not source.exists():
        raise DataError(f"{source} does not exist; expected a folder of images, a .txt list or a .tar shard")
    return [source]


def _entries(source: Path) -> list[tuple[Path, str | None]]:
    """List (file, tar member or None) without reading pixels."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
        return [(path, None) for path in found]
    if source.suffix == ".txt":
        lines = (line.strip() for line in source.read_text(encoding="utf-8").splitlines())
        return [(source.parent / line, None) for line in lines if line and not line.startswith("#")]
    if source.suffix == ".tar":
        try:
            with tarfile.open(source) as shard:
                return [
                    (source, m.name)
                    for m in shard
                    if m.isfile() and Path(m.name).suffix.lower() in PHOTO_SUFFIXES
                ]
        except tarfile.TarError as problem:
            raise DataError(
                f"{source}: not a readable tar file ({problem}); copy or download it again"
            ) from None
    return [(source, None)]


def _contents(names: Iterable[tuple[Path, str | None]]) -> Iterator[tuple[str, bytes | Path]]:
    """Give each photo's name with its bytes (tar members, in order) or its path (files)."""
    for file, group in itertools.groupby(names, key=lambda entry: entry[0]):
        members = [member for _, member in group]
        if members[0] is None:
            yield from ((str(file), file) for _ in members)
            continue
        with tarfile.open(file) as shard:
            for member in members:
                extracted = shard.extractfile(member or "")
                yield f"{file.name}/{member}", extracted.read() if extracted else b""


def _decode(content: bytes | Path, size: int) -> np.ndarray:
    """Read one photo to (size, size, 3) uint8 RGB, upright."""
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image)


@functools.lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Give the order in which epoch number `epoch` visits `count` photos: a permutation, (count,) int64."""
    return torch.randperm(count, generator=make_generator(seed, "order", epoch))


def indices_at(count: int, batch_size: int, *, seed: int, images_seen: int) -> Tensor:
    """Give the photos of the batch that follows `images_seen` images: (batch_size,) int64.

    Batches run across the end of an epoch, so every photo is seen equally often. Nothing is remembered
    between calls: (seed, images_seen) is the whole state.
    """
    parts, position, missing = [], images_seen, batch_size
    while missing:
        epoch, offset = divmod(position, count)
        part = epoch_order(count, seed, epoch)[offset : offset + missing]
        parts.append(part)
        position, missing = position + len(part), missing - len(part)
    return torch.cat(parts)


def make_generator(seed: int, purpose: str, position: int) -> torch.Generator:
    """Make the CPU generator for one purpose ("crops", "masks", ...) at one position (images seen, epoch)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
