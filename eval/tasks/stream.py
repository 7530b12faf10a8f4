"""Images from disk in batches of one shape, decoded ahead by threads, never more than a few at once."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.tasks.pairs import Pair, Predictions, Task

THREADS = min(8, os.cpu_count() or 1)
_BATCHES_AHEAD = 3


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


def read_batches(
    task: Task, pairs: Iterable[Pair], predictions: Predictions | None, pixels_at_once: int
) -> Iterator[list[Example]]:
    """Read images of a task in order, with a method's files, in batches of neighbours of one shape.

    A batch has no more than ``pixels_at_once``, unless one image alone does. Threads read a few batches
    ahead, and at least as many images as there are threads. InpaintError if a file cannot be read, or has
    another size than its partner.
    """

    def read(pair: Pair) -> Example:
        image, hole = task.read(pair)
        return Example(pair, image, hole, None if predictions is None else predictions.read(pair, hole.shape))

    waiting: deque[list[Future[Example]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for (height, width), alike in groupby(pairs, key=lambda pair: pair.shape):
            count = max(1, pixels_at_once // (height * width))
            while group := list(islice(alike, count)):
                waiting.append([pool.submit(read, pair) for pair in group])
                if len(waiting) > max(_BATCHES_AHEAD, THREADS // count):
                    yield from _results(waiting.popleft())
        while waiting:
            yield from _results(waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _results(group: Iterable[Future[Example]]) -> Iterator[list[Example]]:
    """What was read, apart by shape: some photos lie on their side until they are read."""
    examples = (each.result() for each in group)
    for _, batch in groupby(examples, key=lambda example: example.hole.shape):
        yield list(batch)


def image_tensor(images: Iterable[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Images of one shape as ``(B, 3, H, W)`` float in [0, 1]."""
    pixels = torch.from_numpy(np.stack(list(images))).to(device)
    return pixels.permute(0, 3, 1, 2).contiguous().float() / 255


def mask_tensor(holes: Iterable[NDArray[np.bool_]], device: torch.device) -> Tensor:
    """Holes of one shape as ``(B, 1, H, W)`` float, 1 = hole."""
    return torch.from_numpy(np.stack(list(holes))).to(device)[:, None].float()
