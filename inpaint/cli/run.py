"""``inpaint run``: inpaint one image."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from inpaint.cli.options import (
    DIR,
    FILE,
    MASK_ADVICE,
    PATH,
    check_output,
    inpainting_options,
    plan_folder,
    say,
)


@click.command()
@click.argument("image", type=PATH)
@click.argument("mask", type=PATH)
@click.option("-o", "--output", type=FILE, required=True, help="The result; .png and .tif are lossless.")
@inpainting_options
@click.option("--refine", is_flag=True, help="Refine large holes coarse to fine; smoother, 40 times slower.")
@click.option("--save-mask", type=FILE, help="Also write what was filled as a mask, white = hole.")
@click.option("--save-prior", type=DIR, help="Also write the prior's reconstruction and attention.")
def run(
    image: Path, mask: Path, output: Path, *, save_mask: Path | None, save_prior: Path | None, **options: Any
) -> None:
    """Fill the holes of IMAGE, which are white in MASK.

    The result has the size, depth and colour mode of IMAGE, all its pages or frames, and its metadata; every
    pixel outside the holes is kept. MASK may be one for all pages, or have as many.
    """
    shared = click.get_current_context().meta
    shared["stopped"] = "stopped; nothing was written"
    inputs = {"the image": image, "the mask": mask}
    check_output(output, inputs)
    if save_mask is not None:
        check_output(save_mask, {**inputs, "the result": output})
    asked, prior_outputs = SimpleNamespace(**options), []
    if save_prior is not None:
        names = [f"{image.stem}_{kind}.png" for kind in ("reconstruction", "attention")]
        prior_outputs = plan_folder(save_prior, names, {**inputs, "the result": output}, "--save-prior")

    from PIL import Image

    from inpaint.images import has_hole, read_file, read_masks, write_file, write_image

    with ThreadPoolExecutor() as threads:  # files are read while torch is loaded
        reading = threads.submit(read_file, image), threads.submit(read_masks, mask, invert=asked.invert_mask)
        if not (image.exists() and mask.exists()):
            [file.result() for file in reading]  # complains at once
        gc.disable()  # in torch's modules a search for unused objects finds nothing, but takes 0.2 s
        from inpaint.fills.holes import check_image, find_hole
        from inpaint.inspect import prior_images, require_prior
        from inpaint.pipeline import InpaintPipeline
        from inpaint.weights.terminal import locate_in_terminal
    gc.freeze()
    gc.enable()
    source, masks = reading[0].result(), reading[1].result()
    source.check_masks(masks)
    page = next((n for n, one in enumerate(masks) if has_hole(one)), 0)
    check_image(source.image(page), masks[page])  # complains before the model is loaded
    hole = find_hole(masks[page], asked.dilate)
    weights = locate_in_terminal(asked.model, "inpainter", accept_licence=asked.accept_licence)
    pipeline = InpaintPipeline.from_pretrained(weights, device=asked.device, precision=asked.precision)
    shown = ()
    if prior_outputs:
        prior = require_prior(pipeline.model)
        shown = prior_images(prior, source.upright(page), hole, pipeline.device)
    start = time.perf_counter()
    settings = {name: options[name] for name in ("dilate", "harmonise", "strict", "refine")}
    source.fill(partial(pipeline, mask_advice=MASK_ADVICE, **settings), masks)
    seconds = time.perf_counter() - start
    del shared["stopped"]
    notes = write_file(source, output, quality=asked.quality, strip=asked.strip_metadata)
    if save_mask is not None:
        write_image(Image.fromarray(hole), save_mask)
    name = click.format_filename(output)
    pages = f" on {source.frames} pages or frames" if source.frames > 1 else ""
    told = f"{hole.mean():.1%} of {' x '.join(map(str, source.size))} pixels{pages} in {seconds:.1f} s"
    say(f"{name}: filled {told} on {pipeline.device}, {pipeline.precision}")
    for note in notes:
        say(f"{name}: {note}", err=True)
    for path, picture in zip(prior_outputs, shown, strict=True):
        if picture is not None:
            path.parent.mkdir(exist_ok=True)
            write_image(picture, path)
            say(f"{click.format_filename(path)}: the prior's {path.stem.rpartition('_')[2]}")
