"""Published weights files: read without running code from them, and written as checkpoints of ours."""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaint.checkpoint import FORMAT, fit_state, read_tensors, save_checkpoint, write_tensors
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


class Placeholder:
    """Stands in for an object of a training run. It takes anything, does nothing and holds nothing."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:
        """Ignore how the object would have been made."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None: ...


class _ScriptModule(Placeholder):
    """A module of a TorchScript archive: what it holds by name."""

    held: Mapping[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.held = state if isinstance(state, dict) else {}

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers by the names of the modules."""
        for name, value in self.held.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _ScriptModule):
                yield from value.tensors(f"{prefix}{name}.")


def write_converted(
    contents: Sequence[Mapping[str, Any]],
    out: Path,
    sources: str,
    *,
    working_size: int = 0,
    licence: str = "that of the files it comes from",
) -> str:
    """Write published weights in float32, and say in a few words what they are.

    An inpainting network or an autoencoder becomes a checkpoint of ours, a classifier what timm reads.

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
    if isinstance(preset, str):
        write_tensors(out, state, {"format": "pt", "converted from": sources})
        return f"timm's {preset}, from {sources}; to use it, name it {preset}.TAG.safetensors"
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
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, expected a weights file")
    if not path.is_file():
        raise CheckpointError(f"no file at {path}")
    if path.suffix == ".safetensors":
        header, tensors = read_tensors(path)
        if header.get("format") == FORMAT:
            raise CheckpointError(f"{path} is a checkpoint of this program already; nothing to convert")
        return tensors
    try:
        content = _read_archive(path) if zipfile.is_zipfile(path) else _read_pickle(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # whatever a broken or hostile file provokes
        expected = "expected .safetensors, or a file written by torch.save"
        raise CheckpointError(f"{path} is not a weights file, or damaged; {expected}") from error
    if isinstance(content, _ScriptModule):
        return dict(content.tensors())
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict of weights")
    return content


def _read_archive(path: Path) -> Any:
    """A file of ``torch.save``, TorchScript, or the one weights file in a plain zip archive."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            return _read_pickle(_without_code(archive))
        if any(name.endswith("data.pkl") for name in names):
            return _read_pickle(path)
        inside = [name for name in names if name.endswith(WEIGHTS_SUFFIXES)]
        if len(inside) != 1:
            raise CheckpointError(f"holds {len(inside)} weights files, expected one; unpack it and name one")
        with tempfile.TemporaryDirectory() as folder:
            return read_foreign(Path(archive.extract(inside[0], folder)))


def _without_code(archive: zipfile.ZipFile) -> io.BytesIO:
    """The modules and tensors of a TorchScript archive, as torch's weights-only reader takes them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as plain:
        for name in archive.namelist():
            if not name.endswith("/constants.pkl") and "/code/" not in name:
                plain.writestr(name, archive.read(name))
    out.seek(0)
    return out


def _read_pickle(source: Path | io.BytesIO) -> Any:
    """What a file of ``torch.save`` holds, of tensors, plain values and stand-ins."""
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except ValueError:  # torch's old format tells nothing: torch.load refuses what is not plain
        wanted = []
    stand_ins: dict[str, Any] = PLAIN_TYPES | {"collections.defaultdict": lambda *_: {}}
    for name in wanted:
        package = name.split(".")[0]
        if package in BOOKKEEPING:
            stand_ins[name] = Placeholder
        elif package == "__torch__":
            stand_ins[name] = _ScriptModule
        elif name.startswith("torch.jit._pickle."):  # typed lists and tags: the value as it is
            stand_ins[name] = lambda value, *_: value
    if refused := sorted(set(wanted) - stand_ins.keys()):
        raise CheckpointError(
            f"asks for more than weights ({', '.join(refused[:3])}) and was not opened, as that could run "
            "code; expected .safetensors, or tensors written by torch.save"
        )
    if isinstance(source, io.BytesIO):
        source.seek(0)
    known = torch.serialization.safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()])
    with known, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read is an error anyway
        return torch.load(source, map_location="cpu", weights_only=True)
