"""Trial steps: what a run needs, and the length of a run that fits a time budget."""

import dataclasses
import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from inpaint.data.batches import Batch, Batches
from inpaint.errors import ConfigError, DataError
from inpaint.train.config import AcrRunConfig, RunConfig, config_from_table
from inpaint.train.distributed import Processes
from inpaint.train.optimise import explain_step_memory
from inpaint.train.recipes import Recipe, build_recipe
from inpaint.train.state import list_states

_TIMED_STEPS, _TIMED_SECONDS = 3, 2.0
_RESERVE = 0.05  # of the time: sample grids, states, and steps that are slower than those measured
_LEAST_STEPS = 20
_LARGEST_WARMUP = 0.1  # of the run's images
_LONGEST_AVERAGE = 0.1  # of the run's steps
_SCALED_OF_ACR = ("adversarial_after_images", "l1_hole_until_images")
_SCALED = ("images", "warmup_images", "ema_decay", "milestones", *_SCALED_OF_ACR)
AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


class TrialStep(NamedTuple):
    """What a step has shown of a run, for one process."""

    parameters: int  # of all networks that are saved, the averaged copy left out
    trained: int  # those of them that are trained
    images: int
    seconds: float  # compiling included
    peak_bytes: int | None  # of the GPU's memory or of this process's; None where the system does not tell
    values: dict[str, float]


def trial_step(config: RunConfig, processes: Processes) -> TrialStep:
    """Take a step with every loss on random images of the largest size: a run must not die of it hours later.

    With all images of this process's share on a GPU, elsewhere with two, which take seconds. InpaintError if
    the step does not fit into memory.
    """
    rows, tried = processes.rows(config.batch_size, config.accumulate), _with_every_loss(config)
    count, device = rows.stop - rows.start, processes.device
    if device.type != "cuda":
        count, tried = 2, dataclasses.replace(tried, batch_size=2, accumulate=1, compile=False)
    with explain_step_memory(device, config):
        recipe = build_recipe(tried, processes)
        begun = time.monotonic()
        values = recipe.step(_random_batch(count, config.size, device))
        numbers = {name: float(value) for name, value in values.items()}
        seconds = time.monotonic() - begun
    if device.type == "cuda":
        torch.cuda.empty_cache()
    parts = [part for part in recipe.stateful().values() if isinstance(part, nn.Module)]
    parameters = [p for part in parts if part is not recipe.ema for p in part.parameters()]
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    return TrialStep(total, trained, count, seconds, _peak_bytes(device), numbers)


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _with_every_loss(config: AnyConfig) -> AnyConfig:
    """The run as it is once every loss has joined."""
    if isinstance(config, AcrRunConfig):
        return dataclasses.replace(config, adversarial_after_images=0, l1_hole_until_images=None)
    return config


