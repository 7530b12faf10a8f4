"""Images come in order, in batches of one shape, and only a few of them are ever waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from eval.tasks.pairs import Pair, Task, find_task
from eval.tasks.stream import THREADS, image_tensor, mask_tensor, read_batches
from inpaint.errors import DataError


@pytest.fixture
def task(make_set: Callable) -> Task:
    pictures = make_set(30)
    return find_task(pictures.gt, pictures.masks)


def test_images_come_in_order_and_few_are_read_ahead(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    started, lock, taken, most = 0, threading.Lock(), 0, 0
    read = Task.read

    def counted(self: Task, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        nonlocal started, most
        with lock:
            started += 1
            most = max(most, started - taken)
        return read(self, pair)

    monkeypatch.setattr(Task, "read", counted)
    stems = []
    for batch in read_batches(task, task.pairs, None, pixels_at_once=2 * 24 * 32):
        taken += len(batch)
        stems += [example.pair.stem for example in batch]
    assert stems == [pair.stem for pair in task.pairs]
    assert most <= max(THREADS, 2 * 3) + 2 * 2


def test_an_error_comes_in_its_place_and_nothing_more_is_read(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, read = [], Task.read

    def fail_at_three(self: Task, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        seen.append(pair.stem)
        if pair.stem == "p03":
            raise DataError("third")
        return read(self, pair)

    monkeypatch.setattr(Task, "read", fail_at_three)
    batches = read_batches(task, task.pairs, None, pixels_at_once=1)
    assert [example.pair.stem for _ in range(3) for example in next(batches)] == ["p00", "p01", "p02"]
    with pytest.raises(DataError, match="third"):
        next(batches)
    assert len(seen) < 30


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
