"""How a step is computed, and how it changes weights: precision, optimizers, learning rates, averages."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inpaint.device import bf16_speedup, explain_out_of_memory
from inpaint.train.config import Precision, RunConfig
from inpaint.train.distributed import Processes

_WORTHWHILE = 1.15  # bfloat16 must be faster than float32 by this factor to be worth its rounding


def autocast(device: torch.device, precision: Precision, *, enabled: bool = True) -> torch.autocast:
    """A ``with`` block in which networks compute in a precision; losses stay outside of it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and precision == "bf16")


def choose_precision(precision: Precision, processes: Processes) -> tuple[Precision, str]:
    """Decide ``precision = "auto"``, alike in every process, by timing both; gives the reason, too."""
    if precision != "auto":
        return precision, "as the config says"
    speedup = bf16_speedup(processes.device)
    (too_slow,) = processes.any_raised([speedup < _WORTHWHILE])
    return "float32" if too_slow else "bf16", f"bf16 is {speedup:.1f} times as fast on {processes.device}"


def uncompiled(active: bool = True) -> contextlib.AbstractContextManager[object]:
    """A ``with`` block for a gradient of a gradient, which compiled code does not have."""
    return torch.compiler.set_stance("force_eager") if active else contextlib.nullcontext()


def explain_step_memory(device: torch.device, config: RunConfig) -> contextlib.AbstractContextManager[None]:
    """A ``with`` block that says in one line what to do about a step that does not fit into memory."""
    return explain_out_of_memory(
        device,
        f"batch_size {config.batch_size}, accumulate {config.accumulate}, size {config.size}",
        "expected a step that fits: raise accumulate first (same batch, less memory), then lower size or "
        "batch_size",
    )


class Ema(AveragedModel):
    """Exponential moving average of a network's trained parameters; buffers are copied.

    The average is kept in float32 in a network of its own, `Ema.module`, in evaluation mode, which shares
    what is frozen with the network. In each update `decay`, in [0, 1), stays of it.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        super().__init__(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.n_averaged.fill_(1)  # the first update averages with the weights of the start, too
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                self.module.get_parameter(name).data = parameter.data
        self.eval().requires_grad_(False)


def build_adam(
    parameters: Iterable[Any],
    learning_rate: float,
    betas: tuple[float, float],
    device: torch.device,
    kind: type[torch.optim.Adam] = torch.optim.Adam,
) -> torch.optim.Adam:
    """Adam, or AdamW, for parameters or groups of them, fused where the device has that."""
    return kind(parameters, learning_rate, betas, fused=device.type in ("cpu", "cuda"))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, as in MAE: not for biases, norms and tokens."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1 and p.shape[0] > 1]
    rest = [p for p in trained if not (p.ndim > 1 and p.shape[0] > 1)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def learning_rate_factor(config: RunConfig, images_seen: int) -> float:
    """What the configured learning rates are multiplied by; see :func:`schedule_factor`."""
    total, warmup = config.images, config.warmup_images
    return schedule_factor(config.schedule, images_seen, total, warmup=warmup, milestones=config.milestones)


def schedule_factor(
    schedule: str,
    position: float,
    total: float,
    *,
    warmup: float = 0,
    milestones: Sequence[float] = (),
    gamma: float = 0.5,
) -> float:
    """Rise over `warmup`; then stay ("constant"), or fall along half a cosine to 0 at `total` ("cosine").

    "milestones" multiplies by `gamma` for every milestone passed: at a milestone itself, and during warm-up,
    the old rate still holds. Positions are images or steps, all alike. Source: the published ACR schedule.
    """
    if position < warmup:
        return position / warmup
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (position - warmup) / max(total - warmup, 1e-12))))
    if schedule == "milestones":
        return gamma ** sum(position > milestone for milestone in milestones)
    return 1.0