def _random_batch(count: int, side: int, device: torch.device) -> Batch:
    """Images of noise with a box for a hole."""
    image = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros(count, 1, side, side, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return Batch(image, mask, 0, slice(0, count))


def fit_to_time(config: AnyConfig, minutes: float, processes: Processes) -> AnyConfig:
    """Give a run the length that fits a time budget, measured on a few of its own steps.

    A run that exists in its folder already keeps its length, so that it resumes the same curve.

    Returns:
        The run with other ``images``. Milestones and the images at which discriminators join or losses end
        are scaled in proportion; warm-up and the horizon of the moving average are limited to a tenth of it.

    Raises:
        ConfigError: the time is too short.
        DataError: the folder's record of its run cannot be read.
        InpaintError: a step does not fit into memory.
    """
    if list_states(config.out):
        return dataclasses.replace(config, **_recorded_length(config.out))
    begun = time.monotonic()
    with explain_step_memory(processes.device, config):
        batches = Batches(config, processes.device, lambda _: None, processes.rows(config.batch_size))
        recipe = build_recipe(_with_every_loss(config), processes)
        again = time.monotonic() - begun  # the run loads, builds and compiles once more
        per_step = 0.0
        for share, first in _phases(config):
            seconds, first_ones = _time_steps(recipe, batches, first, config, processes)
            per_step += share * seconds
            again += first_ones
    per_step, again, spent = _agreed(processes, per_step, again, time.monotonic() - begun)
    steps = int((60 * minutes - spent - again) * (1 - _RESERVE) / per_step)
    if steps < _LEAST_STEPS:
        needed = (spent + again + _LEAST_STEPS * per_step / (1 - _RESERVE)) / 60
        raise ConfigError(
            f"{minutes:g} minutes are enough for {max(steps, 0)} steps of {per_step:.3g} s, expected at "
            f"least {_LEAST_STEPS}: give {math.ceil(needed)} minutes or more, or lower size or batch_size"
        )
    return with_length(config, steps * config.batch_size)


def with_length(config: AnyConfig, images: int) -> AnyConfig:
    """Give a run another length, and scale what is counted in images or steps; see :func:`fit_to_time`."""
    scale, steps = images / config.images, images / config.batch_size
    changes = {
        "images": images,
        "milestones": tuple(sorted({max(1, round(milestone * scale)) for milestone in config.milestones})),
        "warmup_images": min(config.warmup_images, int(images * _LARGEST_WARMUP)),
        "ema_decay": min(config.ema_decay, max(0.0, 1 - 1 / (steps * _LONGEST_AVERAGE))),
    }
    for name in _SCALED_OF_ACR:
        if (count := getattr(config, name, None)) is not None:
            changes[name] = round(count * scale)
    return dataclasses.replace(config, **changes)


def _recorded_length(folder: Path) -> dict[str, Any]:
    """The length that a run's folder records, and what depends on it."""
    path = folder / "config.json"
    try:
        record = config_from_table(json.loads(path.read_text(encoding="utf-8")), source=str(path))
    except (OSError, ValueError, AttributeError, TypeError, ConfigError) as problem:
        raise DataError(
            f"{path}: cannot be read ({problem}), expected the resolved config of the run in this folder; "
            "give --images N, or name a new folder with --out"
        ) from None
    return {name: getattr(record, name) for name in _SCALED if hasattr(record, name)}


def _phases(config: RunConfig) -> list[tuple[float, int]]:
    """Parts of a run with a size of their own: their share of the images, and where they begin."""
    if config.early_size is None:
        return [(1.0, 0)]
    early_steps = math.ceil(config.early_share * config.images / config.batch_size)
    phases = [(config.early_share, 0), (1 - config.early_share, early_steps * config.batch_size)]
    return [(share, first) for share, first in phases if share > 0]


def _time_steps(
    recipe: Recipe, batches: Batches, first: int, config: RunConfig, processes: Processes
) -> tuple[float, float]:
    """Seconds of a step in the mean, and of the very first ones, which compile and allocate.

    Steps follow on ``first`` images; one with R1 counts as often as it comes. A GPU is waited for at the end
    of each timing only.
    """
    positions = itertools.count(first, config.batch_size)

    def seconds(count: int, *, with_r1: bool) -> float:
        begun = time.monotonic()
        for images_seen in itertools.islice(positions, count):
            batch = batches.batch_at(images_seen)
            recipe.step(batch._replace(images_seen=0 if with_r1 else config.batch_size))
        if processes.device.type == "cuda":
            torch.cuda.synchronize(processes.device)
        return time.monotonic() - begun

    every = config.r1_every if isinstance(config, AcrRunConfig) else 1
    first_ones = seconds(1, with_r1=True) + seconds(1, with_r1=False)
    (one,) = _agreed(processes, seconds(1, with_r1=False))  # all take equally many steps
    count = max(_TIMED_STEPS, round(_TIMED_SECONDS / max(one, 1e-9)))
    plain = seconds(count, with_r1=False) / count
    penalised = seconds(1, with_r1=True) if every > 1 else plain
    return (penalised + (every - 1) * plain) / every, first_ones


def _agreed(processes: Processes, *seconds: float) -> list[float]:
    """The means over the processes: the same numbers in each."""
    means = torch.tensor(seconds, device=processes.device)
    processes.average_([means])
    return means.tolist()
