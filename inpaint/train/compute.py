"""How a step is computed: its precision, what is compiled, and what is said when memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from inpaint.device import is_out_of_memory
from inpaint.errors import InpaintError
from inpaint.train.config import RunConfig

GIB = 2**30


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


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor from the processor to the device; only a copy from pinned memory does not wait there."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@contextlib.contextmanager
def memory_explained(config: RunConfig, device: torch.device) -> Iterator[None]:
    """Say in one line what to do about a step that does not fit into memory.

    Raises:
        InpaintError: torch ran out of memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        room = ""
        if device.type == "cuda":
            room = f" of {torch.cuda.get_device_properties(device).total_memory / GIB:.1f} GiB"
        raise InpaintError(
            f"out of memory on {device}{room}: batch_size {config.batch_size}, accumulate "
            f"{config.accumulate}, size {config.size}; expected a step that fits: raise accumulate first "
            "(same batch, less memory), then lower size or batch_size"
        ) from None
