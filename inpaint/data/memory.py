"""Photos that fit into memory: decoded once, kept as bytes, cropped and flipped on any device.

A few thousand photos at 256 pixels are 200 kB each, so the whole set fits into host or device memory and no
loader stands between it and the network. Sets that do not fit: :mod:`inpaint.data.stream`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaint.data.crops import crop_and_resize
from inpaint.data.sources import PhotoIndex, decode_photo, describe_broken
from inpaint.errors import DataError

_DEVICE_SHARE = 0.5  # of a device's free memory that photos may take; the network needs the rest


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

    Raises:
        DataError: no photo could be read, or there are more than the machine's memory holds.
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
