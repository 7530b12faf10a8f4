"""Square crops of photos: of which size, which part of a photo, resized on any device or in a worker."""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaint.data.config import SIZE_STEP, DataConfig
from inpaint.data.randomness import random_rows

Ints = NDArray[np.int64]

_DRAWS = 5  # random numbers a crop needs: area, aspect, top, left, mirror
_LARGEST_ASPECT = 4 / 3


def choose_crops(
    config: DataConfig, first: int, count: int, height: int, width: int, size: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """Choose the crops of images `first` to `first + count` of a run, from photos of one size.

    Gives (count, 4) boxes (top, left, height, width) and (count,) whether to mirror.
    """
    draws = random_rows(config.seed, "crops", first, count, _DRAWS)
    if config.augment.kind == "resize":
        boxes = np.tile(np.array([0, 0, height, width], np.int64), (count, 1))
    else:
        min_scale = config.min_scale
        if config.max_upscale is not None:
            smallest = size / config.max_upscale  # pixels a side of a square crop
            min_scale = max(min_scale, min(1.0, (smallest / min(height, width)) ** 2))
        boxes = random_boxes(draws, height, width, min_scale=min_scale)
    return boxes, draws[:, 4] < 0.5


def random_boxes(draws: NDArray[np.float64], height: int, width: int, *, min_scale: float) -> Ints:
    """Choose crop boxes (top, left, height, width), (B, 4), of an aspect ratio of at most 4:3 inside photos.

    `draws` are (B, 4 or more) in [0, 1): area, aspect, top, left. `min_scale`, in (0, 1], is the smallest
    area of a box as a part of the largest one with such an aspect ratio.
    """
    largest_h, largest_w = min(height, width * _LARGEST_ASPECT), min(width, height * _LARGEST_ASPECT)
    area = (min_scale + (1 - min_scale) * draws[:, 0]) * largest_h * largest_w
    # The aspect is held back where it would push a side out of the photo, so that nothing has to be redrawn.
    low = np.maximum(np.log(area / largest_h**2), -math.log(_LARGEST_ASPECT))
    high = np.minimum(np.log(largest_w**2 / area), math.log(_LARGEST_ASPECT))
    log_aspect = low + (high - low) * draws[:, 1]
    box_h = np.sqrt(area * np.exp(-log_aspect)).round().clip(1, height)
    box_w = np.sqrt(area * np.exp(log_aspect)).round().clip(1, width)
    top = np.minimum(np.floor(draws[:, 2] * (height - box_h + 1)), height - box_h)
    left = np.minimum(np.floor(draws[:, 3] * (width - box_w + 1)), width - box_w)
    return np.stack([top, left, box_h, box_w], axis=1).astype(np.int64)


def crop_photo(photo: Image.Image, box: Ints, mirrored: np.bool_, size: int) -> NDArray[np.uint8]:
    """Crop one photo, resize it (antialiased bilinear), and flip it if asked: (size, size, 3) uint8."""
    top, left, height, width = (int(number) for number in box)
    cut = photo.crop((left, top, left + width, top + height))
    crop = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR))
    return crop[:, ::-1] if mirrored else crop


def crop_and_resize(photos: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """Crop photos (B, 3, S, S) uint8, each to its own box, and resize: (B, 3, size, size) float32 in [0, 1].

    Done as two batched matrix products, one per axis: one code path for every device, equal to cropping and
    calling `F.interpolate(mode="bilinear", antialias=True)` image by image. `boxes` are (B, 4) integers (top,
    left, height, width), `mirrored` (B,) bool.
    """
    side = photos.shape[-1]
    rows = _resize_matrix(boxes[:, 0], boxes[:, 2], side, size)
    columns = _resize_matrix(boxes[:, 1], boxes[:, 3], side, size)
    columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
    with torch.autocast(photos.device.type, enabled=False):
        resized = rows[:, None] @ (photos.float() / 255) @ columns.transpose(1, 2)[:, None]
    return resized.clamp_(0, 1)


def _resize_matrix(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """Weights (B, size, side) of an antialiased linear resize of pixels start .. start + length to `size`."""
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    target = torch.arange(size, device=start.device, dtype=torch.float32)[None, :, None] + 0.5
    source = torch.arange(side, device=start.device, dtype=torch.float32)[None, None, :] + 0.5
    scale = length / size
    distance = (source - (start + target * scale)).abs() / scale.clamp(min=1)
    inside = (source > start) & (source < start + length)
    weights = (1 - distance).clamp(min=0) * inside
    return weights / weights.sum(dim=2, keepdim=True)


@functools.lru_cache(maxsize=4)
def cycling_sizes(photos: int, batch_size: int, rounds: int, smallest: int, largest: int) -> Ints:
    """Give the side of every batch of one epoch, falling and rising in steps of 16 pixels.

    An epoch is cut into `rounds` falls and rises, each of which stays equally long at every size. With
    several rounds the smallest size is held twice as long, so that an epoch may end within its last round;
    beyond the end of the list the size is `largest`, a whole number of steps above `smallest`.

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
    sizes = cycling_sizes(photos, config.batch_size, rounds, config.smallest_size, config.size)
    batch = images_seen // config.batch_size % max(1, batches)
    return int(sizes[batch]) if batch < len(sizes) else config.size
