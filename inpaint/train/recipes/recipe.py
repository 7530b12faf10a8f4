"""What a run trains, behind one interface: the loop, the dry run and the benchmarks know nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.train.optimise import Ema
from inpaint.train.state import Stateful


class Recipe(ABC):
    """Networks, optimizers and losses of a run, built from its config.

    Attributes:
        network: what is trained.
        ema: the averaged weights: what the checkpoint holds.
        optimizer: of the network.
        started_from: where the initial weights came from, for the checkpoint's notes.
    """

    network: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    started_from: str

    @abstractmethod
    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from this process's share of a batch; gives values for the log, means over that share."""

    @abstractmethod
    def sample_columns(self, batch: Batch) -> Mapping[str, Tensor]:
        """The columns of a sample grid, each ``(B, C, H, W)`` in [0, 1]."""
