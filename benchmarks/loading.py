"""How many training images a second each way of loading them gives.

    python benchmarks/loading.py                                      # JPEGs cut from the example photo
    python benchmarks/loading.py --photos "DATA/photos-*.tar" --device cuda

Every way gives whole batches, with holes. The ways take turns, several times, because a machine is not
equally fast from minute to minute; the ratio to photos in memory is the median over turns. The CPU time
is that of this process alone: all that an image costs without workers, what handing it over costs with them.
"""

from __future__ import annotations

import dataclasses
import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import torch
from PIL import Image

from inpaint.data.batches import Batches
from inpaint.data.config import Augment, DataConfig
from inpaint.device import choose_device
from inpaint.errors import InpaintError

ROOT = Path(__file__).resolve().parents[1]
DISTORTED = Augment(
    rotate=15, zoom=0.2, perspective=0.1, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05
)
PLAIN = "memory"


def ways(config: DataConfig, workers: int | None) -> dict[str, DataConfig]:
    """What is compared, by name; only photos on disk have workers."""
    disk = dataclasses.replace(config, keep="disk", photo_size=None, workers=workers)
    here = dataclasses.replace(disk, workers=0)
    return {
        PLAIN: config,
        "memory, resized": dataclasses.replace(config, augment=Augment(kind="resize")),
        "memory, distorted on the device": dataclasses.replace(config, augment=DISTORTED),
        "disk, no workers": here,
        "disk": disk,
        "disk, LaMa's distortions, no workers": dataclasses.replace(here, augment=Augment(kind="lama")),
        "disk, LaMa's distortions": dataclasses.replace(disk, augment=Augment(kind="lama")),
    }


class Turn(NamedTuple):
    """What one way did in one turn."""

    rate: float
    """Images a second."""
    cost: float
    """CPU milliseconds per image, of this process."""


def measure(
    sources: dict[str, Batches], batch_size: int, turns: int, seconds: float
) -> dict[str, list[Turn]]:
    """Let each way give batches for so many seconds in each turn."""
    measured: dict[str, list[Turn]] = {name: [] for name in sources}
    seen = 0
    for _ in range(turns):
        for name, source in sources.items():
            seen += 1000 * batch_size  # a jump: nothing that was made while others had their turn counts
            source.batch_at(seen)
            begin, busy, first = time.perf_counter(), time.process_time(), seen
            while seen == first or time.perf_counter() - begin < seconds:
                seen += batch_size
                source.batch_at(seen)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            rate = (seen - first) / (time.perf_counter() - begin)
            measured[name].append(Turn(rate, 1e3 * (time.process_time() - busy) / (seen - first)))
    return measured


def write_shard(path: Path, count: int = 256) -> Path:
    """JPEGs of 341 x 256 pixels cut from the example photo, in a tar file."""
    with Image.open(ROOT / "examples" / "photo.jpg") as photo, tarfile.open(path, "w") as shard:
        photo = photo.convert("RGB")
        for number in range(count):
            left, top = (number * 37) % (photo.width - 341), (number * 61) % (photo.height - 256)
            content = io.BytesIO()
            photo.crop((left, top, left + 341, top + 256)).save(content, "JPEG", quality=90)
            entry = tarfile.TarInfo(f"{number:04d}.jpg")
            entry.size = content.tell()
            content.seek(0)
            shard.addfile(entry, content)
    return path


@click.command()
@click.option(
    "--photos", type=click.Path(path_type=Path), help="Folder, list, shard or pattern; --limit of them."
)
@click.option("--limit", default=256, show_default=True)
@click.option("--size", default=256, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--workers", type=int, help="Worker processes; by default one a core, at most 16.")
@click.option("--turns", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of each way in each turn.")
@click.option("--device", default="auto", show_default=True)
def main(
    photos: Path | None,
    limit: int,
    size: int,
    batch: int,
    workers: int | None,
    turns: int,
    seconds: float,
    device: str,
) -> None:
    """Print a table of images per second."""
    try:
        chosen = choose_device(device)
        with tempfile.TemporaryDirectory() as folder:
            source = photos or write_shard(Path(folder) / "photos.tar")
            config = DataConfig(
                photos=(source,),
                photo_limit=limit,
                out=Path(folder),
                size=size,
                photo_size=size,
                batch_size=batch,
                images=sys.maxsize,
            )
            sources = {
                name: Batches(way, chosen, lambda line: click.echo(line, err=True))
                for name, way in ways(config, workers).items()
            }
            measured = measure(sources, batch, turns, seconds)
    except InpaintError as problem:
        raise click.ClickException(str(problem)) from None
    where = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "CPU"
    click.echo(f"{where}, {os.cpu_count()} cores; {size} x {size}, batches of {batch}")
    click.echo(f"median of {turns} turns of {seconds} s each\n")
    click.echo("| images from | images/s | ratio to memory | CPU ms per image |\n|---|---|---|---|")
    for name, done in measured.items():
        ratio = statistics.median(
            turn.rate / plain.rate for turn, plain in zip(done, measured[PLAIN], strict=True)
        )
        rate, cost = (statistics.median(values) for values in zip(*done, strict=True))
        click.echo(f"| {name} | {rate:,.0f} | {ratio:.2f} | {cost:.2f} |")


if __name__ == "__main__":
    main()
