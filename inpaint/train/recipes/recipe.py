"""What a run trains, behind one interface: the loop, the dry run and the benchmarks know nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from inpaint.data.batches import Batch
from inpaint.train.averaging import Ema
from inpaint.train.config import AcrRunConfig, MaeRunConfig, RunConfig
from inpaint.train.distributed import Processes
from inpaint.train.recipes.acr import AcrRecipe
from inpaint.train.recipes.prior import PriorRecipe
from inpaint.train.state import Stateful


class Recipe(Protocol):
    """Networks, optimizers and losses of a run, built from its config."""

    ema: Ema
    """The averaged weights: what the checkpoint holds."""
    started_from: str
    """Where the initial weights came from, for the checkpoint's notes."""

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        ...

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from this process's share of a batch; gives values for the log, means over that share."""
        ...

    def sample_columns(self, batch: Batch) -> Mapping[str, Tensor]:
        """The columns of a sample grid, each ``(B, C, H, W)`` in [0, 1]."""
        ...


def build_recipe(config: RunConfig, processes: Processes) -> Recipe:
    """Build what a run of this kind trains; the same in every process.

    Raises:
        CheckpointError: a checkpoint to start from cannot be read or does not fit the preset.
        ConfigError: the config does not fit its preset.
    """
    if isinstance(config, MaeRunConfig):
        return PriorRecipe(config, processes)
    assert isinstance(config, AcrRunConfig)
    return AcrRecipe(config, processes)
