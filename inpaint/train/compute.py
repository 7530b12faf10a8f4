"""How a step is computed: its precision, and what is compiled."""

import contextlib

import torch

from inpaint.device import bf16_speedup, explain_out_of_memory
from inpaint.train.config import Precision
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


def explain_step_memory(device: torch.device, step: str) -> contextlib.AbstractContextManager[None]:
    """A ``with`` block that says in one line what to do about a step that does not fit into memory.

    ``step`` are its numbers, see `RunConfig.step_numbers`.
    """
    return explain_out_of_memory(
        device,
        step,
        "expected a step that fits: raise accumulate first (same batch, less memory), then lower size or "
        "batch_size",
    )
