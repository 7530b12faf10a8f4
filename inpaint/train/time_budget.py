"""A run that fits the time at hand: its own pace is measured, and its length follows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from inpaint.data.batches import Batch, Batches
from inpaint.errors import ConfigError, DataError
from inpaint.train.compute import explain_step_memory
from inpaint.train.config import AcrRunConfig, RunConfig, change_config
from inpaint.train.distributed import Processes
from inpaint.train.dry_run import AnyParts, Start, Step, with_every_loss
from inpaint.train.state import list_states

AnyConfig = TypeVar("AnyConfig", bound=RunConfig)

_TIMED_STEPS, _TIMED_SECONDS = 3, 2.0
_KEPT_FREE = 0.05  # of the time: sample sheets, states, and steps that are slower than those measured
_LEAST_STEPS = 20
_WARMUP_SHARE = 0.1  # of the run, at most
_REMEMBERED_SHARE = 0.1  # of the run's steps, at most, by the averaged weights


def fit_to_time(
    config: AnyConfig,
    minutes: float,
    start: Start[AnyConfig, AnyParts],
    step: Step[AnyConfig, AnyParts],
    processes: Processes,
) -> AnyConfig:
    """Give a run the length that fits into a time, measured on a few of its own steps, which are forgotten.

    A run that stands in its folder already keeps its length: only so does it go on with the same curve.

    Args:
        config: the run. With sizes that cycle, the largest is measured.
        minutes: for everything, what is measured here included.
        start: gives what the run begins with.
        step: takes one step.
        processes: that train together; all of them measure, and take the mean.

    Returns:
        The run with other ``images``, and what is counted in images or steps brought down in proportion:
        milestones and the discriminator's entry; warm-up and the memory of the average only where they would
        take more than a tenth of the run.

    Raises:
        ConfigError: the time is too short.
        DataError: the folder's record of its run cannot be read.
        InpaintError: a step does not fit into memory.
    """
    if list_states(config.out):
        return _length_kept(config)
    begun = time.monotonic()
    trial = with_every_loss(config)
    with explain_step_memory(config, processes.device):
        batches = Batches(config, processes.device, lambda _: None, processes.rows(config.batch_size))
        parts = start(trial, processes)
        again = time.monotonic() - begun  # the run loads, builds and compiles once more

        def learn(batch: Batch) -> None:
            step(trial, parts, batch, processes)

        per_step = 0.0
        for share, first in _phases(config):
            seconds, first_ones = _time_steps(config, batches, first, learn, processes)
            per_step += share * seconds
            again += first_ones
    per_step, again, spent = _agreed(processes, per_step, again, time.monotonic() - begun)
    steps = int((60 * minutes - spent - again) * (1 - _KEPT_FREE) / per_step)
    if steps < _LEAST_STEPS:
        needed = (spent + again + _LEAST_STEPS * per_step / (1 - _KEPT_FREE)) / 60
        raise ConfigError(
            f"{minutes:g} minutes are enough for {max(steps, 0)} steps of {per_step:.3g} s, expected at "
            f"least {_LEAST_STEPS}: give {math.ceil(needed)} minutes or more, or lower size or batch_size"
        )
    return with_length(config, steps * config.batch_size)


def with_length(config: AnyConfig, images: int) -> AnyConfig:
    """Give a run another length, and what is counted in images or steps with it; see :func:`fit_to_time`."""
    scale, steps = images / config.images, images / config.batch_size
    changes = {
        "images": images,
        "milestones": tuple(max(1, round(milestone * scale)) for milestone in config.milestones),
        "warmup_images": min(config.warmup_images, int(images * _WARMUP_SHARE)),
        "ema_decay": min(config.ema_decay, max(0.0, 1 - 1 / (steps * _REMEMBERED_SHARE))),
    }
    if isinstance(config, AcrRunConfig):
        changes["adversarial_after_images"] = round(config.adversarial_after_images * scale)
    return change_config(config, **changes)


def _length_kept(config: AnyConfig) -> AnyConfig:
    """The run with the length that its folder records."""
    path = config.out / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: record[key] for key in ("images", "warmup_images", "ema_decay")}
        kept["milestones"] = tuple(record["milestones"])
        if isinstance(config, AcrRunConfig):
            kept["adversarial_after_images"] = record["adversarial_after_images"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DataError(
            f"{path}: cannot be read ({problem}), expected the record of the run that stands in this folder; "
            "say --images N, or name a new folder with --out"
        ) from None
    return change_config(config, **kept)


def _phases(config: RunConfig) -> list[tuple[float, int]]:
    """Parts of a run with a size of their own: their share of the images, and where they begin."""
    if config.early_size is None:
        return [(1.0, 0)]
    early_steps = math.ceil(config.early_share * config.images / config.batch_size)
    phases = [(config.early_share, 0), (1 - config.early_share, early_steps * config.batch_size)]
    return [(share, first) for share, first in phases if share > 0]


def _time_steps(
    config: RunConfig,
    batches: Batches,
    first: int,
    learn: Callable[[Batch], None],
    processes: Processes,
) -> tuple[float, float]:
    """Time steps as they follow on ``first`` images; one with R1 counts as often as it comes.

    Returns:
        Seconds of a step in the mean, and of the very first ones, which compile and allocate.
    """
    taken = 0

    def seconds(count: int, *, with_r1: bool) -> float:
        """Of so many steps one after the other; a GPU is waited for only at their end."""
        nonlocal taken
        begun = time.monotonic()
        for _ in range(count):
            batch = batches.after(first + taken * config.batch_size)
            learn(batch._replace(images_seen=0 if with_r1 else config.batch_size))
            taken += 1
        if processes.device.type == "cuda":
            torch.cuda.synchronize(processes.device)
        return time.monotonic() - begun

    every = config.r1_every if isinstance(config, AcrRunConfig) else 1
    first_ones = seconds(1, with_r1=True) + seconds(1, with_r1=False)
    (one,) = _agreed(processes, seconds(1, with_r1=False))  # so that all take equally many steps
    count = max(_TIMED_STEPS, round(_TIMED_SECONDS / max(one, 1e-9)))
    plain = seconds(count, with_r1=False) / count
    penalised = seconds(1, with_r1=True) if every > 1 else plain
    return (penalised + (every - 1) * plain) / every, first_ones


def _agreed(processes: Processes, *seconds: float) -> list[float]:
    """The means over the processes: the same numbers in each."""
    means = torch.tensor(seconds, device=processes.device)
    processes.average_([means])
    return means.tolist()
