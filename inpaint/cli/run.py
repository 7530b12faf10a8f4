"""``inpaint run``: repair one photo."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import click

from inpaint.cli.options import check_output, plan_folder, repair_options


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("mask", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Picture to write; its suffix decides the format (.png and .tif keep known pixels exactly).",
)
@repair_options
@click.option(
    "--save-mask",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write what was filled as a mask, white = hole: the soft rim and the dilation included.",
)
@click.option(
    "--save-prior",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write what the prior imagines and where it looks, as pictures in this folder.",
)
def run(
    image: Path,
    mask: Path,
    output: Path,
    model: str,
    accept_licence: bool,
    device: str,
    invert_mask: bool,
    dilate: int | None,
    strict: bool,
    save_mask: Path | None,
    save_prior: Path | None,
) -> None:
    """Fill the holes of IMAGE, which are white in MASK.

    The result has the size and colour mode of IMAGE, and every pixel outside the holes is kept.
    """
    inputs = {"the image": image, "the mask": mask}
    check_output(output, inputs)
    if save_mask is not None:
        check_output(save_mask, {**inputs, "the result": output})
    prior_outputs: list[Path] = []
    if save_prior is not None:
        names = [f"{image.stem}_{kind}.png" for kind in ("reconstruction", "attention")]
        prior_outputs = plan_folder(save_prior, names, {**inputs, "the result": output}, "--save-prior")

    from PIL import Image

    from inpaint.errors import MaskWarning
    from inpaint.images import read_image, read_mask, write_image
    from inpaint.inspect import prior_images
    from inpaint.pipeline import InpaintPipeline, read_hole
    from inpaint.weights.terminal import locate_in_terminal

    photo, holes = read_image(image), read_mask(mask, invert=invert_mask)
    hole = read_hole(photo, holes, dilate)  # complains before the model is loaded
    weights = locate_in_terminal(model, "inpainter", accept_licence=accept_licence)
    pipeline = InpaintPipeline.from_pretrained(weights, device=device)
    prior = pipeline.require_prior() if prior_outputs else None
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always", MaskWarning)
        result = pipeline(photo, holes, dilate=dilate, strict=strict)
    for doubt in doubts:
        click.echo(f"warning: {click.format_filename(mask)}: {doubt.message}", err=True)
    seconds = time.perf_counter() - start
    shown = () if prior is None else prior_images(prior, photo, hole, pipeline.device)
    write_image(result, output)
    if save_mask is not None:
        write_image(Image.fromarray(hole), save_mask)
    told = (
        f"{hole.mean():.1%} of {photo.width} x {photo.height} pixels in {seconds:.1f} s on {pipeline.device}"
    )
    click.echo(f"{click.format_filename(output)}: filled {told}")
    for path, picture in zip(prior_outputs, shown, strict=True):
        if picture is not None:
            path.parent.mkdir(exist_ok=True)
            write_image(picture, path)
            click.echo(f"{click.format_filename(path)}: the prior's {path.stem.rpartition('_')[2]}")
