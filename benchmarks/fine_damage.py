"""Dust, a scratch and text on 25 megapixels made of photos: hole PSNR and CPU time beside OpenCV's.

    python benchmarks/fine_damage.py PHOTOS --pattern 'hires-*' --model acr-small

The upper left 512 x 512 pixels of each photo are laid side by side, turned and mirrored, at their own scale.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE, HEIGHT, WIDTH = 512, 4096, 6144


def lay_out(photos: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Photos side by side until the picture is full."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for index in range(HEIGHT * WIDTH // SIDE**2):
        tile, turn = photos[index % len(photos)], index // len(photos)
        tile = tile[:, ::-1] if turn % 2 else tile
        tile = tile[::-1] if turn // 2 % 2 else tile
        tile = tile.transpose(1, 0, 2) if turn // 4 % 2 else tile
        top, left = index // (WIDTH // SIDE) * SIDE, index % (WIDTH // SIDE) * SIDE
        picture[top : top + SIDE, left : left + SIDE] = tile
    return picture


def draw_damage() -> dict[str, Image.Image]:
    """Masks by name."""
    rng = np.random.default_rng(0)
    masks = {name: Image.new("L", (WIDTH, HEIGHT)) for name in ("2,000 specks", "scratch", "text")}
    for _ in range(2000):
        x, y, radius = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)), int(rng.integers(1, 4))
        box = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(masks["2,000 specks"]).ellipse(box, fill=255)
    ImageDraw.Draw(masks["scratch"]).line((50, 300, 6050, 1500), fill=255, width=4)
    for y in range(600, 3600, 900):
        text, font = "copyright proof only " * 2, ImageFont.load_default(90)
        ImageDraw.Draw(masks["text"]).text((700, y), text, fill=255, font=font)
    return masks


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True))
@click.option("--pattern", default="*", show_default=True, help="Of the photos' names.")
@click.option("--model", default="acr-small", show_default=True)
def main(photos: Path, pattern: str, model: str) -> None:
    """Print the table."""
    from inpaint import InpaintPipeline

    cv2.setNumThreads(1)
    pipeline = InpaintPipeline.from_pretrained(model, device="cpu")
    paths = sorted(photos.glob(pattern))
    picture = lay_out([np.asarray(Image.open(path).convert("RGB"))[:SIDE, :SIDE] for path in paths])
    click.echo("| damage | Telea | Navier-Stokes | inpaint | CPU time by Telea's |")
    click.echo("| --- | --- | --- | --- | --- |")
    for name, mask in draw_damage().items():
        hole, seconds, scores = np.asarray(mask) > 127, [], []
        for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS, None):
            start = time.process_time()
            if method is None:
                filled = np.asarray(pipeline(Image.fromarray(picture), mask))
            else:
                filled = cv2.inpaint(picture, hole.astype(np.uint8), 5, method)
            seconds.append(time.process_time() - start)
            error = ((filled[hole].astype(np.float64) - picture[hole]) ** 2).mean()
            scores.append(f"{10 * np.log10(255**2 / error):.2f}")
        click.echo(f"| {name} | {' | '.join(scores)} | {seconds[2] / seconds[0]:.1f} |")


if __name__ == "__main__":
    main()
