"""``inpaint convert``: bring published weights into our format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from inpaint.errors import CheckpointError

BOOKKEEPING = (
    "argparse",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "typing",
)
"""Packages whose objects stand in published files beside the weights: settings, best scores, callbacks."""

PLAIN_TYPES = {f"builtins.{kind.__name__}": kind for kind in (bool, dict, float, int, list, set, str, tuple)}


class Placeholder:
    """Stands in for an object of a training run. It takes anything, does nothing and holds nothing."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:
        """Ignore how the object would have been made."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore what the object would have been given."""

    def __setstate__(self, _: object) -> None:
        """Ignore what the object would have held."""


@click.command()
@click.argument("foreign", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--official",
    is_flag=True,
    help="The other way: write a convolutional masked autoencoder of ours, or a ConvNeXt V2 classifier of "
    "timm, with the names and shapes of the published files.",
)
def convert(foreign: tuple[Path, ...], out: Path, official: bool) -> None:
    """Convert published weights FOREIGN to one checkpoint OUT.safetensors.

    Understands the files of MAE-FAR, MAE, LaMa, Big-LaMa and ConvNeXt V2 (its pre-training and its
    classifiers), and finds out from their keys which one it is. MAE-FAR's separate MAE and generator files
    are given together:

        inpaint convert mae.pth G_last.pth OUT.safetensors
    """
    if any(out.resolve() == path.resolve() for path in foreign):
        raise CheckpointError(f"the output {out} is an input file; give another name")
    if official:
        _write_official(foreign, out)
        return
    from inpaint.convert import detect_layout

    contents = [read_foreign(path) for path in foreign]
    layout = detect_layout(*contents)
    sources = ", ".join(path.name for path in foreign)
    write = _write_classifier if layout == "convnextv2" else _write_checkpoint
    click.echo(f"{out}: {write(contents, out, sources, layout)}, from {sources} ({layout})")


def _write_checkpoint(contents: list[Mapping[str, Any]], out: Path, sources: str, layout: str) -> str:
    """Write a network of ours; says what it is."""
    from inpaint.checkpoint import fit_state, save_checkpoint
    from inpaint.convert import convert_state
    from inpaint.models.inpainter import InpainterPreset
    from inpaint.models.presets import build_network

    preset, state = convert_state(*contents)
    model = build_network(preset)
    fit_state(model, state, sources)
    notes = {
        "converted from": f"{sources} ({layout})",
        "licence": "that of the files it comes from; MAE, MAE-FAR and ConvNeXt V2 publish theirs under "
        "CC BY-NC 4.0",
    }
    save_checkpoint(out, model, notes)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    what = preset.name if isinstance(preset, InpainterPreset) else "masked autoencoder"
    return f"{what}, {millions:.1f} M parameters"


def _write_classifier(contents: list[Mapping[str, Any]], out: Path, sources: str, layout: str) -> str:
    """Write a backbone's weights as timm reads them; says what they are."""
    from inpaint.checkpoint import write_tensors
    from inpaint.convert import convert_classifier
    from inpaint.convert.layout import merge, part_of

    name, tensors = convert_classifier(part_of(merge(contents), layout))
    write_tensors(out, tensors, {"format": "pt", "converted from": f"{sources} ({layout})"})
    return f"timm's {name}; to use it, name it {name}.TAG.safetensors"


def _write_official(ours: tuple[Path, ...], out: Path) -> None:
    """Write weights of ours, or timm's, as they are published."""
    from inpaint.checkpoint import FORMAT, load_checkpoint, read_tensors, write_tensors
    from inpaint.convert import official_classifier, official_fcmae
    from inpaint.models.fcmae import FullyConvolutionalAutoencoder

    if len(ours) != 1:
        raise CheckpointError(f"got {len(ours)} files, expected one to write in the published layout")
    header, tensors = read_tensors(ours[0])
    if header.get("format") == FORMAT:
        model = load_checkpoint(ours[0])
        if not isinstance(model, FullyConvolutionalAutoencoder):
            raise CheckpointError(
                f"{ours[0]} holds a {type(model).__name__}; only a convolutional masked autoencoder or a "
                "ConvNeXt V2 classifier of timm can be written in the published layout"
            )
        tensors = official_fcmae(model.preset, model.state_dict())
    else:
        tensors = official_classifier(tensors)
    write_tensors(out, tensors, {"format": "pt"})
    click.echo(f"{out}: {len(tensors)} tensors in the published layout, from {ours[0].name}")


def read_foreign(path: Path) -> Mapping[str, Any]:
    """Read what a foreign weights file holds, without running any code from it.

    A pickle is opened by torch's weights-only reader. Objects of a few known training libraries become
    placeholders, whether or not the library is installed; a file with any other object is refused.

    Args:
        path: ``.safetensors``, or a file written by ``torch.save``.

    Returns:
        The dict in the file.

    Raises:
        CheckpointError: if the file is missing, unreadable, holds other objects or no dict.
    """
    if not path.is_file():
        raise CheckpointError(f"no file at {path}")
    if path.suffix == ".safetensors":
        from inpaint.checkpoint import FORMAT, read_tensors

        header, tensors = read_tensors(path)
        if header.get("format") == FORMAT:
            raise CheckpointError(
                f"{path} is a checkpoint of this program already; there is nothing to convert"
            )
        return tensors
    content = _read_pickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict of weights")
    return content


def _read_pickle(path: Path) -> Any:
    import torch

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
    import torch

    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip, or broken: torch.load finds out
        return []
