"""Published weights files: read without running code from them, and written as checkpoints of ours."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inpaint.checkpoint import FORMAT, fit_state, read_tensors, save_checkpoint
from inpaint.convert import convert_state, detect_layout
from inpaint.convert.archives import is_torchscript, read_torchscript
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

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore what the object would have been given."""

    def __setstate__(self, _: object) -> None:
        """Ignore what the object would have held."""


def write_converted(
    contents: Sequence[Mapping[str, Any]],
    out: Path,
    sources: str,
    *,
    working_size: int = 0,
    licence: str = "that of the files it comes from",
) -> str:
    """Write published weights as one checkpoint of ours, in float32: it computes what they compute.

    Args:
        contents: what :func:`read_foreign` found in the files of one network, in any order.
        out: ends in ``.safetensors``.
        sources: names of the files, for the checkpoint's notes.
        working_size: of an inpainting network, see :class:`inpaint.models.inpainter.InpainterPreset`; 0 keeps
            the converter's.
        licence: of the weights, for the notes.

    Returns:
        What it is, in a few words.

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
    """Read what a foreign weights file holds, without running any code from it.

    A pickle is opened by torch's weights-only reader. Objects of a few known training libraries become
    placeholders, whether or not the library is installed; a file with any other object is refused.

    Args:
        path: ``.safetensors``, a file written by ``torch.save`` or ``torch.jit.save``, or a zip archive with
            one of these inside.

    Returns:
        The dict in the file, for TorchScript its parameters and buffers.

    Raises:
        CheckpointError: if the file is missing, unreadable, holds other objects or no dict.
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
            if is_torchscript(names):
                return read_torchscript(path)
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
