"""Everything random in a run, as a function of the seed and the number of an image: nothing is remembered.

A run's images are numbered from 0, and photo, crop and mask of image `n` follow from (seed, n), the mask from
the batch size as well. So a run that is stopped and started again sees the same images, whatever number of
processes draws them.
"""

import functools
import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inpaint.random_masks import ObjectShapes, make_masks

_PHILOX_BLOCK = 4  # numbers the generator makes at once; its jumps count in these
_LARGEST_MASK_BLOCK = 64


def random_rows(seed: int, purpose: str, first: int, count: int, columns: int) -> NDArray[np.float64]:
    """The random numbers of images `first` to `first + count`: (count, columns) in [0, 1).

    All rows lie in one long stream of a counter-based generator, which can jump to any of them; each
    `purpose` ("crops", "colours", ...) has its own stream.
    """
    blocks = -(-columns // _PHILOX_BLOCK)
    stream = np.random.Philox(key=_digest(seed, purpose, size=16)).advance(first * blocks)
    return np.random.Generator(stream).random((count, blocks * _PHILOX_BLOCK))[:, :columns]


def make_generator(seed: int, purpose: str, position: int) -> torch.Generator:
    """Make the CPU generator for one purpose ("masks", "tokens", ...) at one position (image, epoch)."""
    return torch.Generator().manual_seed(image_seed(seed, purpose, position))


def image_seed(seed: int, purpose: str, number: int) -> int:
    """Give the seed, in [0, 2^63), for libraries that want one of their own for each image."""
    return _digest(seed, purpose, number, size=8) >> 1


@functools.lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Give the order in which epoch number `epoch` visits `count` photos: a permutation, (count,) int64."""
    return torch.randperm(count, generator=make_generator(seed, "order", epoch))


def indices_at(count: int, batch_size: int, *, seed: int, images_seen: int) -> Tensor:
    """Give the photos of the batch that follows `images_seen` images: (batch_size,) int64.

    Batches run across the end of an epoch, so every photo is seen equally often.
    """
    parts, position, missing = [], images_seen, batch_size
    while missing:
        epoch, offset = divmod(position, count)
        part = epoch_order(count, seed, epoch)[offset : offset + missing]
        parts.append(part)
        position, missing = position + len(part), missing - len(part)
    return torch.cat(parts)


def draw_masks(
    kind: str, first: int, count: int, size: int, *, batch_size: int, seed: int, shapes: ObjectShapes | None
) -> Tensor:
    """Draw the masks of images `first` to `first + count`: (count, 1, size, size) float32, 1 = hole.

    Masks are cheaper by the block than one by one, so each belongs to a block with a seed of its own, and a
    process draws the blocks that its images are in. Blocks divide a batch: hardly any is drawn twice.
    """
    block = math.gcd(batch_size, _LARGEST_MASK_BLOCK)
    numbers = range(first // block, -(-(first + count) // block))
    masks = [
        make_masks(kind, block, size, size, make_generator(seed, "masks", number), shapes=shapes)
        for number in numbers
    ]
    start = first - numbers.start * block
    return torch.cat(masks)[start : start + count]


def _digest(*parts: int | str, size: int) -> int:
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest(), "little")
