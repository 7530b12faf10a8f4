"""Which processor to compute on."""

from __future__ import annotations

import torch

from inpaint.errors import InpaintError


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        InpaintError: the name is unknown or this machine has no such device.
    """
    cuda_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if str(name) == "auto":
        name = "cuda" if cuda_count else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InpaintError(f"got device {name!r}, expected auto, cpu, cuda, cuda:N or mps") from error
    here = {"cpu": True, "cuda": (device.index or 0) < cuda_count, "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, False):
        raise InpaintError(f"device {str(name)!r} is not available on this machine; use auto or cpu")
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Did torch find too little memory? On the CPU it is a plain RuntimeError, told apart by its words."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
