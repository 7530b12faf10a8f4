"""Names of tensors in published weights, and ours; renaming that accepts exactly the tensors it expects."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from inpaint.checkpoint import describe_misfit
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset
from inpaint.models.presets import build_network

State = Mapping[str, Tensor]
Names = Mapping[str, str]
Shapes = Mapping[str, tuple[int, ...]]
TABLES = tomllib.loads(Path(__file__).with_name("keys.toml").read_text(encoding="utf-8"))


def read_names(table: str) -> Names:
    """Published names of modules or whole tensors to ours, by a table of ``keys.toml``; ``*`` is a number."""
    names: dict[str, str] = {}
    for theirs, ours in TABLES[table].items():
        names |= {theirs: ours} if isinstance(ours, str) else nest_names(theirs, *ours)
    return names


def nest_names(theirs: str, ours: str, table: str) -> Names:
    """The names of a table inside a module, given the module's published name and ours."""
    return {f"{theirs}.{inner}": f"{ours}.{name}" for inner, name in read_names(table).items()}


def reverse(names: Names) -> Names:
    """Our names to the published ones."""
    return {ours: theirs for theirs, ours in names.items()}


def translate(key: str, names: Names) -> str:
    """A tensor's name after the first of the names that fits; an empty string if none does."""
    for old, new in names.items():
        if match := _pattern(old).fullmatch(key):
            *numbers, leaf = match.groups(default="")
            return new.replace("*", "{}").format(*numbers) + leaf
    return ""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", r"(\d+)") + r"(\.\w+)?")


def rename(state: State, names: Names, shapes: Shapes, what: str) -> dict[str, Tensor]:
    """Rename tensors to ours, floats as float32, and insist on exactly the expected keys and shapes.

    Args:
        state: published keys.
        names: published to our names, see :func:`read_names`.
        shapes: our keys and their shapes.
        what: the network's name, for the message.

    Raises:
        CheckpointError: naming the first few keys, as the file has them, that are unknown, missing or unfit.
    """
    # With the mark, a name that only ours has does not pass for a published one.
    renamed = {translate(key, names) or f"?{key}": tensor for key, tensor in state.items()}
    back = reverse(names)
    if told := describe_misfit(renamed, shapes, lambda key: translate(key, back) or key.removeprefix("?")):
        raise CheckpointError(f"got weights that are not one whole {what} network; tensors {told}")
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in renamed.items()}


def rename_back(state: State, table: str) -> dict[str, Tensor]:
    """Give our tensors the published names of a table; an error if one has none."""
    names = reverse(read_names(table))
    renamed = {translate(key, names): tensor for key, tensor in state.items()}
    nameless = [key for key in state if not translate(key, names)]
    if nameless:
        raise CheckpointError(
            f"got {len(nameless)} tensors without a published name (first: {nameless[0]}), "
            "expected a ConvNeXt V2"
        )
    return renamed


def shapes_of(preset: InpainterPreset | MaePreset | FcmaePreset) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the network a preset stands for, without allocating it."""
    with torch.device("meta"):
        model = build_network(preset)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def shape_of(state: State, key: str, dims: int, what: str) -> tuple[int, ...]:
    """The shape of a tensor that tells a network's size."""
    if key not in state:
        raise CheckpointError(
            f"got {what} weights without {key}; expected the whole network, not only an encoder or a part"
        )
    if state[key].ndim != dims:
        raise CheckpointError(f"got {key} of shape {tuple(state[key].shape)}, expected {dims} dimensions")
    return tuple(state[key].shape)


def count_modules(keys: Iterable[str], prefix: str) -> int:
    """How many numbers stand behind a prefix in the keys, as in ``PREFIX.0.weight``."""
    return len({match[1] for key in keys if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", key))})
