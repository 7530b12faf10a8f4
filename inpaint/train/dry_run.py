"""Try a run before it begins: does its largest step fit into memory, and how much does a picture need?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from inpaint.data.batches import Batch
from inpaint.train.compute import explain_step_memory
from inpaint.train.config import AcrRunConfig, RunConfig
from inpaint.train.distributed import Processes
from inpaint.train.state import Stateful

_PICTURES_TRIED = 2  # in a dry run; BatchNorm wants more than one


class Parts(Protocol):
    """What `start_prior` and `start_acr` give."""

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds."""
        ...


AnyConfig = TypeVar("AnyConfig", bound=RunConfig)
AnyParts = TypeVar("AnyParts", bound=Parts)
Start = Callable[[AnyConfig, Processes], AnyParts]
Step = Callable[[AnyConfig, AnyParts, Batch, Processes], dict[str, Tensor]]


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found out, for one process.

    Attributes:
        parameters: of all networks that are saved, the averaged copy left out.
        trained: those of them that learn.
        fixed_bytes: of weights, gradients, optimizers, averages and copies, whatever the batch.
        bytes_per_image: kept from the forward for the backward pass, at its peak.
        images_at_once: of this process in one pass.
        seconds: of the step with two images.
        values: of that step.
    """

    parameters: int
    trained: int
    fixed_bytes: int
    bytes_per_image: int
    images_at_once: int
    seconds: float
    values: dict[str, float]

    @property
    def bytes(self) -> int:
        """An estimate of all: temporary buffers and photos come on top."""
        return self.fixed_bytes + self.images_at_once * self.bytes_per_image


def rehearse(
    config: AnyConfig,
    start: Start[AnyConfig, AnyParts],
    step: Step[AnyConfig, AnyParts],
    processes: Processes,
) -> None:
    """Take one full step with every loss at the largest size, and forget it: a run must not die hours later.

    Raises:
        InpaintError: it does not fit into memory.
    """
    rows = processes.rows(config.batch_size, config.accumulate)
    with explain_step_memory(config, processes.device):
        trial = with_every_loss(config)
        step(trial, start(trial, processes), _invented_batch(config, rows, processes.device), processes)
    if processes.device.type == "cuda":
        torch.cuda.empty_cache()


def dry_run(
    config: AnyConfig,
    start: Start[AnyConfig, AnyParts],
    step: Step[AnyConfig, AnyParts],
    processes: Processes,
) -> Rehearsal:
    """Take a step with two invented pictures and one with four, with every loss, and measure them.

    What the second keeps more is what pictures need; the rest is there whatever the batch.

    Raises:
        InpaintError: not even that fits into memory.
    """
    rows = processes.rows(config.batch_size, config.accumulate)
    trial = dataclasses.replace(with_every_loss(config), accumulate=1, compile=False)
    kept = []
    with explain_step_memory(config, processes.device):
        for count in (2 * _PICTURES_TRIED, _PICTURES_TRIED):
            small = dataclasses.replace(trial, batch_size=count)
            parts = start(small, processes)
            batch = _invented_batch(small, slice(0, count), processes.device)
            begun = time.monotonic()
            with SavedForBackward(parts) as saved:
                values = step(small, parts, batch, processes)
            numbers = {name: float(value) for name, value in values.items()}
            seconds = time.monotonic() - begun
            kept.append(saved.peak)
    bytes_per_image = max(kept[0] - kept[1], 0) // _PICTURES_TRIED
    trained = [p for module in _networks(parts) for p in module.parameters() if p.requires_grad]
    fixed_bytes = sum(_storages(parts).values()) + sum(p.numel() * p.element_size() for p in trained)
    return Rehearsal(
        parameters=sum(p.numel() for module in _networks(parts) for p in module.parameters()),
        trained=sum(p.numel() for p in trained),
        fixed_bytes=fixed_bytes + max(kept[1] - _PICTURES_TRIED * bytes_per_image, 0),
        bytes_per_image=bytes_per_image,
        images_at_once=(rows.stop - rows.start) // config.accumulate,
        seconds=seconds,
        values=numbers,
    )


def with_every_loss(config: AnyConfig) -> AnyConfig:
    """The run as it is when every loss has joined."""
    if isinstance(config, AcrRunConfig):
        return dataclasses.replace(config, adversarial_after_images=0)
    return config


class SavedForBackward:
    """Count, in a ``with`` block, the bytes that forward passes keep for backward passes.

    That is most of what a picture needs. Tensors of the networks themselves are not counted.

    Attributes:
        peak: the most bytes kept at once.
    """

    def __init__(self, parts: Parts) -> None:
        self.peak = 0
        self._known = set(_storages(parts))
        self._now = 0
        self._kept: dict[int, int] = {}  # how often each storage is kept
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)

    def __enter__(self) -> SavedForBackward:
        self._hooks.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._hooks.__exit__(*problem)

    def _pack(self, tensor: Tensor) -> _Kept:
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self._known:
            return _Kept(tensor, lambda: None)
        if self._kept.get(key, 0) == 0:
            self._now += size
            self.peak = max(self.peak, self._now)
        self._kept[key] = self._kept.get(key, 0) + 1

        def release() -> None:
            self._kept[key] -= 1
            if self._kept[key] == 0:
                self._now -= size

        return _Kept(tensor, release)


class _Kept:
    """A tensor kept for a backward pass; tells when it is let go."""

    def __init__(self, tensor: Tensor, release: Callable[[], None]) -> None:
        self.tensor = tensor
        self._release = release

    def __del__(self) -> None:
        self._release()


def _invented_batch(config: RunConfig, rows: slice, device: torch.device) -> Batch:
    """Pictures of noise with a box for a hole, at the run's largest size."""
    count, side = rows.stop - rows.start, config.size
    image = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros(count, 1, side, side, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return Batch(image, mask, 0, rows)


def _networks(parts: Parts) -> list[torch.nn.Module]:
    return [part for part in parts.stateful().values() if isinstance(part, torch.nn.Module)]


def _storages(parts: Parts) -> dict[int, int]:
    """Address and bytes of all memory a run's parts hold."""
    tensors = [tensor for part in parts.stateful().values() for tensor in _tensors(part.state_dict())]
    tensors += [buffer for network in _networks(parts) for buffer in network.buffers()]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _tensors(payload: Any) -> Iterator[Tensor]:
    if isinstance(payload, Tensor):
        yield payload
    elif isinstance(payload, dict):
        for value in payload.values():
            yield from _tensors(value)
