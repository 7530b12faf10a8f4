"""One run in several processes: each takes its share of every batch, and together they take the same step.

Processes are started by `accelerate launch` (or `torchrun`), which tells each its place through environment
variables. Gradients are averaged explicitly after the backward pass, and BatchNorm sees the images of all
processes, so that a run gives the same curve however many processes share its batches.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from inpaint.device import choose_device
from inpaint.errors import ConfigError, InpaintError, require


@dataclass(frozen=True)
class Processes:
    """This process among those that share a run; made by :func:`join_processes`."""

    device: torch.device  # where this process computes
    index: int = 0  # its number; number 0 is the main one and the only one that writes
    count: int = 1  # of processes
    host_group: Any = None  # for messages between the processors, beside those between devices

    @property
    def is_main(self) -> bool:
        """Does this process write the run's files?"""
        return self.index == 0

    def rows(self, batch_size: int, accumulate: int = 1) -> slice:
        """This process's rows of a batch over all processes; ConfigError if it cannot be split evenly."""
        if batch_size % (self.count * accumulate):
            raise ConfigError(
                f"batch_size is {batch_size}, expected a multiple of {self.count * accumulate} "
                f"({self.count} processes x accumulate {accumulate})"
            )
        share = batch_size // self.count
        return slice(self.index * share, (self.index + 1) * share)

    @torch.no_grad()
    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes; every process must give the same shapes."""
        tensors = list(tensors)
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])  # one message instead of hundreds
        torch.distributed.all_reduce(flat)
        parts = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the gradient of the mean loss over all processes."""
        self.average_(parameter.grad for parameter in parameters if parameter.grad is not None)

    def any_raised(self, flags: list[bool]) -> list[bool]:
        """Which of the flags are up in at least one process? All processes must ask."""
        if self.count == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        torch.distributed.all_reduce(raised, torch.distributed.ReduceOp.MAX, group=self.host_group)
        return raised.bool().tolist()

    def check_agreed(self, value: int, what: str) -> None:
        """Stop, by an InpaintError, where processes would go on from different points."""
        if self.count == 1:
            return
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value, group=self.host_group)
        if len(set(values)) > 1:
            raise InpaintError(
                f"the processes found {what} {values}, expected one value; "
                "the run's out folder must be one that every machine sees"
            )

    def share_statistics(self, network: nn.Module) -> None:
        """Let the network's BatchNorms see the images of all processes; its state keeps its keys."""
        if self.count == 1:
            return
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = SharedBatchNorm2d  # same parameters and buffers, another forward

    def leave(self) -> None:
        """Part from the others, at the end of a run."""
        if self.count > 1:
            torch.distributed.destroy_process_group()


def join_processes(device: str, threads: int | None = None) -> Processes:
    """Take this process's place among those that were launched together; alone without a launcher.

    Raises:
        InpaintError: accelerate is not installed, or the device is not here.
        ConfigError: one device was named for several processes.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    count = int(os.environ.get("WORLD_SIZE", "1"))  # as the launcher says
    if count == 1:
        return Processes(choose_device(device))
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {device!r} with {count} processes, expected auto, cpu or cuda")
    chosen = choose_device(device)
    accelerate = require("accelerate", "training in several processes", "train")
    state = accelerate.PartialState(cpu=chosen.type == "cpu")
    if state.device.type == "cuda":
        torch.cuda.set_device(state.device)
    host_group = torch.distributed.new_group(backend="gloo")
    return Processes(state.device, state.process_index, state.num_processes, host_group)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the images of all processes, differentiable twice (R1 needs that).

    Statistics are taken in float32 at least. In evaluation it is the plain BatchNorm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)`` by the mean and variance over this batch in every process."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.autocast(input.device.type, enabled=False):
            features = input.to(torch.promote_types(input.dtype, torch.float32))
            variance, mean = torch.var_mean(features, dim=(0, 2, 3), correction=0)
            # As many images everywhere: the whole's mean and variance follow from those of the parts.
            means, variances = _gather(torch.stack([mean, variance])).unbind(1)
            mean = means.mean(0)
            variance = (variances + (means - mean).square()).mean(0)
            with torch.no_grad():  # as in the plain BatchNorm: the running variance is the unbiased one
                count = len(means) * features[:, 0].numel()
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                unbiased = variance * (count / max(count - 1, 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            scale = self.weight * (variance + self.eps).rsqrt()
            shift = self.bias - mean * scale
            normalised = features * scale[:, None, None] + shift[:, None, None]
        return normalised.to(input.dtype)


@torch.compiler.disable()
def _gather(tensor: Tensor) -> Tensor:
    """Stack a tensor of every process, ``(processes, ...)``, differentiably, also the gradient."""
    index, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return all_reduce(F.pad(tensor[None], [0, 0] * tensor.ndim + [index, count - 1 - index]))
