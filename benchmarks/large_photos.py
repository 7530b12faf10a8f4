"""Which share of ``inpaint run`` on a large photo is reading and writing, and how much memory it takes.

    python benchmarks/large_photos.py                          # 48 megapixels, ten holes of 500 pixels
    python benchmarks/large_photos.py --side 4000 --kinds jpg --times 3

The photo is the example enlarged, with grain. Files are read while torch is loaded, so what reading and
writing cost is the time of the command less that of filling, which it prints, and less all that the same
command does beside filling for a photo of 64 pixels.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import click
import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]


class Run(NamedTuple):
    """One run of the command: seconds from start to end, those of filling, CPU seconds, peak memory."""

    whole: float
    filling: float
    cpu: float
    megabytes: float


def make_files(folder: Path, side: int, kinds: tuple[str, ...]) -> None:
    """A photo of 4:3 in every kind, and its mask."""
    size = side, side * 3 // 4
    pixels = np.asarray(Image.open(ROOT / "examples/photo.jpg").convert("RGB").resize(size)).astype(np.int16)
    pixels += np.random.default_rng(0).integers(-3, 4, (*pixels.shape[:2], 1), np.int16)
    photo, mask = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Image.new("L", size)
    pen, hole = ImageDraw.Draw(mask), side // 16
    for number in range(10):
        left, top = (number % 5 * 3 + 1) * hole, (number // 5 * 5 + 2) * hole
        pen.ellipse((left, top, left + hole, top + hole), fill=255)
    mask.save(folder / "mask.png")
    for kind in kinds:
        photo.save(folder / f"photo.{kind}", quality=92)


def run(folder: Path, kind: str, model: str) -> Run:
    """Fill the photo of a kind by the command line."""
    files = [str(folder / name) for name in (f"photo.{kind}", "mask.png", f"out.{kind}")]
    Path(files[2]).unlink(missing_ok=True)
    command = [sys.executable, "-m", "inpaint", "run", *files[:2], "-o", files[2], "--model", model]
    start = perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    whole, found = perf_counter() - start, re.search(r"in ([\d.]+) s on", told)
    if status or not found:
        raise SystemExit(f"the command failed: {' '.join(command)}")
    return Run(whole, float(found[1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@click.command()
@click.option("--side", default=8000, help="Longer side of the photo in pixels.")
@click.option("--kinds", default="png,jpg", help="Suffixes of the files.")
@click.option("--model", default="acr-small", help="A model name or a checkpoint.")
@click.option("--times", default=5, help="Runs of each, in turn; medians are shown.")
def main(side: int, kinds: str, model: str, times: int) -> None:
    """Print a row for each kind of file."""
    names = tuple(kinds.split(","))
    with tempfile.TemporaryDirectory() as made:
        small, large = Path(made) / "small", Path(made) / "large"
        for folder, longer in ((small, 64), (large, side)):
            folder.mkdir()
            make_files(folder, longer, names)
        print("| file | seconds | filling | reading and writing | share | CPU seconds | peak memory |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for kind in names:
            turns = [(run(small, kind, model), run(large, kind, model)) for _ in range(times)]
            files = [ours.whole - ours.filling - (one.whole - one.filling) for one, ours in turns]
            median = Run(*map(statistics.median, zip(*(ours for _, ours in turns), strict=True)))
            both = statistics.median(files)
            times_told = f"{median.whole:.1f} | {median.filling:.1f} | {both:.1f} | {both / median.whole:.0%}"
            print(f"| {kind} | {times_told} | {median.cpu:.1f} | {median.megabytes:.0f} MB |")


if __name__ == "__main__":
    main()
