"""``inpaint masks``: make test sets of masks, or check one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.cli.options import DIR, PATH, progress_bar

if TYPE_CHECKING:
    from inpaint.mask_sets import Manifest

KINDS = ("thin", "medium", "thick", "train", "boxes", "objects", "mixed")
MOST_PIXELS = 2**26


def _read_size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``256`` or ``HEIGHTxWIDTH``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 2 <= height * width <= MOST_PIXELS:
        raise click.BadParameter(f"got {value!r}, expected pixels like 256, or HEIGHTxWIDTH like 512x768")
    return height, width


def _read_range(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """``LOW-HIGH`` in per cent."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", value)
    low, high = (float(found[1]) / 100, float(found[2]) / 100) if found else (1.0, 0.0)
    if not low < high <= 1:
        raise click.BadParameter(f"got {value!r}, expected LOW-HIGH in per cent such as 10-20")
    return low, high


@click.command(short_help="Make a test set of masks, or check one.")
@click.argument("out", type=PATH)
@click.option("--kind", type=click.Choice(KINDS), default="mixed", help="Kind of the holes.")
@click.option("--count", type=click.IntRange(min=1), help="Number of masks.  [default: 1000]")
@click.option("--size", callback=_read_size, help="Side, or HEIGHTxWIDTH, in pixels.  [default: 256]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the set.")
@click.option("--shapes", type=PATH, help="Zip or folder of PNGs for object-shaped holes.")
@click.option("--hole-ratio", callback=_read_range, metavar="LOW-HIGH", help="Share of holes, as in 10-20 %.")
@click.option("--bins", is_flag=True, help="Equal numbers of masks with 1-10, 10-20, ... 50-60 % holes.")
@click.option("--like", type=DIR, help="One mask for each image in the folder DIR, with its stem and size.")
@click.option("--check", is_flag=True, help="Only check that OUT still matches its manifest.")
def masks(
    out: Path, count: Any, size: Any, hole_ratio: Any, bins: bool, like: Path | None, check: bool, **how: Any
) -> None:
    """Make a test set of masks in the folder OUT: PNGs, white = hole, and a manifest with their hash.

    \b
    thin, medium, thick  the test masks of LaMa: strokes, and some boxes
    train                the training masks of LaMa: strokes or boxes
    boxes                one to four boxes
    objects              one to four of the --shapes
    mixed                40 % strokes, 40 % objects, 20 % both; boxes instead without --shapes

    The published parameters are those for 256 and 512 pixels; at other sizes those for 256 are scaled. The
    same options make the same set again, or finish one that was interrupted.
    """  # noqa: D301
    from inpaint.mask_sets import BINS, verify

    if out.is_file():
        raise click.UsageError(f"{str(out)!r} is a file, expected a folder")
    if bins and hole_ratio:
        raise click.UsageError("got --bins and --hole-ratio, expected one of them")
    if like and (count or size):
        raise click.UsageError("got --like beside --count or --size, which it takes from the images")
    if check:
        manifest = verify(out)
    else:
        height_width = size or (256, 256)
        names = _names_like(like) if like else [(f"{n:05d}", height_width) for n in range(count or 1000)]
        ranges = BINS if bins else (hole_ratio,) if hole_ratio else ()
        manifest = _make(out, names=names, hole_ratios=ranges, **how)
    click.echo(
        f"{click.format_filename(out)}: {len(manifest.masks)} {manifest.kind} masks, "
        f"mean hole ratio {100 * manifest.mean_hole_ratio:.1f} %, hash {manifest.hash}"
    )


def _make(out: Path, kind: str, names: Sequence[Any], shapes: Path | None, **options: Any) -> Manifest:
    """Make the set, with a progress bar on a terminal."""
    import torch

    from inpaint.mask_sets import make_mask_set
    from inpaint.random_masks import read_shapes

    if kind == "objects" and shapes is None:
        need = "masks of kind 'objects' need object shapes: name a folder or a zip of them with --shapes"
        raise click.UsageError(need)
    silhouettes = read_shapes(shapes) if shapes else None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tables of one mask are tiny: more threads would only wait for each other
    try:
        with progress_bar(len(names), kind) as advance:
            return make_mask_set(out, kind, names, **options, shapes=silhouettes, on_mask=advance)
    finally:
        torch.set_num_threads(threads)


def _names_like(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    """Stem and (height, width) of every image in a folder."""
    from inpaint.batch.plan import READABLE_SUFFIXES, find_images
    from inpaint.errors import DataError
    from inpaint.images import read_image

    if not folder.is_dir():
        raise DataError(f"no folder of images at {str(folder)!r}; check the path")
    images = ((file.stem, read_image(file)) for file in find_images(folder)[0])
    names = [(stem, (image.height, image.width)) for stem, image in images]
    if not names:
        raise DataError(f"no images in {folder}, expected {' '.join(READABLE_SUFFIXES)}: check the folder")
    return names
