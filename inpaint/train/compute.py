"""How a step is computed: its precision."""

from __future__ import annotations

import torch

from inpaint.train.config import RunConfig


def in_precision(config: RunConfig, device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """A ``with`` block in which networks multiply in the run's precision; losses stay outside of it.

    Args:
        config: the run.
        device: where the network computes.
        enabled: False stays in float32 whatever the run's precision.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and config.precision == "bf16")
