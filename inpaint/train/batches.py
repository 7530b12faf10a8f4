"""The batches of a run: photo crops and holes that follow from the seed and the images seen, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inpaint.strokes import ObjectShapes, make_mixed_masks
from inpaint.train.config import RunConfig
from inpaint.train.data import indices_at, load_photos, make_generator


class Batch(NamedTuple):
    """One step's pictures and holes."""

    image: Tensor
    """``(B, 3, S, S)`` in [0, 1], on the run's device."""
    mask: Tensor
    """``(B, 1, S, S)``, 1 = hole, on the run's device."""
    generator: torch.Generator
    """Where the drawing of the masks left off: for whatever else the step draws at random."""


class Batches:
    """Load a run's photos and hole shapes once, and draw any of its batches.

    Args:
        config: the run.
        device: where batches are wanted; the photos are kept there too.
        on_problem: called with one line per photo that cannot be read.

    Raises:
        DataError: if no photo, or no hole shape that was asked for, can be read.
    """

    def __init__(self, config: RunConfig, device: torch.device, on_problem: Callable[[str], None]) -> None:
        self._config = config
        self._device = device
        self._photos = load_photos(
            config.photos, config.photo_size, limit=config.photo_limit, on_problem=on_problem
        ).to(device)
        self._shapes = ObjectShapes.from_zip(config.shapes) if config.shapes else None

    def after(self, images_seen: int) -> Batch:
        """The batch that follows ``images_seen`` images."""
        count, size, seed = self._config.batch_size, self._config.size, self._config.seed
        indices = indices_at(len(self._photos), count, seed=seed, images_seen=images_seen)
        image = self._photos.batch(
            indices,
            size=size,
            generator=make_generator(seed, "crops", images_seen),
            device=self._device,
            min_scale=self._config.min_scale,
        )
        holes = make_generator(seed, "masks", images_seen)
        mask = make_mixed_masks(count, size, size, holes, self._shapes)
        return Batch(image, mask.to(self._device), holes)
