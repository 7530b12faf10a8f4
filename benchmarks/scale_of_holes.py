"""At which scale thick holes are best filled: hole PSNR and LPIPS (squeeze) of the pipeline by its constants.

    python benchmarks/scale_of_holes.py PHOTOS MASKS.zip SQUEEZENET.safetensors --pattern 'hires-*' --count 8

Photos are used at their own size. Photo i gets mask 37 i + 3 (modulo their number, by name) of the zip,
enlarged to it; masks of less than 5 or more than 50 % are passed over. Each row is one way to fill: how thick
a hole may be for the network in working sizes (`THICKEST` of `inpaint.pipeline`), with and without detail.
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
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

THICKEST = (0.25, 0.5, 4.0)  # the last: up to 1,024 pixels at the photo's own scale


def read_holes(path: Path, count: int) -> list[Image.Image]:
    """Masks 37 i + 3 of a zip, for i below ``count``."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        chosen = [names[(37 * index + 3) % len(names)] for index in range(count)]
        return [Image.open(archive.open(name)).convert("L") for name in chosen]


def ways_to_fill(
    pipeline: fills.InpaintPipeline, photo: Image.Image, mask: Image.Image, refine: bool
) -> dict[str, Image.Image]:
    """The photo filled in every way, by name."""
    pixels, hole = np.asarray(photo), np.asarray(mask)
    done = {"OpenCV Telea": Image.fromarray(cv2.inpaint(pixels, hole, 5, cv2.INPAINT_TELEA))}
    for thickest in THICKEST:
        with mock.patch.object(fills, "THICKEST", thickest):
            done[f"{thickest:g}, detail"] = pipeline(photo, mask, dilate=0)
            with mock.patch.object(fills, "add_detail", lambda fill, *_: fill):
                done[f"{thickest:g}, plain"] = pipeline(photo, mask, dilate=0)
    if refine:
        done["refined"] = pipeline(photo, mask, dilate=0, refine=True)
    return done


def score(
    filled: NDArray[np.uint8], photo: NDArray[np.uint8], hole: NDArray[np.bool_], lpips: Lpips
) -> tuple[float, float]:
    """PSNR in the hole and LPIPS of the whole."""
    error = float(((filled.astype(np.float64) - photo)[hole] ** 2).mean())
    pair = [torch.from_numpy(one.copy()).permute(2, 0, 1)[None].float() / 255 for one in (filled, photo)]
    with torch.inference_mode():
        return 10 * float(np.log10(255**2 / max(error, 1e-6))), float(lpips(*pair))


def _side(path: Path) -> int:
    with Image.open(path) as photo:
        return min(photo.size)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("masks", type=click.Path(path_type=Path, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--pattern", default="*", show_default=True, help="Of the photos' names.")
@click.option("--count", default=8, show_default=True, help="Photos.")
@click.option("--model", default="acr-small", show_default=True)
@click.option("--least", default=0, help="Shorter side of the photos in pixels, at least.")
@click.option("--refine", is_flag=True, help="Also with `--refine` of `inpaint run`.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the fills.")
def main(
    photos: Path,
    masks: Path,
    weights: Path,
    pattern: str,
    count: int,
    model: str,
    least: int,
    refine: bool,
    out: Path | None,
) -> None:
    """Print the table."""
    from inpaint.weights import locate

    lpips = Lpips("squeeze").load_weights(weights)
    pipeline = fills.InpaintPipeline.from_pretrained(locate(model), device="cpu")
    scores: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    paths = sorted(path for path in photos.glob(pattern) if path.is_file() and _side(path) >= least)[:count]
    for path, mask in zip(paths, read_holes(masks, len(paths)), strict=True):
        photo = Image.open(path).convert("RGB")
        mask = mask.resize(photo.size, Image.Resampling.BILINEAR).point([0] * 128 + [255] * 128)
        hole = np.asarray(mask) > 0
        if 0.05 <= hole.mean() <= 0.5:
            for name, filled in ways_to_fill(pipeline, photo, mask, refine).items():
                scores[name].append(score(np.asarray(filled), np.asarray(photo), hole, lpips))
                if out is not None:
                    out.mkdir(exist_ok=True)
                    filled.save(out / f"{path.stem} {name}.jpg")
            click.echo(f"{path.name}: {hole.mean():.0%} of {photo.width} x {photo.height}", err=True)
    click.echo("| thickest hole | photos | hole PSNR | LPIPS |\n| --- | --- | --- | --- |")
    for name, rows in scores.items():
        psnr, distance = np.mean(rows, axis=0)
        click.echo(f"| {name} | {len(rows)} | {psnr:.2f} | {distance:.4f} |")


if __name__ == "__main__":
    main()
