"""``python -m eval validate``: the fixed validation protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inpaint.errors import InpaintError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from eval.protocol import Fill, ValidationSet


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Training data folder.")
@click.option(
    "--model", "models", multiple=True, help="Model name or checkpoint file (also an MAE alone); repeatable."
)
@click.option("--floors", is_flag=True, help="Also score the four fills without a network.")
@click.option(
    "--out", "reports", type=click.Path(path_type=Path), multiple=True, help="Report, .md or .json."
)
@click.option(
    "--limit", type=click.IntRange(min=2), help="Only so many pictures, evenly spread: a quick look."
)
@click.option("--save", type=click.Path(path_type=Path), help="Folder for the composites as PNG.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def validate(
    data: Path,
    models: tuple[str, ...],
    floors: bool,
    reports: tuple[Path, ...],
    limit: int | None,
    save: Path | None,
    device: str,
) -> None:
    """Run the fixed validation protocol (DATA/val with the published masks, 256 x 256)."""
    _validate(data, models, floors, reports, limit, save, device)


def _validate(
    data: Path,
    models: tuple[str, ...],
    floors: bool,
    reports: tuple[Path, ...],
    limit: int | None,
    save: Path | None,
    device_name: str,
) -> None:
    from eval.features import FeatureMeasures
    from eval.protocol import FLOORS, features_of_targets, read_validation_set, score
    from eval.report.legacy import build_report, to_markdown, write_report

    if not models and not floors:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --floors")
    for path in reports:
        if path.suffix not in (".md", ".json"):
            raise InpaintError(f"got report file {path}; expected a name ending in .md or .json")
    device = _choose_device(device_name)
    validation = read_validation_set(data, limit)
    networks = FeatureMeasures.from_folder(data / "metrics").to(device)
    fills: dict[str, Fill] = dict(FLOORS) if floors else {}
    # All models are loaded before any is scored: a wrong name must not cost the minutes before it.
    fills |= {_row_name(name, models): _load_model(name, device) for name in models}
    targets = features_of_targets(validation, networks, device)
    rows = {}
    for name, predict in fills.items():
        click.echo(f"scoring {name} on {len(validation.names)} pictures", err=True)
        keep = None if save is None else _saver(save / name.replace(" ", "-").replace("/", "-"), validation)
        rows[name] = score(predict, validation, networks, targets, device, keep)
    report = build_report(rows, validation, note=f"Computed on {_describe(device)}.")
    for path in reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)


def _choose_device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InpaintError("got --device cuda, but there is no CUDA device; use --device cpu")
    return torch.device(name)


def _describe(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"the CPU, {torch.get_num_threads()} thread(s)"


def _load_model(name: str, device: torch.device) -> Fill:
    import torch.nn.functional as F

    from inpaint.checkpoint import load_checkpoint
    from inpaint.models.mae import MaskedAutoencoder
    from inpaint.weights import locate

    model = load_checkpoint(locate(name)).eval().to(device)
    if not isinstance(model, MaskedAutoencoder):
        return model

    def reconstruct(image: Tensor, mask: Tensor) -> Tensor:
        picture = model.reconstruct(image, mask)
        return F.interpolate(picture, size=image.shape[-2:], mode="bilinear", align_corners=False)

    return reconstruct


def _row_name(name: str, names: tuple[str, ...]) -> str:
    """A model's name, or a file's stem where no other model has the same."""
    stems = [Path(other).stem for other in names]
    return Path(name).stem if stems.count(Path(name).stem) == 1 else name


def _saver(folder: Path, validation: ValidationSet) -> Callable[[int, Tensor], None]:
    from inpaint.image import tensor_to_image, write_image

    folder.mkdir(parents=True, exist_ok=True)

    def save(first: int, composites: Tensor) -> None:
        for offset, composite in enumerate(composites):
            write_image(tensor_to_image(composite), folder / f"{validation.names[first + offset]}.png")

    return save
