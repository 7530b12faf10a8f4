"""Images from disk in batches of one shape, decoded ahead by threads, never more than a few at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.tasks.pairs import Pair, Predictions, Task

THREADS = min(8, os.cpu_count() or 1)
_BATCHES_AHEAD = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


class Example(NamedTuple):
    """An image, ``(H, W, 3)`` RGB, its hole, ``(H, W)``, True = hole, and its prediction, if it is a file."""

    pair: Pair
    image: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    prediction: NDArray[np.uint8] | None

    @property
    def hole_ratio(self) -> float:
        """Share of the pixels that is hole."""
        return float(self.hole.mean())


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Result],
    *,
    size_of: Callable[[Item], int] = lambda item: 1,
    budget: int = 2 * THREADS,
) -> Iterator[Result]:
    """Read items in threads, in order, ahead of who takes them.

    An error of ``read`` is raised in the place of its result. Items are read until the sizes of those that
    wait reach the budget, and at least one a thread.
    """
    waiting: deque[tuple[Future[Result], int]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        ahead = 0
        for item in items:
            waiting.append((pool.submit(read, item), size_of(item)))
            ahead += size_of(item)
            while ahead > budget and len(waiting) > THREADS:
                result, size = waiting.popleft()
                ahead -= size
                yield result.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_batches(
    task: Task, pairs: Iterable[Pair], predictions: Predictions | None, pixels_at_once: int
) -> Iterator[list[Example]]:
    """Read images of a task in order, with a method's files, in batches of neighbours of one shape.

    A batch has no more than ``pixels_at_once``, unless one image alone does.

    Raises:
        InpaintError: a file cannot be read, or has another size than its partner.
    """

    def read(pair: Pair) -> Example:
        image, hole = task.read(pair)
        return Example(pair, image, hole, None if predictions is None else predictions.read(pair, hole.shape))

    def size_of(pair: Pair) -> int:
        return pair.shape[0] * pair.shape[1]

    batch: list[Example] = []
    for example in read_ahead(pairs, read, size_of=size_of, budget=_BATCHES_AHEAD * pixels_at_once):
        full = (len(batch) + 1) * example.hole.size > pixels_at_once
        if batch and (full or example.hole.shape != batch[0].hole.shape):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def image_tensor(images: Iterable[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Images of one shape as ``(B, 3, H, W)`` float in [0, 1]."""
    pixels = torch.from_numpy(np.stack(list(images))).to(device)
    return pixels.permute(0, 3, 1, 2).contiguous().float() / 255


def mask_tensor(holes: Iterable[NDArray[np.bool_]], device: torch.device) -> Tensor:
    """Holes of one shape as ``(B, 1, H, W)`` float, 1 = hole."""
    return torch.from_numpy(np.stack(list(holes))).to(device)[:, None].float()
