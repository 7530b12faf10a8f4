"""What scoring costs beside the networks it needs: time of all measures by time of the bare forward passes.

    python benchmarks/measures.py                             # three protocols, CPU
    python benchmarks/measures.py --protocol standard --count 256 --batch 16 --device cuda

For 1,000 images of 256 x 256: every measure of a pair, features of composites and originals, and the
measures of sets. The first two are timed on COUNT images, batch by batch in turn with the networks alone on
the same images, and scaled up; the third on 1,000 random feature vectors. Weights are random: the speed is
the same.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.measures.protocols import build_measures
from inpaint.features.measures import Lpips
from tests.eval.random_weights import write_random_weights

IMAGES, SIZE = 1000, 256


@dataclass(frozen=True)
class Cost:
    """Seconds for 1,000 images."""

    networks: float
    pairs: float
    features: float
    sets: float

    @property
    def ratio(self) -> float:
        """All measures by the networks alone."""
        return (self.pairs + self.features + self.sets) / self.networks


class Clock:
    """Seconds by part: of CPU time on a CPU, so that other work on the machine counts little."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block."""
        on_gpu = self._device.type == "cuda"
        now = time.perf_counter if on_gpu else time.process_time
        start = now()
        yield
        if on_gpu:
            torch.cuda.synchronize(self._device)
        self.seconds[name] += now() - start


def measure(protocol: str, weights: Path, count: int, batch: int, size: int, device: torch.device) -> Cost:
    """Time one protocol.

    Args:
        protocol: ``standard``, ``mae-far`` or ``lama``.
        weights: folder of published or random weights.
        count: images to time the work per image on, a multiple of ``batch``.
        batch: images at once.
        size: of the images' sides.
        device: where to compute.
    """
    measures = build_measures(protocol, weights=[weights], device=device, check_hash=False)

    @torch.inference_mode()
    def forward(composite: Tensor, target: Tensor, mask: Tensor) -> None:
        for network in measures.networks.values():
            if isinstance(network, Lpips):
                network(composite, target)
            else:
                network(composite)
                network(target)

    work: list[tuple[str, Callable[[Tensor, Tensor, Tensor], object]]] = [
        ("networks", forward),
        ("pairs", measures.per_image),
        ("features", lambda composite, target, _: (measures.features(composite), measures.features(target))),
    ]
    clock, warm_up = Clock(device), Clock(device)
    for start in range(-batch, count, batch):
        images = (torch.rand(2, batch, 3, size, size) * 255).round() / 255
        mask = torch.zeros(batch, 1, size, size)
        mask[..., : size // 2] = 1
        inputs = [part.to(device) for part in (*images, mask)]
        work.reverse()  # whoever comes first finds the caches cold
        for name, run in work:
            with (clock if start >= 0 else warm_up).part(name):
                run(*inputs)
    parts = {name: seconds * IMAGES / count for name, seconds in clock.seconds.items()}
    generator = np.random.default_rng(0)
    composites, targets = (
        {key: generator.gamma(1, 0.4, (IMAGES, length)) for key, length in measures.feature_sizes.items()}
        for _ in range(2)
    )
    with clock.part("sets"):
        measures.of_sets(composites, targets)
    return Cost(**parts, sets=clock.seconds["sets"])


@click.command()
@click.option("--protocol", "protocols", multiple=True, help="Repeatable; default: standard, mae-far, lama.")
@click.option("--count", type=click.IntRange(min=1), default=64, show_default=True, help="Images timed.")
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Divides COUNT.")
@click.option("--size", type=click.IntRange(min=64), default=SIZE, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(protocols: tuple[str, ...], count: int, batch: int, size: int, device: str) -> None:
    """Print seconds for 1,000 images, and the ratio."""
    if count % batch:
        raise click.BadParameter(f"got {count} images in batches of {batch}; expected a multiple")
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor()
    click.echo(f"{name or where}, {torch.get_num_threads()} of {os.cpu_count()} threads, {size} x {size}")
    click.echo(f"{'protocol':10}{'networks':>10}{'pairs':>10}{'features':>10}{'sets':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        write_random_weights(Path(folder))
        for protocol in protocols or ("standard", "mae-far", "lama"):
            cost = measure(protocol, Path(folder), count, batch, size, where)
            parts = (cost.networks, cost.pairs, cost.features, cost.sets)
            click.echo(f"{protocol:10}{''.join(f'{part:10.1f}' for part in parts)}{cost.ratio:8.2f}")


if __name__ == "__main__":
    main()
