"""At which scale thick holes are best filled, with what detail, and whether refining pays.

    python benchmarks/scale_of_holes.py PHOTOS MASKS.zip METRICS --least 1024 --count 40 --refine 8

Photos are used at their own size. Photo i gets mask 37 i + 3 (modulo their number, by name) of the zip,
enlarged to it, or the next one that covers 5 to 50 %. METRICS holds the two SqueezeNets. Each row is one way
to fill: `THICKEST` of `inpaint.pipeline` (how thick a hole may be for the network, in working sizes), with
and without detail, and without texture. PSNR is that of the hole, LPIPS (squeeze) and SqueezeNet distance
those of its box.
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from unittest import mock

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inpaint import pipeline as fills
from inpaint.features.measures import Lpips
from inpaint.features.perceptual import SqueezeNetFeatures
from inpaint.framing import tight_box

THICKEST = (0.25, 0.5, 4.0)  # the last: up to 1,024 pixels at the photo's own scale


def read_holes(path: Path, sizes: list[tuple[int, int]]) -> Iterator[Image.Image]:
    """For each size the first of masks 37 i + 3 and following ones of a zip that covers 5 to 50 %."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        for index, size in enumerate(sizes):
            for name in islice(cycle(names), 37 * index + 3, None):
                mask = Image.open(archive.open(name)).convert("L").resize(size, Image.Resampling.BILINEAR)
                mask = mask.point([0] * 128 + [255] * 128)
                if 0.05 <= np.asarray(mask).mean() / 255 <= 0.5:
                    break
            yield mask


def ways_to_fill(
    pipeline: fills.InpaintPipeline,
    photo: Image.Image,
    mask: Image.Image,
    thickest: tuple[float, ...],
    refine: bool,
) -> Iterator[tuple[str, Image.Image]]:
    """The photo filled in every way, with its name."""
    pixels, hole = np.asarray(photo), np.asarray(mask)
    yield "OpenCV Telea", Image.fromarray(cv2.inpaint(pixels, hole, 5, cv2.INPAINT_TELEA))
    for size in thickest:
        with mock.patch.object(fills, "THICKEST", size):
            yield f"{size:g}, detail", pipeline(photo, mask, dilate=0)
            with mock.patch.object(fills, "add_texture", lambda *_: None):
                yield f"{size:g}, detail, no texture", pipeline(photo, mask, dilate=0)
            with mock.patch.object(fills, "add_detail", lambda enlarged, *_, where: enlarged.read(where)):
                yield f"{size:g}, plain", pipeline(photo, mask, dilate=0)
    if refine:
        yield "refined", pipeline(photo, mask, dilate=0, refine=True)


def score(
    filled: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    lpips: Lpips,
    sqd: SqueezeNetFeatures,
) -> tuple[float, float, float]:
    """PSNR in the hole; LPIPS and SqueezeNet distance of the box around it."""
    error = float(((filled.astype(np.float64) - photo)[hole] ** 2).mean())
    box = tight_box(hole)
    assert box is not None  # read_holes gives no empty mask
    crops = (np.ascontiguousarray(image[box.slices]) for image in (filled, photo))
    pair = [torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255 for crop in crops]
    with torch.inference_mode():
        distances = float(lpips(*pair)), float(sqd.feature_distance(*pair))
    return 10 * float(np.log10(255**2 / max(error, 1e-6))), *distances


def print_table(title: str, scores: dict[str, list[tuple[float, float, float]]]) -> None:
    """Means by way to fill."""
    click.echo(f"\n| {title} | hole PSNR | LPIPS | SqueezeNet distance |\n| --- | --- | --- | --- |")
    for name, rows in scores.items():
        psnr, lpips, sqd = np.mean(rows, axis=0)
        click.echo(f"| {name} | {psnr:.2f} | {lpips:.4f} | {sqd:.4f} |")


def _side(path: Path) -> int:
    with Image.open(path) as photo:
        return min(photo.size)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("masks", type=click.Path(path_type=Path, exists=True))
@click.argument("metrics", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pattern", default="*", show_default=True, help="Of the photos' names.")
@click.option("--count", default=8, show_default=True, help="Photos.")
@click.option("--model", default="acr-small", show_default=True)
@click.option("--least", default=0, help="Shorter side of the photos in pixels, at least.")
@click.option("--thickest", default=THICKEST, type=float, multiple=True, help="Rows: sizes to try.")
@click.option("--refine", default=0, help="So many photos also with `--refine` of `inpaint run`.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the fills.")
def main(
    photos: Path,
    masks: Path,
    metrics: Path,
    pattern: str,
    count: int,
    model: str,
    least: int,
    thickest: tuple[float, ...],
    refine: int,
    out: Path | None,
) -> None:
    """Print a table of all photos, and one of the refined ones."""
    lpips = Lpips("squeeze").load_weights(metrics / "squeezenet1_1_torchvision.safetensors")
    sqd = SqueezeNetFeatures().load_weights(metrics / "squeezenet1_1_caffe_fp16.safetensors")
    pipeline = fills.InpaintPipeline.from_pretrained(model, device="cpu")
    scores: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    paths = sorted(path for path in photos.glob(pattern) if path.is_file() and _side(path) >= least)[:count]
    images = [Image.open(path).convert("RGB") for path in paths]
    holes = read_holes(masks, [image.size for image in images])
    for index, (path, photo, mask) in enumerate(zip(paths, images, holes, strict=True)):
        hole = np.asarray(mask) > 0
        for name, filled in ways_to_fill(pipeline, photo, mask, thickest, index < refine):
            scores[name].append(score(np.asarray(filled), np.asarray(photo), hole, lpips, sqd))
            if out is not None:
                out.mkdir(exist_ok=True)
                filled.save(out / f"{path.stem} {name}.jpg")
        told = (
            f"{name} {rows[-1][0]:.2f} {rows[-1][1]:.4f} {rows[-1][2]:.4f}" for name, rows in scores.items()
        )
        click.echo(f"{path.name}, {hole.mean():.0%} hole: {'; '.join(told)}", err=True)
    print_table(f"{len(paths)} photos", {name: rows for name, rows in scores.items() if name != "refined"})
    if refine:
        print_table(f"the first {refine}", {name: rows[:refine] for name, rows in scores.items()})


if __name__ == "__main__":
    main()
