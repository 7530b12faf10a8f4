"""Sides of training crops that rise and fall from batch to batch, for networks that must work at any size."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

STEP = 16  # pixels between neighbouring sizes: one token of the prior


def cycling_sizes(
    photos: int, batch_size: int, rounds: int, smallest: int, largest: int
) -> NDArray[np.int64]:
    """Give the side of every batch of one epoch, falling and rising in steps of 16 pixels.

    An epoch is cut into `rounds` falls and rises, each of which stays equally long at every size. With several
    rounds the smallest size is held twice as long, so that an epoch may end within its last round; beyond the
    end of the list the size is `largest`.

    Args:
        photos: in the training set.
        batch_size: images per step, over all processes.
        rounds: of falling and rising per epoch.
        smallest: side in pixels.
        largest: side in pixels, a whole number of steps above `smallest`.

    Returns:
        (N,) sides, N at least the number of batches of an epoch.

    Source:
        The order of sizes of MAE-FAR's fine-tuning at 512 pixels, read off published numbers.
    """
    batches = photos // batch_size + 2
    slope = (largest + STEP - smallest) / (batches / rounds / 2)  # pixels per batch
    start = smallest if rounds == 1 else smallest - STEP
    rise = np.arange(start, largest + STEP, slope) // STEP * STEP
    rise = np.clip(rise, smallest, largest).astype(np.int64)
    return np.tile(np.concatenate([rise[::-1], rise]), 1 if rounds == 1 else rounds + 1)


def size_after(
    images_seen: int, photos: int, batch_size: int, rounds: int, smallest: int | None, largest: int
) -> int:
    """Give the side of the batch that follows `images_seen` images; without `smallest` always `largest`.

    Where an epoch has too few batches for so many rounds, it gets as many as visit every size.
    """
    if smallest is None:
        return largest
    batches = photos // batch_size
    sides = (largest - smallest) // STEP + 1
    sizes = _sizes_of_an_epoch(
        photos, batch_size, max(1, min(rounds, batches // (2 * sides))), smallest, largest
    )
    batch = images_seen // batch_size % max(1, batches)
    return int(sizes[batch]) if batch < len(sizes) else largest


_sizes_of_an_epoch = functools.lru_cache(maxsize=4)(cycling_sizes)
