"""What the kinds of runs train, and how they take a step."""

from inpaint.train.config import AcrRunConfig, MaeRunConfig, RunConfig
from inpaint.train.distributed import Processes
from inpaint.train.recipes.acr import AcrRecipe
from inpaint.train.recipes.prior import PriorRecipe

Recipe = PriorRecipe | AcrRecipe
"""Networks, optimizers and losses of a run; loop, dry run and benchmarks know nothing else of it."""


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
