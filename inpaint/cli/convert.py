"""``inpaint convert`` brings published weights into our format, ``inpaint export`` writes ONNX."""

from pathlib import Path

import click

from inpaint.cli.options import PATH, accept_licence_option, check_file
from inpaint.errors import CheckpointError
from inpaint.weights.terminal import locate_in_terminal


@click.command(short_help="Convert published weights to a checkpoint of ours.")
@click.argument("foreign", nargs=-1, required=True, type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--official", is_flag=True,
    help="Convert back: write an FCMAE or timm's ConvNeXt V2 classifier in the published format.",
)  # fmt: skip
def convert(foreign: tuple[Path, ...], out: Path, official: bool) -> None:
    """Convert published weights FOREIGN to one checkpoint OUT.safetensors.

    Reads files of MAE-FAR, MAE, LaMa, Big-LaMa and ConvNeXt V2 (FCMAE and classifiers), and tells them apart
    by their keys. MAE-FAR's separate MAE and generator files are given together:

        inpaint convert mae.pth G_last.pth OUT.safetensors
    """
    if any(out.resolve() == path.resolve() for path in foreign):
        raise CheckpointError(f"the output {out} is an input file; give another name")
    check_file(out)
    if official:
        _write_official(foreign, out)
        return
    from inpaint.convert.files import read_foreign, write_converted

    contents = [read_foreign(path) for path in foreign]
    click.echo(f"{out}: {write_converted(contents, out, ', '.join(path.name for path in foreign))}")


def _write_official(ours: tuple[Path, ...], out: Path) -> None:
    """Write weights of ours, or timm's, as they are published."""
    from inpaint.checkpoint import FORMAT, load_checkpoint, read_tensors, write_tensors
    from inpaint.convert.networks import official_classifier, official_fcmae
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


@click.command(short_help="Write a model as an ONNX file.")
@click.argument("model")
@click.argument("out", type=PATH)
@accept_licence_option
def export(model: str, out: Path, accept_licence: bool) -> None:
    """Write MODEL, a name from `inpaint models` or the path of a checkpoint, to OUT.onnx.

    Inputs are `image`, (B, 3, H, W) float32 RGB in [0, 1], and `mask`, (B, 1, H, W) float32, 1 = hole; H and
    W are multiples of 16. The result `output`, (B, 3, H, W) in [0, 1], predicts the known region too: take it
    in the hole alone. Needs: pip install 'mae-acr-inpaint[onnx]'.
    """
    if out.suffix != ".onnx":
        raise CheckpointError(f"got {out.name!r}, expected a name that ends in .onnx")
    check_file(out)
    from inpaint.checkpoint import load_checkpoint
    from inpaint.convert.onnx import export_onnx
    from inpaint.models.inpainter import Inpainter

    path = locate_in_terminal(model, "inpainter", accept_licence=accept_licence)
    network = None if path.suffix == ".onnx" else load_checkpoint(path)
    if not isinstance(network, Inpainter):
        raise CheckpointError(f"{path} holds no inpainting network of ours; there is nothing to export")
    export_onnx(network, out)
    click.echo(f"{click.format_filename(out)}: {network.preset.name}, {out.stat().st_size / 1e6:.1f} MB")
