"""How the learning rate changes over a run.

Factors multiply the configured rate. Positions may be counted in steps or in images seen, as long as all
arguments of one call are counted alike; runs count images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


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
