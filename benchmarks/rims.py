"""How fills meet their surroundings and themselves: gradients at the rim, repetition, flat grey, grain.

    python benchmarks/rims.py PHOTOS MASKS.zip --step 5 --model acr-small

Photo i of every STEP-th (by name, its middle square at 256 pixels) gets mask i of the zip, as in the
validation protocol. "Across" is the mean difference, in levels of 8 bits, between a hole pixel and a known
one beside it, "along" between two hole pixels beside each other that both touch the rim. A fill without a
step has the quotient of the photo itself. "Repetition" is the correlation of the hole's fine detail with
itself 8 and 16 pixels further on, the mean of 12 directions: a lattice shows there.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inpaint.train.losses import self_correlations

SIDE = 256
FULL = {"harmonised": True, "as the network gives it": False}


def rim_gradients(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean differences across the rim and along it, in levels."""
    rim = hole & (cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) == 0)
    levels, across, along = pixels.astype(np.float64), [], []
    for axis in (0, 1):
        change = np.abs(np.diff(levels, axis=axis)).mean(axis=-1)
        count = change.shape[axis]
        pairs = [[part.take(range(first, first + count), axis) for first in (0, 1)] for part in (hole, rim)]
        across.append(change[pairs[0][0] ^ pairs[0][1]])
        along.append(change[pairs[1][0] & pairs[1][1]])
    return float(np.concatenate(across).mean()), float(np.concatenate(along).mean())


def repetition(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> float:
    """Mean correlation of fine detail with itself at the moves of the loss, see inpaint.train.losses."""
    image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None] / 255
    return float(self_correlations(image, torch.from_numpy(hole)[None, None].float(), 8).mean())


def made_picture(deviation: float) -> tuple[Image.Image, Image.Image, NDArray[np.bool_]]:
    """Grey with noise of so many levels, and a hole of 120 pixels in it."""
    noise = np.random.default_rng(0).normal(0, deviation, (SIDE, SIDE, 3))
    y, x = np.mgrid[:SIDE, :SIDE]
    hole = (y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < 60**2
    picture = np.clip(np.rint(150 + noise), 0, 255).astype(np.uint8)
    return Image.fromarray(picture), Image.fromarray((hole * 255).astype(np.uint8)), hole


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.argument("masks", type=click.Path(path_type=Path, exists=True))
@click.option("--step", default=5, show_default=True, help="Every so many photos.")
@click.option("--model", default="acr-small", show_default=True)
def main(photos: Path, masks: Path, step: int, model: str) -> None:
    """Print two tables."""
    from inpaint import InpaintPipeline

    pipeline = InpaintPipeline.from_pretrained(model, device="cpu")
    found: dict[str, list[tuple[float, ...]]] = {"the photo itself": [], **{name: [] for name in FULL}}
    paths = sorted(path for path in photos.iterdir() if path.is_file())
    with zipfile.ZipFile(masks) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        for index in range(0, len(paths), step):
            photo = ImageOps.fit(Image.open(paths[index]).convert("RGB"), (SIDE, SIDE))
            mask = Image.open(archive.open(names[index])).convert("L")
            hole = np.asarray(mask) > 127
            shown = {"the photo itself": photo}
            for name, harmonise in FULL.items():
                shown[name] = pipeline(photo, mask, dilate=0, harmonise=harmonise)
            for name, image in shown.items():
                pixels = np.asarray(image)
                found[name].append((*rim_gradients(pixels, hole), repetition(pixels, hole)))
    click.echo(
        f"{len(found['the photo itself'])} photos\n\n| | across | along | across / along | repetition |"
    )
    click.echo("| --- | --- | --- | --- | --- |")
    for name, measured in found.items():
        across, along, repeats = np.mean(measured, axis=0)
        click.echo(f"| {name} | {across:.2f} | {along:.2f} | {across / along:.3f} | {repeats:.3f} |")
    click.echo("\n| made picture | | largest error of the mean | fine grain | across / along |")
    click.echo("| --- | --- | --- | --- | --- |")
    for deviation, title in ((0, "flat grey"), (5, "noise of 5 levels")):
        picture, mask, hole = made_picture(deviation)
        for name, harmonise in FULL.items():
            filled = np.asarray(pipeline(picture, mask, dilate=0, harmonise=harmonise)).astype(np.float32)
            smooth = cv2.GaussianBlur(filled, (0, 0), 4)
            inner = cv2.erode(hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            grain = (filled - cv2.GaussianBlur(filled, (0, 0), 2))[inner].std()
            across, along = rim_gradients(filled.astype(np.uint8), hole)
            off = np.abs(smooth[inner] - 150).max() if deviation else np.abs(filled[hole] - 150).max()
            ratio = f"{across / along:.3f}" if along else "flat"
            click.echo(f"| {title} | {name} | {off:.2f} | {grain:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
