"""Photos that do not fit into memory: worker processes read, decode and crop them while the network learns.

Every image is made by number, so that the workers, however many, give the same images in the same order.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inpaint.data.augment import distort_as_lama, require_albumentations
from inpaint.data.config import DataConfig
from inpaint.data.crops import choose_crops, crop_photo, size_at
from inpaint.data.randomness import image_seed, indices_at
from inpaint.data.sources import PhotoIndex, decode_photo, describe_broken
from inpaint.errors import DataError

_MOST_WORKERS = 16
_PREFETCHED = 2  # each worker prepares so many
DrawMasks = Callable[[int, int, int], Tensor]  # of `count` images from `first` on, with sides of `size`
_TRIES = 64  # photos in a row that cannot be read: then the disk is gone, not a photo


class Order(NamedTuple):
    """What is to be made: images `first` and following of the run, from these photos."""

    first: int
    photos: list[int]
    size: int

    @classmethod
    def at(cls, images_seen: int, config: DataConfig, photos: int, rows: slice) -> Order:
        """These rows of the batch after so many images, of a run over so many photos."""
        chosen = indices_at(photos, config.batch_size, seed=config.seed, images_seen=images_seen)[rows]
        return cls(images_seen + rows.start, chosen.tolist(), size_at(config, images_seen, photos))


class Made(NamedTuple):
    """What a worker made: uint8, `(B, 3, S, S)` and `(B, 1, S, S)`."""

    image: Tensor
    mask: Tensor
    broken: dict[str, str]  # name and line of each photo that could not be read and was replaced


class PhotoStream:
    """A run's images and holes, made by worker processes."""

    def __init__(
        self,
        config: DataConfig,
        index: PhotoIndex,
        rows: slice,
        device: torch.device,
        draw_masks: DrawMasks,
        on_problem: Callable[[str], None],
    ) -> None:
        self._batch_size, self._index, self._device = config.batch_size, index, device
        self._on_problem, self._told = on_problem, set[str]()
        self._plan, self._next = _Plan(config, len(index), rows), -1
        workers = _default_workers() if config.workers is None else config.workers
        self._loader = DataLoader(
            _Maker(config, index, draw_masks),
            batch_size=None,
            sampler=self._plan,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            prefetch_factor=_PREFETCHED if workers else None,
            worker_init_fn=_begin_worker,
        )
        with _signals_kept():  # workers start here: in the main thread, and before there are others
            self._made: Iterator[Made | str] = iter(self._loader)

    def __len__(self) -> int:
        return len(self._index)

    def batch_at(self, images_seen: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) in [0, 1] and holes of the next batch; DataError if no photo can be read."""
        try:
            if images_seen != self._next:
                self._plan.begin = images_seen
                self._made = iter(self._loader)
            self._next = images_seen + self._batch_size
            made = next(self._made)
        except RuntimeError as problem:
            if "DataLoader worker (pid" not in str(problem):
                raise  # a fault of ours; what follows is for workers that were killed or had no room
            reason = str(problem).strip().splitlines()[0]
            raise DataError(
                f"a process that reads photos ended ({reason}); expected enough memory and shared memory for "
                "all of them: lower workers, or start the container with a larger --shm-size"
            ) from None
        if isinstance(made, str):
            raise DataError(made)
        for name, line in made.broken.items():
            if name not in self._told:
                self._told.add(name)
                self._on_problem(line)
        image, mask = (one.to(self._device, non_blocking=True).float() for one in (made.image, made.mask))
        return image.div_(255), mask


class _Plan:
    """Orders for this process's share of every batch from `begin` on, without end."""

    def __init__(self, config: DataConfig, photos: int, rows: slice) -> None:
        self._config, self._photos, self._rows = config, photos, rows
        self.begin: int | None = None  # nothing is ordered yet

    def __iter__(self) -> Iterator[Order]:
        if self.begin is None:
            return
        for images_seen in itertools.count(self.begin, self._config.batch_size):
            yield Order.at(images_seen, self._config, self._photos, self._rows)


class _Maker(Dataset[Made | str]):
    """Makes what is ordered; a copy of it lives in every worker."""

    def __init__(self, config: DataConfig, index: PhotoIndex, draw_masks: DrawMasks) -> None:
        self._config, self._index, self._draw_masks = config, index, draw_masks
        if config.augment.kind == "lama":
            require_albumentations()

    def __getitem__(self, order: Order) -> Made | str:
        """What is ordered, or why it cannot be made: an error would come with the worker's traceback."""
        crops = []
        broken: dict[str, str] = {}
        for row, number in enumerate(order.photos):
            photo = self._read(number, broken)
            if photo is None:
                last = list(broken.values())[-1]
                return f"{_TRIES} photos in a row cannot be read, the last one: {last}"
            crops.append(self._crop(photo, order.first + row, order.size))
        image = torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))
        mask = self._draw_masks(order.first, len(crops), order.size)
        return Made(image, mask.byte(), broken)

    def _read(self, number: int, broken: dict[str, str]) -> Image.Image | None:
        """A photo, or the next one that can be read."""
        for candidate in range(number, number + _TRIES):
            candidate %= len(self._index)
            try:
                return decode_photo(self._index.read(candidate))
            except Exception as problem:  # any broken file: Pillow raises a dozen different classes
                name = self._index.name(candidate)
                broken[name] = describe_broken(name, problem)
        return None

    def _crop(self, photo: Image.Image, number: int, size: int) -> NDArray[np.uint8]:
        config = self._config
        if config.augment.kind != "lama":
            boxes, mirrored = choose_crops(config, number, 1, photo.height, photo.width, size)
            return crop_photo(photo, boxes[0], mirrored[0], size)
        short_side = config.photo_size
        if short_side is not None and min(photo.size) > short_side:
            scale = short_side / min(photo.size)
            width, height = (max(short_side, round(side * scale)) for side in photo.size)
            photo = photo.resize((width, height), Image.Resampling.LANCZOS)
        return distort_as_lama(np.asarray(photo), size, image_seed(config.seed, "lama", number))


def _default_workers() -> int:
    """One a core, shared among the training processes that the launcher started on this machine."""
    share = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max(share, 1), _MOST_WORKERS)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo the loader's answer to a worker's death, which is to raise in whatever the main thread does then.

    :meth:`PhotoStream.batch_at` notices within seconds as well, and can tell what happened.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield  # the loader changes nothing there
        return
    answer = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, answer)


def _begin_worker(number: int) -> None:
    """In a worker: one thread, and the run's own answers to signals are not for it."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the run ends its workers itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
