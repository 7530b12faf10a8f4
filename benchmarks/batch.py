"""What a batch costs: memory over many images, and time with images that share passes of the network.

    python benchmarks/batch.py memory --images 1000
    python benchmarks/batch.py passes --images 24 --device cpu

``memory`` prints the peak resident memory after 10, 100, 500, 1,000 ... images of one batch; ``passes`` the
seconds of CPU (on a GPU, of the clock) per image for several --batch-size, and how far apart results are.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from PIL import Image

from inpaint.batch import FileResult, pair_files, plan_batch, run_batch
from inpaint.batch.passes import SharedPasses
from inpaint.pipeline import InpaintPipeline

ROOT = Path(__file__).resolve().parents[1]


def write_photos(folder: Path, count: int, side: int, suffix: str) -> None:
    """Crops of the example photo and one mask: a box and a stroke."""
    photo, random = Image.open(ROOT / "examples" / "photo.jpg").convert("RGB"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(count):
        left, top = (int(random.integers(0, max(1, length - side + 1))) for length in photo.size)
        photo.crop((left, top, left + side, top + side)).save(folder / "photos" / f"{number:04d}{suffix}")
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    cv2.line(mask, (side // 2, side // 8), (side - 9, side // 2), 255, 9)
    Image.fromarray(mask).save(folder / "mask.png")


def telea(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A fill without a network, to see reading and writing alone."""
    return Image.fromarray(cv2.inpaint(np.asarray(image), np.asarray(mask), 3, cv2.INPAINT_TELEA))


def run(folder: Path, pipeline: Any, size: int, output: str, tell: Any = None) -> float:
    """Inpaint the folder; gives the share of time in which the network worked."""
    jobs, _ = plan_batch(pair_files(folder / "photos", folder / "mask.png")[0], folder / output)
    passes, shared = SharedPasses(), {}
    if size > 1:
        pipeline, shared = pipeline.with_networks(passes.share), {"together": size, "fill_all": passes.map}
    report = run_batch(jobs, partial(pipeline), on_result=tell or (lambda _: None), **shared)
    assert report.count("done") == len(jobs), report.results
    return report.busy


@click.group()
def main() -> None:
    """Measure a batch."""


@main.command()
@click.option("--images", default=1000, show_default=True)
@click.option("--side", default=256, show_default=True)
@click.option("--model", default="acr-small", show_default=True, help="Or telea, without a network.")
@click.option("--batch-size", default=1, show_default=True)
def memory(images: int, side: int, model: str, batch_size: int) -> None:
    """Peak resident memory over the images of a batch."""
    pipeline = telea if model == "telea" else InpaintPipeline.from_pretrained(model, device="cpu")
    seen = 0

    def tell(_: FileResult) -> None:
        nonlocal seen
        seen += 1
        if seen in (10, 100) or seen % 500 == 0:
            click.echo(f"{seen} images: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")

    with tempfile.TemporaryDirectory() as name:
        write_photos(Path(name), images, side, ".jpg")
        busy = run(Path(name), pipeline, batch_size, "out", tell)
    click.echo(f"network busy {busy:.0%} of the time")


@main.command()
@click.option("--images", default=24, show_default=True)
@click.option("--side", default=512, show_default=True)
@click.option("--model", default="acr-small", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--sizes", default="1,4,8", show_default=True, help="Values of --batch-size.")
@click.option("--rounds", default=2, show_default=True)
def passes(images: int, side: int, model: str, device: str, sizes: str, rounds: int) -> None:
    """Time per image where images share passes."""
    pipeline, tried = (
        InpaintPipeline.from_pretrained(model, device=device),
        [int(s) for s in sizes.split(",")],
    )
    clock = time.process_time if device == "cpu" else time.perf_counter
    taken: dict[int, list[float]] = {size: [] for size in tried}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, images, side, ".png")
        for number in range(rounds + 1):
            for size in tried:
                start = clock()
                run(folder, pipeline, size, f"out-{number}-{size}")
                taken[size] += [(clock() - start) / images] if number else []  # the first warms up
        for size in tried:
            one, other = (read_all(folder / f"out-0-{which}") for which in (tried[0], size))
            differ = np.abs(one.astype(int) - other)
            click.echo(
                f"batch size {size}: {min(taken[size]):.3f} s an image, largest difference {differ.max()}, "
                f"{(differ > 0).mean():.2e} of the values"
            )
    hardware = torch.cuda.get_device_name() if pipeline.device.type == "cuda" else "CPU"
    click.echo(f"{images} images of {side} x {side} pixels, {hardware}, {torch.get_num_threads()} threads")


def read_all(folder: Path) -> np.ndarray:
    """All results of a batch."""
    paths: Sequence[Path] = sorted(folder.glob("*.png"))
    return np.stack([np.asarray(Image.open(path)) for path in paths])


if __name__ == "__main__":
    main()
