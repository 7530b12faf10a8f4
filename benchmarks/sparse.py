"""What it saves to compute visible positions alone: time of masked dense over sparse evaluation.

    python benchmarks/sparse.py                                        # fcmae-small on this machine
    python benchmarks/sparse.py --preset fcmae-convnextv2-atto --device cuda --batch 256

Both encode the same pictures with the same random weights and holes; the difference is the largest, in shares
of the largest feature.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click
import torch

from inpaint.device import choose_device
from inpaint.layers.sparse import encode_visible
from inpaint.models.presets import build_fcmae
from inpaint.tokens import top_up

MASK_RATIOS = (0.25, 0.5, 0.6, 0.75, 0.9)


@click.command()
@click.option("--preset", default="fcmae-small", show_default=True)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1))
@click.option("--device", default="cpu", show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each measurement, about.")
@click.option("--learn", is_flag=True, help="Time forward and backward pass, as in training.")
def main(preset: str, batch: int, device: str, seconds: float, learn: bool) -> None:
    """Print a line for each share of hidden tokens."""
    place = choose_device(device)
    torch.manual_seed(0)
    model = build_fcmae(preset).to(place)
    side, threads = model.image_size, torch.get_num_threads()
    for parameter in model.parameters():  # a new network hardly does anything: the check would mean little
        parameter.data += 0.1 * torch.randn_like(parameter)
    image = torch.randn(batch, 3, side, side, device=place)
    click.echo(f"{preset}, {batch} pictures of {side}, {place}, {threads} threads")
    click.echo("hidden   dense ms   sparse ms   ratio   difference")
    for mask_ratio in MASK_RATIOS:
        noise = torch.rand(batch, model.grid[0] * model.grid[1], device=place)
        hidden = top_up(torch.zeros_like(noise, dtype=torch.bool), mask_ratio, noise)
        visible = ~hidden.unflatten(1, model.grid)[:, None]

        def dense(visible: torch.Tensor = visible) -> torch.Tensor:
            return model.encoder(image, visible)[-1]

        def sparse(visible: torch.Tensor = visible) -> torch.Tensor:
            return encode_visible(model.encoder, image, visible)

        with torch.no_grad():
            expected = dense()
            difference = float((expected - sparse()).abs().max() / expected.abs().max())
        with torch.set_grad_enabled(learn):
            slow, fast = (milliseconds(way, place, seconds, learn) for way in (dense, sparse))
        click.echo(f"{mask_ratio:6.0%} {slow:10.1f} {fast:11.1f} {slow / fast:7.2f}   {difference:.1e}")


def milliseconds(way: Callable[[], Any], device: torch.device, seconds: float, learn: bool) -> float:
    """Median time of a pass, after one to warm up."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        output = way()
        if learn:
            output.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    times = sorted(times[1:])
    return 1000 * times[len(times) // 2]


if __name__ == "__main__":
    sys.exit(main())
