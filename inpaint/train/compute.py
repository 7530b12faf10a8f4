"""How a step is computed: its precision, and what is compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch
from torch import nn

from inpaint.device import explain_out_of_memory
from inpaint.train.config import RunConfig


def in_precision(config: RunConfig, device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """A ``with`` block in which networks multiply in the run's precision; losses stay outside of it.

    Args:
        config: the run.
        device: where the network computes.
        enabled: False stays in float32 whatever the run's precision.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and config.precision == "bf16")


def compile_each(config: RunConfig, modules: Iterable[nn.Module]) -> None:
    """Compile modules in place, if the run wants that; parameters and the keys of states stay as they are.

    Blocks of one kind share what was compiled. Give modules without a data-dependent course: neither the
    masked positional encoding nor the attention transfer.
    """
    if config.compile:
        for module in modules:
            module.compile()


def uncompiled(config: RunConfig) -> contextlib.AbstractContextManager[object]:
    """A ``with`` block for a gradient of a gradient, which compiled code does not have."""
    return torch.compiler.set_stance("force_eager") if config.compile else contextlib.nullcontext()


def explain_step_memory(config: RunConfig, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """A ``with`` block that says in one line what to do about a step that does not fit into memory."""
    step = f"batch_size {config.batch_size}, accumulate {config.accumulate}, size {config.size}"
    return explain_out_of_memory(
        device,
        step,
        "expected a step that fits: raise accumulate first (same batch, less memory), then lower size or "
        "batch_size",
    )
