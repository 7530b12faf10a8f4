"""Sides of training crops that rise and fall from batch to batch, for networks that must work at any size."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from inpaint.data.config import SIZE_STEP, DataConfig


def cycling_sizes(
    photos: int, batch_size: int, rounds: int, smallest: int, largest: int
) -> NDArray[np.int64]:
    """Give the side of every batch of one epoch, falling and rising in steps of 16 pixels.

    An epoch is cut into `rounds` falls and rises, each of which stays equally long at every size. With
    several rounds the smallest size is held twice as long, so that an epoch may end within its last round;
    beyond the end of the list the size is `largest`.

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
    slope = (largest + SIZE_STEP - smallest) / (batches / rounds / 2)  # pixels per batch
    start = smallest if rounds == 1 else smallest - SIZE_STEP
    rise = np.arange(start, largest + SIZE_STEP, slope) // SIZE_STEP * SIZE_STEP
    rise = np.clip(rise, smallest, largest).astype(np.int64)
    return np.tile(np.concatenate([rise[::-1], rise]), 1 if rounds == 1 else rounds + 1)


def size_at(config: DataConfig, images_seen: int, photos: int) -> int:
    """Give the side of the batch that follows `images_seen` images of a run over so many photos.

    Where an epoch has too few batches for so many rounds, it gets as many as visit every size.
    """
    if config.early_size is not None and images_seen < config.early_share * config.images:
        return config.early_size
    if config.smallest_size is None:
        return config.size
    batches = photos // config.batch_size
    sides = (config.size - config.smallest_size) // SIZE_STEP + 1
    rounds = max(1, min(config.size_rounds, batches // (2 * sides)))
    sizes = _sizes_of_an_epoch(photos, config.batch_size, rounds, config.smallest_size, config.size)
    batch = images_seen // config.batch_size % max(1, batches)
    return int(sizes[batch]) if batch < len(sizes) else config.size


_sizes_of_an_epoch = functools.lru_cache(maxsize=4)(cycling_sizes)
