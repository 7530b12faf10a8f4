"""How the learning rate changes over a run, and the averaged weights that are used in the end.

Factors multiply the configured rate. Positions may be counted in steps or in images seen, as long as all
arguments of one call are counted alike; runs count images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn as nn
from torch import Tensor

from inpaint.errors import CheckpointError
from inpaint.train.config import RunConfig


def warmup_factor(position: float, warmup: float) -> float:
    """Rise linearly from 0 to 1 over `warmup`; 1 afterwards and without warm-up."""
    return min(1.0, position / warmup) if warmup > 0 else 1.0


def milestone_factor(
    position: float, milestones: Sequence[float], *, gamma: float = 0.5, warmup: float = 0
) -> float:
    """Multiply by `gamma` for every milestone passed: at a milestone itself the old rate still holds.

    During warm-up milestones have no effect. Source: the published ACR schedule.
    """
    if position < warmup:
        return warmup_factor(position, warmup)
    return gamma ** sum(position > milestone for milestone in milestones)


def cosine_factor(position: float, total: float, *, warmup: float = 0, floor: float = 0.0) -> float:
    """Rise over `warmup`, then fall along half a cosine to `floor` at `total` and stay there."""
    if position < warmup:
        return warmup_factor(position, warmup)
    progress = min(1.0, (position - warmup) / max(total - warmup, 1e-12))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def schedule_factor(
    schedule: str, position: float, total: float, *, warmup: float = 0, milestones: Sequence[float] = ()
) -> float:
    """Give the factor of a schedule by its name in a config: "constant", "cosine" or "milestones"."""
    if schedule == "constant":
        return warmup_factor(position, warmup)
    if schedule == "cosine":
        return cosine_factor(position, total, warmup=warmup)
    if schedule == "milestones":
        return milestone_factor(position, milestones, warmup=warmup)
    raise ValueError(f"schedule is {schedule!r}, expected constant, cosine or milestones")


def set_rates(rates: Mapping[torch.optim.Optimizer, float], config: RunConfig, images_seen: int) -> None:
    """Set the learning rate of each optimizer: its highest rate times the run's schedule at this point."""
    factor = schedule_factor(
        config.schedule,
        images_seen,
        config.images,
        warmup=config.warmup_images,
        milestones=config.milestones,
    )
    for optimizer, highest in rates.items():
        for group in optimizer.param_groups:
            group["lr"] = highest * factor


class Ema:
    """Averaged weights of a network: parameters move towards the trained ones, buffers are copied.

    The average is kept in full precision in a network of its own (`Ema.network`), without gradients.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        """Start from the network's present weights.

        Args:
            network: what is trained; it is copied.
            decay: share of the average that stays in each update, in [0, 1).
        """
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the weights of `network`."""
        averaged = list[Tensor](self.network.parameters())
        if averaged:  # all at once: hundreds of small tensors cost more in launches than in arithmetic
            torch._foreach_lerp_(averaged, list[Tensor](network.parameters()), 1 - self.decay)  # pyright: ignore
        for ours, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            ours.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """Give the averaged weights and the buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take averaged weights from a state.

        Raises:
            CheckpointError: the state does not fit the network.
        """
        try:
            self.network.load_state_dict(state)
        except RuntimeError as problem:
            reason = " ".join(str(problem).split())[:300]
            raise CheckpointError(f"averaged weights do not fit the network ({reason})") from None
