"""Trial steps: the dry run, the memory probe, and the length of a run that fits a time budget."""

import dataclasses
import json
import math
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor

from inpaint.data.batches import Batch, Batches
from inpaint.errors import ConfigError, DataError
from inpaint.train.compute import explain_step_memory
from inpaint.train.config import AcrRunConfig, RunConfig, config_from_table
from inpaint.train.distributed import Processes
from inpaint.train.recipes import Recipe, build_recipe
from inpaint.train.state import list_states, walk

_IMAGES_TRIED = 2  # in a dry run; BatchNorm wants more than one
_TIMED_STEPS, _TIMED_SECONDS = 3, 2.0
_RESERVE = 0.05  # of the time: sample grids, states, and steps that are slower than those measured
_LEAST_STEPS = 20
_LARGEST_WARMUP = 0.1  # of the run's images
_LONGEST_AVERAGE = 0.1  # of the run's steps
_SCALED_OF_ACR = ("adversarial_after_images", "l1_hole_until_images")
_SCALED = ("images", "warmup_images", "ema_decay", "milestones", *_SCALED_OF_ACR)
AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a dry run found out, for one process."""

    parameters: int  # of all networks that are saved, the averaged copy left out
    trained: int  # those of them that are trained
    fixed_bytes: int  # weights, gradients, optimizers, averages and copies, whatever the batch
    bytes_per_image: int  # kept from the forward for the backward pass, at its peak
    images_at_once: int  # of this process in one pass
    seconds: float  # of the step with two images
    values: dict[str, float]  # of that step

    @property
    def bytes(self) -> int:
        """An estimate of the whole: temporary buffers and photos come on top."""
        return self.fixed_bytes + self.images_at_once * self.bytes_per_image


def probe_memory(config: RunConfig, processes: Processes) -> None:
    """Take one full step with every loss at the largest size: a run must not die of it hours later."""
    rows = processes.rows(config.batch_size, config.accumulate)
    with explain_step_memory(processes.device, config.step_numbers):
        recipe = build_recipe(_with_every_loss(config), processes)
        recipe.step(_random_batch(rows.stop - rows.start, config.size, processes.device))
    if processes.device.type == "cuda":
        torch.cuda.empty_cache()


def dry_run(config: RunConfig, processes: Processes) -> DryRun:
    """Take a step with four random images and one with two, with every loss, and measure them.

    What the first keeps more is what images need; the rest is there whatever the batch.

    Raises:
        InpaintError: not even that fits into memory.
    """
    rows = processes.rows(config.batch_size, config.accumulate)
    trial = dataclasses.replace(_with_every_loss(config), accumulate=1, compile=False)
    kept = []
    with explain_step_memory(processes.device, config.step_numbers):
        for count in (2 * _IMAGES_TRIED, _IMAGES_TRIED):
            recipe = build_recipe(dataclasses.replace(trial, batch_size=count), processes)
            batch = _random_batch(count, config.size, processes.device)
            begun = time.monotonic()
            with saved_for_backward(recipe) as saved:
                values = recipe.step(batch)
            numbers = {name: float(value) for name, value in values.items()}
            seconds = time.monotonic() - begun
            kept.append(saved.peak)
    bytes_per_image = max(kept[0] - kept[1], 0) // _IMAGES_TRIED
    parameters = [p for module in _networks(recipe) for p in module.parameters()]
    trained = [p for p in parameters if p.requires_grad]
    fixed_bytes = sum(_storages(recipe).values()) + sum(p.nbytes for p in trained)
    return DryRun(
        parameters=sum(p.numel() for p in parameters),
        trained=sum(p.numel() for p in trained),
        fixed_bytes=fixed_bytes + max(kept[1] - _IMAGES_TRIED * bytes_per_image, 0),
        bytes_per_image=bytes_per_image,
        images_at_once=(rows.stop - rows.start) // config.accumulate,
        seconds=seconds,
        values=numbers,
    )


def _with_every_loss(config: AnyConfig) -> AnyConfig:
    """The run as it is once every loss has joined."""
    if isinstance(config, AcrRunConfig):
        return dataclasses.replace(config, adversarial_after_images=0, l1_hole_until_images=None)
    return config


@contextmanager
def saved_for_backward(recipe: Recipe) -> Iterator[Any]:
    """Count the bytes that forward passes keep for backward passes: what is yielded has the most as ``peak``.

    That is most of what an image needs. Tensors of the networks themselves are not counted.
    """
    count, known, times_kept = SimpleNamespace(now=0, peak=0), set(_storages(recipe)), Counter[int]()

    def keep(tensor: Tensor) -> Callable[[], Tensor]:
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()

        def kept() -> Tensor:
            return tensor

        if key not in known:
            if times_kept[key] == 0:
                count.now += size
                count.peak = max(count.peak, count.now)
            times_kept[key] += 1
            weakref.finalize(kept, let_go, key, size)
        return kept

    def let_go(key: int, size: int) -> None:
        times_kept[key] -= 1
        if times_kept[key] == 0:
            count.now -= size

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept()):
        yield count


def _random_batch(count: int, side: int, device: torch.device) -> Batch:
    """Images of noise with a box for a hole."""
    image = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros(count, 1, side, side, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return Batch(image, mask, 0, slice(0, count))


def _networks(recipe: Recipe) -> list[torch.nn.Module]:
    parts = recipe.stateful().values()
    return [part for part in parts if isinstance(part, torch.nn.Module) and part is not recipe.ema]


def _storages(recipe: Recipe) -> dict[int, int]:
    """Address and bytes of all memory that a recipe holds."""
    states = [part.state_dict() for part in recipe.stateful().values()]
    tensors = [leaf for _, leaf in walk(states) if isinstance(leaf, Tensor)]
    tensors += [buffer for network in _networks(recipe) for buffer in network.buffers()]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


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
    with explain_step_memory(processes.device, config.step_numbers):
        batches = Batches(config, processes.device, lambda _: None, processes.rows(config.batch_size))
        recipe = build_recipe(_with_every_loss(config), processes)
        again = time.monotonic() - begun  # the run loads, builds and compiles once more
        per_step = 0.0
        every = config.r1_every if isinstance(config, AcrRunConfig) else 1
        for share, first in _phases(config):
            seconds, first_ones = _time_steps(recipe, batches, first, config.batch_size, every, processes)
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
        "milestones": tuple(max(1, round(milestone * scale)) for milestone in config.milestones),
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
    recipe: Recipe, batches: Batches, first: int, batch_size: int, r1_every: int, processes: Processes
) -> tuple[float, float]:
    """Seconds of a step in the mean, and of the very first ones, which compile and allocate.

    Steps follow on ``first`` images; one with R1 counts as often as it comes. A GPU is waited for at the end
    of each timing only.
    """
    following = first

    def seconds(count: int, *, with_r1: bool) -> float:
        nonlocal following
        begun = time.monotonic()
        for _ in range(count):
            batch = batches.batch_at(following)
            recipe.step(batch._replace(images_seen=0 if with_r1 else batch_size))
            following += batch_size
        if processes.device.type == "cuda":
            torch.cuda.synchronize(processes.device)
        return time.monotonic() - begun

    first_ones = seconds(1, with_r1=True) + seconds(1, with_r1=False)
    (one,) = _agreed(processes, seconds(1, with_r1=False))  # all take equally many steps
    count = max(_TIMED_STEPS, round(_TIMED_SECONDS / max(one, 1e-9)))
    plain = seconds(count, with_r1=False) / count
    penalised = seconds(1, with_r1=True) if r1_every > 1 else plain
    return (penalised + (r1_every - 1) * plain) / r1_every, first_ones


def _agreed(processes: Processes, *seconds: float) -> list[float]:
    """The means over the processes: the same numbers in each."""
    means = torch.tensor(seconds, device=processes.device)
    processes.average_([means])
    return means.tolist()
