"""Renaming that accepts exactly the tensors it expects."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from inpaint.errors import CheckpointError


def rename(
    state: Mapping[str, Tensor], names: Mapping[str, str], expected: Mapping[str, tuple[int, ...]], what: str
) -> dict[str, Tensor]:
    """Rename tensors to ours, and insist on exactly the expected keys and shapes.

    Args:
        state: official keys.
        names: official to our names, of modules (``conv1``) or of whole keys (``alpha1``).
        expected: our keys and their shapes.
        what: the network's name, for the message.

    Returns:
        Every expected key, floats as float32.

    Raises:
        CheckpointError: naming the first few keys, as the file has them, that are unknown, missing or unfit.
    """
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in state.items():
        ours = translate(key, names)
        if ours in expected:
            renamed[ours] = tensor.float() if tensor.is_floating_point() else tensor
        else:
            unknown.append(key)
    back = {ours: theirs for theirs, ours in names.items()}
    missing = [translate(key, back) or key for key in expected if key not in renamed]
    unfit = [
        f"{translate(key, back)} {tuple(tensor.shape)} instead of {expected[key]}"
        for key, tensor in renamed.items()
        if tuple(tensor.shape) != expected[key]
    ]
    told = [
        f"{len(keys)} {problem}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for problem, keys in (("unknown", unknown), ("missing", missing), ("of another shape", unfit))
        if keys
    ]
    if told:
        raise CheckpointError(f"got weights that are not one whole {what} network; tensors {'; '.join(told)}")
    return renamed


def shape_of(state: Mapping[str, Tensor], key: str, dims: int, what: str) -> tuple[int, ...]:
    """The shape of a tensor that tells a network's size.

    Raises:
        CheckpointError: if it is missing or has another number of dimensions.
    """
    if key not in state:
        raise CheckpointError(
            f"got {what} weights without {key}; expected the whole network, not only an encoder or a part"
        )
    if state[key].ndim != dims:
        raise CheckpointError(f"got {key} of shape {tuple(state[key].shape)}, expected {dims} dimensions")
    return tuple(state[key].shape)


def take_constant(state: dict[str, Tensor], key: str, ours: Tensor) -> None:
    """Take a stored table out of ``state`` and compare it with the one our network computes.

    The tolerance lets half precision pass.

    Raises:
        CheckpointError: if it is missing or differs.
    """
    stored = state.pop(key, None)
    if (
        stored is None
        or stored.shape != ours.shape
        or not torch.allclose(stored.float(), ours, rtol=0, atol=2e-3)
    ):
        raise CheckpointError(
            f"got {'no' if stored is None else 'another'} table {key}, expected the published fixed one"
        )


def translate(key: str, names: Mapping[str, str]) -> str:
    """A key's new name, or an empty string."""
    if key in names:
        return names[key]
    module, _, leaf = key.rpartition(".")
    return f"{names[module]}.{leaf}" if module in names else ""
