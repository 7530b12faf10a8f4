"""The batches of a run: photo crops and holes that follow from the seed and the images seen, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inpaint.strokes import make_masks, read_shapes
from inpaint.train.config import RunConfig
from inpaint.train.data import indices_at, load_photos, make_generator


class Batch(NamedTuple):
    """One process's share of a step's pictures and holes."""

    image: Tensor
    """``(B, 3, S, S)`` in [0, 1], on the run's device."""
    mask: Tensor
    """``(B, 1, S, S)``, 1 = hole, on the run's device."""
    images_seen: int
    """By the run before this step: whatever else the step draws at random follows from it."""
    rows: slice
    """Which pictures of the whole step's these are."""

    def pieces(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """Image and mask in ``count`` equal parts, for gradient accumulation."""
        return list(zip(self.image.chunk(count), self.mask.chunk(count), strict=True))


class Batches:
    """Load a run's photos and hole shapes once, and draw any of its batches.

    Args:
        config: the run.
        device: where batches are wanted; the photos are kept there too.
        on_problem: called with one line per photo that cannot be read.
        rows: this process's share of every step's ``batch_size`` pictures; None takes all.

    Raises:
        DataError: if no photo, or no hole shape that was asked for, can be read.
    """

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        on_problem: Callable[[str], None],
        rows: slice | None = None,
    ) -> None:
        self._config = config
        self._device = device
        self._rows = rows or slice(0, config.batch_size)
        self._photos = load_photos(
            config.photos, config.photo_size, limit=config.photo_limit, on_problem=on_problem
        ).to(device)
        self._shapes = read_shapes(config.shapes) if config.shapes else None

    def after(self, images_seen: int) -> Batch:
        """This process's share of the batch that follows ``images_seen`` images."""
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
        mask = make_masks("mixed", count, size, size, holes, shapes=self._shapes)
        return Batch(image[self._rows], mask[self._rows].to(self._device), images_seen, self._rows)
