"""Devices: choose one, time its bfloat16, copy to it, explain an out-of-memory error."""

import contextlib
import timeit
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import InpaintError

GIB = 2**30


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    InpaintError if the name is unknown, or this machine has no such device.
    """
    cuda_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if str(name) == "auto":
        name = "cuda" if cuda_count else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InpaintError(f"got device {name!r}, expected auto, cpu, cuda, cuda:N or mps") from error
    here = {"cpu": True, "cuda": (device.index or 0) < cuda_count, "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, False):
        raise InpaintError(f"device {str(name)!r} is not available on this machine; use auto or cpu")
    return device


@torch.inference_mode(False)
def bf16_speedup(device: torch.device) -> float:
    """How many times as fast as float32 a device is in bfloat16: a short convolution and matrix product.

    Timed in the layout and on the number of threads that a run uses, forward and backward. CPUs without
    bfloat16 instructions emulate it and are several times slower.
    """
    image, kernel = (
        torch.ones(shape, device=device).to(memory_format=torch.channels_last).requires_grad_()
        for shape in ((4, 64, 64, 64), (64, 64, 3, 3))
    )
    matrix = torch.ones(256, 64, device=device, requires_grad=True)

    def step() -> None:
        features = F.relu(F.conv2d(image, kernel, padding=1))
        F.linear(features.permute(0, 2, 3, 1), matrix).float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    for in_bf16 in (False, True):
        with torch.autocast(device.type, torch.bfloat16, enabled=in_bf16):
            step()
            seconds.append(min(timeit.repeat(step, number=1, repeat=3)))
    return seconds[0] / seconds[1]


def is_out_of_memory(error: Exception) -> bool:
    """Is this an out-of-memory error? On the CPU it is a plain RuntimeError, recognised by its text."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device, without waiting where the device allows it (pinned memory)."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@contextlib.contextmanager
def explain_out_of_memory(device: torch.device, work: str, advice: str) -> Iterator[None]:
    """Turn an out-of-memory error into an InpaintError that says what was too large, and what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        total = ""
        if device.type == "cuda":
            total = f" of {torch.cuda.get_device_properties(device).total_memory / GIB:.1f} GiB"
        raise InpaintError(f"out of memory on {device}{total}: {work}; {advice}") from None
