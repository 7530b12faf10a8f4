"""Published weights files: read without running code from them, and written as checkpoints of ours."""

from __future__ import annotations

import pickle
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaint.checkpoint import FORMAT, fit_state, read_tensors, save_checkpoint
from inpaint.convert import convert_state, detect_layout
from inpaint.errors import CheckpointError
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.presets import build_network

BOOKKEEPING = (
    "argparse", "lightning", "lightning_fabric", "numpy", "omegaconf", "pathlib",
    "pytorch_lightning", "typing",
)  # fmt: skip
"""Packages whose objects stand in published files beside the weights: settings, best scores, callbacks."""

PLAIN_TYPES = {f"builtins.{kind.__name__}": kind for kind in (bool, dict, float, int, list, set, str, tuple)}
WEIGHTS_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")
_DTYPES = {
    "BFloat16Storage": torch.bfloat16, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
    "CharStorage": torch.int8, "DoubleStorage": torch.float64, "FloatStorage": torch.float32,
    "HalfStorage": torch.float16, "IntStorage": torch.int32, "LongStorage": torch.int64,
}  # fmt: skip


class Placeholder:
    """Stands in for an object of a training run. It takes anything, does nothing and holds nothing."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:
        """Ignore how the object would have been made."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None: ...


def write_converted(
    contents: Sequence[Mapping[str, Any]],
    out: Path,
    sources: str,
    *,
    working_size: int = 0,
    licence: str = "that of the files it comes from",
) -> str:
    """Write published weights as one checkpoint of ours, in float32, and say in a few words what it is.

    Args:
        contents: what :func:`read_foreign` found in the files of one network, in any order.
        out: ends in ``.safetensors``.
        sources: names of the files, for the checkpoint's notes.
        working_size: of an inpainting network; 0 keeps the converter's.
        licence: of the weights, for the notes.

    Raises:
        CheckpointError: the contents are not one whole network, or ``out`` cannot be written.
    """
    sources = f"{sources} ({detect_layout(*contents)})"
    preset, state = convert_state(*contents)
    what = "masked autoencoder"
    if isinstance(preset, InpainterPreset):
        preset = replace(preset, working_size=working_size or preset.working_size)
        what = preset.name
    model = build_network(preset)
    fit_state(model, state, sources)
    save_checkpoint(out, model, {"converted from": sources, "licence": licence}, half=False)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"{what}, {millions:.1f} M parameters, from {sources}"


def read_foreign(path: Path) -> Mapping[str, Any]:
    """Read the dict that a foreign weights file holds, without running any code from it.

    A pickle is opened by torch's weights-only reader. Objects of a few known training libraries become
    placeholders, whether or not the library is installed; a file with any other object is refused.

    Args:
        path: ``.safetensors``, a file of ``torch.save`` or ``torch.jit.save`` (its parameters and buffers),
            or a zip archive with one of these inside.

    Raises:
        CheckpointError: the file is missing, unreadable, holds other objects or no dict.
    """
    if not path.is_file():
        raise CheckpointError(f"no file at {path}")
    if path.suffix == ".safetensors":
        header, tensors = read_tensors(path)
        if header.get("format") == FORMAT:
            raise CheckpointError(
                f"{path} is a checkpoint of this program already; there is nothing to convert"
            )
        return tensors
    content = _read_archive(path) if zipfile.is_zipfile(path) else None
    content = _read_pickle(path) if content is None else content
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict of weights")
    return content


def _read_archive(path: Path) -> Mapping[str, Any] | None:
    """TorchScript, or the one weights file in a plain zip archive; None for a file of ``torch.save``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("constants.pkl") for name in names) and _root(names) is not None:
                return _read_torchscript(path)
            if any(name.endswith("data.pkl") for name in names):
                return None
            inside = [name for name in names if name.endswith(WEIGHTS_SUFFIXES)]
            if len(inside) != 1:
                raise CheckpointError(
                    f"{path} holds {len(inside)} weights files, expected one; unpack it and name one"
                )
            with tempfile.TemporaryDirectory() as folder:
                return read_foreign(Path(archive.extract(inside[0], folder)))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # whatever a broken or hostile archive provokes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read as weights ({reason}); get it again") from error


def _read_pickle(path: Path) -> Any:
    wanted = _objects_in(path)
    stand_ins: dict[str, Any] = PLAIN_TYPES | {"collections.defaultdict": lambda *_: {}}
    stand_ins |= {name: Placeholder for name in wanted if name.split(".")[0] in BOOKKEEPING}
    if refused := sorted(set(wanted) - stand_ins.keys()):
        raise CheckpointError(
            f"{path} asks for more than weights ({', '.join(refused[:3])}) and was not opened, as "
            "that could run code; expected .safetensors, or tensors written by torch.save"
        )
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(v, k) for k, v in stand_ins.items()]),
        ):
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read is an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file provokes
        reason = str(error).strip().split(". ")[0].splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"{path} cannot be read as weights ({reason[0]}); "
            "expected .safetensors, or tensors written by torch.save"
        ) from error


def _objects_in(path: Path) -> list[str]:
    """Full names of the objects, other than tensors, that a pickle asks for; none for torch's old format."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip, or broken: torch.load finds out
        return []


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive, by the names of its modules.

    The code in it is not run: the pickle's modules become bags of attributes; it may name nothing but modules
    and tensors.
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
