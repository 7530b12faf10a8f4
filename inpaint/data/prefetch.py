"""Prepare the next batches in a thread while the network works on the last one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")
_PREFETCHED = 2  # batches


class Prefetcher(Generic[Made]):
    """Call `make(images_seen)` for the next batches before they are asked for.

    Args:
        make: gives the batch that follows so many images; it is called in one thread, in order.
        step: images in a batch.
        end: no batch that begins there or later is prefetched.
    """

    def __init__(self, make: Callable[[int], Made], step: int, end: int) -> None:
        self._make, self._step, self._end = make, step, end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._waiting: dict[int, Future[Made]] = {}

    def batch_at(self, images_seen: int) -> Made:
        """What `make(images_seen)` gives or raises; starts on the batches after it."""
        if images_seen not in self._waiting:  # the first batch, or a jump: what was prefetched is of no use
            for future in self._waiting.values():
                future.cancel()
            self._waiting = {images_seen: self._thread.submit(self._make, images_seen)}
        for number in range(1, _PREFETCHED + 1):
            following = images_seen + number * self._step
            if following < self._end and following not in self._waiting:
                self._waiting[following] = self._thread.submit(self._make, following)
        return self._waiting.pop(images_seen).result()
