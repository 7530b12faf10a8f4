"""Distortions beyond crops: whole batches on a device with kornia, LaMa's set in workers with albumentations.

Every image's distortion follows from its own random numbers, so that it is the same whatever the batch, the
process or the worker it is made in.
"""

import functools
import math
import os
import random
import threading
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inpaint.data.config import Augment
from inpaint.errors import require

DISTORTION_DRAWS = 14  # random numbers a distortion needs: angle, zoom, four corners (x, y), four colours


@torch.no_grad()
def distort(image: Tensor, draws: NDArray[np.float64], settings: Augment) -> Tensor:
    """Turn, zoom, tilt and recolour each image of a batch on its device: (B, 3, S, S) float32 in [0, 1].

    What comes in from outside the image is its reflection. `draws` are (B, `DISTORTION_DRAWS`) in [0, 1),
    `settings` how far each distortion goes at most.
    """
    kornia = require("kornia", "a run that rotates, zooms, tilts or recolours images", "train")
    enhance, warp_perspective = kornia.enhance, kornia.geometry.transform.warp_perspective
    spread = torch.from_numpy(2 * draws - 1)  # (B, 14) in [-1, 1)
    with torch.autocast(image.device.type, enabled=False):
        if settings.rotate or settings.zoom or settings.perspective:
            matrix = _movements(spread, image.shape[-1], settings).float().to(image.device)
            size = (image.shape[-2], image.shape[-1])
            image = warp_perspective(image, matrix, size, padding_mode="reflection")
        brightness, contrast, saturation, hue = spread[:, 10:].float().to(image.device).unbind(1)
        if settings.brightness:
            image = enhance.adjust_brightness_accumulative(image, 1 + settings.brightness * brightness)
        if settings.contrast:
            image = enhance.adjust_contrast_with_mean_subtraction(image, 1 + settings.contrast * contrast)
        if settings.saturation:
            image = enhance.adjust_saturation(image, 1 + settings.saturation * saturation)
        if settings.hue:
            image = enhance.adjust_hue(image, 2 * math.pi * settings.hue * hue)
    return image.clamp(0, 1)


def require_albumentations() -> Any:
    """Import the library that :func:`distort_as_lama` needs; InpaintError if it is not installed."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for news
    return require("albumentations", "augment.kind = 'lama'", "train")


def distort_as_lama(photo: NDArray[np.uint8], size: int, seed: int) -> NDArray[np.uint8]:
    """Distort and crop one photo as for LaMa: perspective, turn and zoom, lens, crop, flip, colours.

    From (H, W, 3) uint8, mirrored at its edges where it is smaller than the crop, to (size, size, 3). The
    same `seed` gives the same crop.

    Source:
        Suvorov et al., LaMa (WACV 2022): scale 0.7 to 1.3, 40 degrees, brightness and contrast 0.2; each
        distortion on half of the photos. Strengths of the others: small ones of our choice.
    """
    pipeline = _lama_pipeline(size, threading.get_ident())  # it has a random state
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return pipeline(image=photo)["image"]


@functools.lru_cache(maxsize=64)  # sizes may cycle
def _lama_pipeline(size: int, thread: int) -> Any:
    A, mirror = require_albumentations(), cv2.BORDER_REFLECT_101
    return A.Compose(
        [
            A.Perspective(scale=(0.0, 0.06), border_mode=mirror),
            A.Affine(scale=(0.7, 1.3), rotate=(-40, 40), keep_ratio=True, p=0.5, border_mode=mirror),
            A.PadIfNeeded(size, size, border_mode=mirror),
            A.OpticalDistortion(distort_limit=0.05, border_mode=mirror),
            A.RandomCrop(size, size),
            A.HorizontalFlip(),
            A.CLAHE(),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2),
            A.HueSaturationValue(hue_shift_limit=5, sat_shift_limit=30, val_shift_limit=5),
        ]
    )


def _movements(spread: Tensor, side: int, settings: Augment) -> Tensor:
    """Homographies (B, 3, 3) in pixels: turn and zoom about the centre, then pull points to the corners."""
    from kornia.geometry.transform import get_affine_matrix2d, get_perspective_transform

    count, last = len(spread), side - 1
    centre = torch.full((count, 2), last / 2, dtype=spread.dtype)
    scale = torch.exp(math.log1p(settings.zoom) * spread[:, 1, None]).expand(-1, 2)
    turned = get_affine_matrix2d(torch.zeros_like(centre), centre, scale, settings.rotate * spread[:, 0])
    corners = torch.tensor([[0, 0], [last, 0], [last, last], [0, last]], dtype=spread.dtype)
    inwards = torch.where(corners > 0, -1.0, 1.0)
    reach = settings.perspective * side * (spread[:, 2:10].reshape(count, 4, 2) + 1) / 2
    tilted = get_perspective_transform(corners + inwards * reach, corners.expand(count, 4, 2))
    return tilted @ turned
