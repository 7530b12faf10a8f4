"""The batches of a run: images and holes that follow from the seed and the images seen, nothing else."""

import contextlib
import functools
import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inpaint.data.augment import DISTORTION_DRAWS, distort
from inpaint.data.config import DataConfig
from inpaint.data.crops import choose_crops
from inpaint.data.randomness import draw_masks, random_rows
from inpaint.data.sources import PhotoIndex, PhotoSet, describe_broken, index_photos, load_photos
from inpaint.data.stream import Order, PhotoStream
from inpaint.device import to_device
from inpaint.errors import DataError
from inpaint.random_masks import read_shapes

_SAMPLED = 32  # photos that are opened before the first step
_PREFETCHED = 2  # batches
Made = TypeVar("Made")


class Batch(NamedTuple):
    """One process's share of a step's images and holes, on the run's device."""

    image: Tensor  # `(B, 3, S, S)` in [0, 1]
    mask: Tensor  # `(B, 1, S, S)`, 1 = hole
    images_seen: int  # before this step: whatever else the step draws at random follows from it
    rows: slice  # which images of the whole step's these are

    def pieces(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """Image and mask in ``count`` equal parts, for gradient accumulation."""
        return list(zip(self.image.chunk(count), self.mask.chunk(count), strict=True))


class Batches:
    """Find a run's photos and hole shapes once, and give any of its batches.

    The next batches are made while the last one is learned from: a thread crops photos that are in memory,
    worker processes read those on disk.

    Raises:
        DataError: if no photo, or no hole shape that was asked for, can be read.
    """

    def __init__(
        self,
        config: DataConfig,
        device: torch.device,
        on_problem: Callable[[str], None],
        rows: slice | None = None,
    ) -> None:
        self._config, self._device, self._rows = config, device, rows or slice(0, config.batch_size)
        shapes = read_shapes(config.shapes) if config.shapes else None
        self._draw_masks = functools.partial(
            draw_masks, config.masks, batch_size=config.batch_size, seed=config.seed, shapes=shapes
        )
        index = index_photos(config.photos, limit=config.photo_limit, cache=config.out / "shards")
        _sample_photos(index, config.kept_size if config.keep == "memory" else config.size, on_problem)
        self._photos: PhotoSet | PhotoStream
        if config.keep == "memory":
            squeeze = config.augment.kind == "resize"
            self._photos = load_photos(index, config.kept_size, squeeze=squeeze, on_problem=on_problem)
            self._photos = self._photos.to(device)
        else:
            self._photos = PhotoStream(config, index, self._rows, device, self._draw_masks, on_problem)
        # On the network's own stream a batch would wait for whole steps of the network.
        self._stream = torch.cuda.Stream(device, priority=-1) if device.type == "cuda" else None
        self._prefetcher = Prefetcher[Batch](config.batch_size, config.images)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def batch_at(self, images_seen: int) -> Batch:
        """This process's share of the batch after ``images_seen`` images; DataError if none can be read."""
        batch = self._prefetcher.batch_at(images_seen, self._make)
        if self._stream is not None:
            network_stream = torch.cuda.current_stream(batch.image.device)
            for tensor in (batch.image, batch.mask):
                tensor.record_stream(network_stream)
        return batch

    def _make(self, images_seen: int) -> Batch:
        """Make a batch, on a GPU beside the network's work."""
        config, first = self._config, images_seen + self._rows.start
        with torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext():
            if isinstance(self._photos, PhotoStream):
                image, mask = self._photos.batch_at(images_seen)
            else:
                order = Order.at(images_seen, config, len(self), self._rows)
                side = self._photos.photos.shape[-1]
                crops = choose_crops(config, first, len(order.photos), side, side, order.size)
                image = self._photos.crop(order.photos, *crops, size=order.size, device=self._device)
                # Drawn with OpenCV also for a GPU: there every attempt at a mask would have to be waited for,
                # and an H100 made fewer of them than one processor core.
                mask = self._draw_masks(first, len(image), order.size)
                mask = to_device(mask.byte(), self._device).float()
            if config.augment.distorts:
                draws = random_rows(config.seed, "distortions", first, len(image), DISTORTION_DRAWS)
                image = distort(image, draws, config.augment)
        if self._stream is not None:
            self._stream.synchronize()
        return Batch(image, mask, images_seen, self._rows)


class Prefetcher(Generic[Made]):
    """Make batches in a thread, in order, before they are asked for.

    `step` are the images in a batch; no batch that begins at `end` or later is prefetched.
    """

    def __init__(self, step: int, end: int) -> None:
        self._step, self._end = step, end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._waiting: dict[int, Future[Made]] = {}

    def batch_at(self, images_seen: int, make: Callable[[int], Made]) -> Made:
        """What `make(images_seen)` gives or raises; starts on the batches after it."""
        if images_seen not in self._waiting:  # the first batch, or a jump: what was prefetched is of no use
            for future in self._waiting.values():
                future.cancel()
            self._waiting = {images_seen: self._thread.submit(make, images_seen)}
        for number in range(1, _PREFETCHED + 1):
            following = images_seen + number * self._step
            if following < self._end and following not in self._waiting:
                self._waiting[following] = self._thread.submit(make, following)
        return self._waiting.pop(images_seen).result()


def _sample_photos(index: PhotoIndex, size: int, on_problem: Callable[[str], None]) -> None:
    """Open a few photos before the first step, to tell early what is wrong with all of them."""
    sides, problem = [], ""
    for number in np.unique(np.linspace(0, len(index) - 1, _SAMPLED).astype(int)):
        try:
            with Image.open(io.BytesIO(index.read(number))) as photo:
                sides.append(min(photo.size))
        except Exception as error:  # Pillow raises a dozen different classes
            problem = describe_broken(index.name(number), error)
    if not sides:
        raise DataError(
            f"no readable photo among {min(_SAMPLED, len(index))} tried of {len(index)}: {problem}; expected "
            "images, and in a .txt list paths relative to the list's folder"
        )
    if (middle := int(np.median(sides))) < size:
        on_problem(f"photos of {middle} pixels (short side) are enlarged to {size}; lower size or photo_size")
