"""How many training masks a second one CPU thread makes: ``python benchmarks/masks.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

from inpaint.random_masks import MASK_KINDS, make_masks, read_shapes


@click.command()
@click.option("--kind", type=click.Choice(MASK_KINDS), default="mixed", show_default=True)
@click.option("--count", default=64, show_default=True, help="Masks drawn at once.")
@click.option("--size", default=256, show_default=True)
@click.option("--shapes", type=click.Path(path_type=Path), help="Zip or folder of object shapes.")
@click.option("--seconds", default=3.0, show_default=True, help="How long to measure.")
def main(kind: str, count: int, size: int, shapes: Path | None, seconds: float) -> None:
    """Print masks a second."""
    torch.set_num_threads(1)
    silhouettes = read_shapes(shapes) if shapes else None
    generator = torch.Generator().manual_seed(0)

    def make() -> None:
        make_masks(kind, count, size, size, generator, shapes=silhouettes)

    click.echo(f"{kind} {size} x {size}, {count} at once: {count / best_time(make, seconds):,.0f} masks/s")


def best_time(task: Callable[[], None], seconds: float) -> float:
    """Seconds of the fastest run, after one to warm up."""
    task()
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
