"""Images come in order, in batches of one shape, and only a few of them are ever waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from eval.tasks.pairs import find_task
from eval.tasks.stream import THREADS, image_tensor, mask_tensor, read_ahead, read_batches
from inpaint.errors import DataError


def test_results_come_in_order_and_few_are_read_ahead() -> None:
    read, lock, taken, most = 0, threading.Lock(), 0, 0

    def double(item: int) -> int:
        nonlocal read, most
        with lock:
            read += 1
            most = max(most, read - taken)
        return 2 * item

    results = []
    for result in read_ahead(range(500), double, size_of=lambda item: 10, budget=200):
        taken += 1
        results.append(result)
    assert results == [2 * item for item in range(500)]
    assert most <= max(200 // 10, THREADS) + 2


def test_an_error_comes_in_its_place_and_nothing_more_is_read() -> None:
    read = []

    def fail_at_three(item: int) -> int:
        read.append(item)
        if item == 3:
            raise DataError("third")
        return item

    results: Iterator[int] = read_ahead(range(10_000), fail_at_three)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="third"):
        next(results)
    assert len(read) < 100


def test_batches_are_of_one_shape_and_of_a_few_pixels(make_set: Callable) -> None:
    pictures = make_set(7, shapes=((24, 32), (16, 20)))
    task = find_task(pictures.gt, pictures.masks)
    batches = list(read_batches(task, task.pairs, None, pixels_at_once=2 * 24 * 32))
    assert [[e.pair.stem for e in batch] for batch in batches] == [
        ["p01", "p03", "p05"], ["p00", "p02"], ["p04", "p06"]
    ]  # fmt: skip
    assert [len(batch) for batch in read_batches(task, task.pairs, None, 1)] == [1] * 7  # never none


def test_tensors_have_the_words_of_the_house(make_set: Callable) -> None:
    pictures = make_set(2)
    task = find_task(pictures.gt, pictures.masks)
    (batch,) = read_batches(task, task.pairs, None, 10_000)
    image = image_tensor([e.image for e in batch], torch.device("cpu"))
    mask = mask_tensor([e.hole for e in batch], torch.device("cpu"))
    assert image.shape == (2, 3, 24, 32) and image.dtype == torch.float32 and image.is_contiguous()
    assert mask.shape == (2, 1, 24, 32) and mask.unique().tolist() == [0, 1]
    assert (image[1] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().tolist() == (
        pictures.pixels("p01").tolist()
    )
    assert mask.mean(dim=(1, 2, 3)).tolist() == pytest.approx([e.hole_ratio for e in batch])
