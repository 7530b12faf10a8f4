"""Tensors out of TorchScript archives, without running the code in them.

Such an archive is a zip with a pickle of the module tree. Here every module becomes a bag of attributes, and
nothing but tensors is built.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaint.errors import CheckpointError

_DTYPES = {
    "BFloat16Storage": torch.bfloat16, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
    "CharStorage": torch.int8, "DoubleStorage": torch.float64, "FloatStorage": torch.float32,
    "HalfStorage": torch.float16, "IntStorage": torch.int32, "LongStorage": torch.int64,
}  # fmt: skip


def is_torchscript(names: list[str]) -> bool:
    """Whether the members of a zip file are those of a TorchScript archive."""
    return any(name.endswith("constants.pkl") for name in names) and _root(names) is not None


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive, by the names of its modules.

    Raises:
        CheckpointError: the pickle asks for anything but modules and tensors; a broken archive raises more.
    """
    with zipfile.ZipFile(path) as archive:
        root = _root(archive.namelist())
        with archive.open(f"{root}data.pkl") as file:
            return dict(_tensors("", _Unpickler(file, archive, f"{root}data/").load()))


def _root(names: list[str]) -> str | None:
    """What stands before ``data.pkl`` in the names of the members."""
    return next((name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")), None)


class _Module:
    """A module of the archive: what it holds by name."""

    held: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        self.held = state if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    """Knows modules, tensors and plain lists, and refuses every other name."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch.jit._pickle":  # typed lists and tags: the value as it is
            return lambda value, *_: value
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: storage.as_strided(shape, stride, offset)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise CheckpointError(f"the archive asks for {module}.{name}, expected modules and tensors alone")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, *_ = pid
        return torch.frombuffer(bytearray(self._archive.read(self._folder + str(key))), dtype=dtype)


def _tensors(prefix: str, module: Any) -> Iterator[tuple[str, Tensor]]:
    for name, value in getattr(module, "held", {}).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors(f"{prefix}{name}.", value)
