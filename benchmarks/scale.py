"""What the full Places2 schedule costs on 1, 8 and 64 GPUs, from measured rates, and what breaks first.

    python benchmarks/training.py --out training.json                 # on the GPU in question
    python benchmarks/scale.py training.json

The schedules are those of the configs. A config that was not measured itself is estimated from one of the
same preset by its pixels. Without a GPU, `--peak TFLOPS --share SHARE` estimates the rates from the counted
products: both numbers are then assumptions, and every figure is marked with `~`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from inpaint.data.config import SIZE_STEP
from inpaint.errors import DataError, InpaintError
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.presets import build_inpainter, build_mae
from inpaint.train.config import AcrRunConfig, RunConfig, read_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
STAGES = ("places2_mae", "places2_acr", "places2_acr_512", "places2_lama")
GPUS = (1, 8, 64)
GPUS_OF_A_MACHINE = 8
SMALL, LARGE = 256, 512  # pixels that the two published sets of photos are for
LEAST_PER_GPU = 4  # images: below, a GPU mostly waits for its own small launches
MESSAGE_DELAY = 50e-6  # seconds, of a small message between machines: an assumption
DISCRIMINATOR_PASSES = 5  # real, fake, the gradient in R1, and fake and real again for the generator


@dataclass(frozen=True)
class Stage:
    """One config: its schedule, its networks, and how fast one GPU takes it."""

    name: str
    images: int
    batch: int
    size: int
    rate: float
    """Images per second on one GPU."""
    estimated: bool
    learning: int
    """Values that learn, the discriminator's too."""
    norm_messages: int
    """That BatchNorm over all processes sends in a step: one a layer and pass, and one on the way back."""
    state_bytes: int


@dataclass(frozen=True)
class Assumptions:
    """What the training benchmark does not measure."""

    photos: int
    photo_kb: dict[int, float]
    """Of a file, by the size it is for."""
    decode_per_core: float
    """Small photos a second; large ones take as much longer as their files are larger."""
    cores_per_gpu: int
    inside_gb: float
    link_gb: float
    read_mb: float


@click.command(help=__doc__)
@click.argument("measured", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--peak", type=click.FloatRange(min=0, min_open=True), help="Assumed bf16 TFLOP/s of a GPU.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Assumed share of that peak.")
@click.option("--photos", default=1_803_460, show_default=True, help="Training photos (Places365-Standard).")
@click.option("--photo-kb", default=13.3, show_default=True, help="A 256-pixel JPEG (24 GB for all).")
@click.option("--large-photo-kb", default=58.0, show_default=True, help="A full-size JPEG (105 GB for all).")
@click.option("--cores-per-gpu", default=16, show_default=True)
@click.option("--inside-gb", default=200.0, show_default=True, help="GB/s between GPUs of a machine of 8.")
@click.option("--link-gb", default=25.0, show_default=True, help="GB/s of a GPU to other machines.")
@click.option(
    "--read-mb", default=1000.0, show_default=True, help="MB/s that all machines together can read."
)
def main(
    measured: Path,
    peak: float | None,
    share: float | None,
    photos: int,
    photo_kb: float,
    large_photo_kb: float,
    cores_per_gpu: int,
    inside_gb: float,
    link_gb: float,
    read_mb: float,
) -> None:
    """See the module's docstring."""
    if (peak is None) != (share is None):
        raise click.UsageError("--peak and --share belong together: give both or none")
    results = json.loads(measured.read_text(encoding="utf-8"))
    stages = read_stages(results["rows"], peak * 1e12 * share if peak and share else None)
    sizes_kb = {SMALL: photo_kb, LARGE: large_photo_kb}
    decoding = results["decode_per_core"]
    assumed = Assumptions(photos, sizes_kb, decoding, cores_per_gpu, inside_gb, link_gb, read_mb)
    source = f"{share:.0%} of {peak:g} TFLOP/s, assumed" if peak else f"measured on {results['device']}"
    click.echo(f"Images per second: {source}; `~` marks what is estimated.\n")
    for title, table in (
        ("Schedules", schedules(stages)),
        ("Hours of computing", hours(stages)),
        ("Each step", demands(stages, assumed)),
        ("Sizes", sizes(stages, assumed)),
    ):
        click.echo(f"### {title}\n\n{to_markdown(table)}\n")


# -- stages ----------------------------------------------------------------------------------------------


def read_stages(rows: Sequence[dict[str, Any]], products_per_second: float | None) -> list[Stage]:
    """Join the configs' schedules with measured rows.

    Args:
        rows: of the training benchmark.
        products_per_second: estimate all rates from the counted products instead.

    Raises:
        DataError: a stage's network was not measured.
    """
    os.environ.setdefault("DATA", "data")
    stages = []
    for name in STAGES:
        config = read_config(CONFIGS / f"{name}.toml")
        own = next((row for row in rows if row["config"] == name), None)
        near = own or next((row for row in rows if row["preset"] == config.preset), None)
        if near is None:
            raise DataError(
                f"{name} was not measured, nor another config of {config.preset}; "
                f"run: python benchmarks/training.py configs/{name}.toml --out FILE"
            )
        pixels = mean_pixels(config) / near["size"] ** 2
        rate = near["loaded"]
        if products_per_second is not None:
            rate = products_per_second / (near["gflop_per_image"] * 1e9)
        estimated = own is None or pixels != 1 or products_per_second is not None
        numbers = (config.images, config.batch_size, config.size, rate / pixels, estimated)
        stages.append(Stage(name, *numbers, *measure_networks(config)))
    return stages


def mean_pixels(config: RunConfig) -> float:
    """Pixels of a training image, mean over the sizes a run cycles through."""
    sides = range(config.smallest_size or config.size, config.size + 1, SIZE_STEP)
    return sum(side**2 for side in sides) / len(sides)


def measure_networks(config: RunConfig) -> tuple[int, int, int]:
    """Values that learn, messages of BatchNorm in a step, bytes of a state."""
    with torch.device("meta"):
        networks: list[nn.Module]
        if isinstance(config, AcrRunConfig):
            networks = [build_inpainter(config.preset), PatchDiscriminator(config.discriminator_width)]
        else:
            networks = [build_mae(config.preset)]
    averaged = count_values(networks[0].parameters())
    everything = sum(count_values(network.parameters()) for network in networks)
    learning = sum(count_values(p for p in network.parameters() if p.requires_grad) for network in networks)
    norms = [sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) for network in networks]
    messages = sum(
        2 * count * passes for count, passes in zip(norms, (1, DISCRIMINATOR_PASSES), strict=False)
    )
    return learning, messages, 4 * (everything + averaged + 2 * learning)  # Adam keeps two averages


def count_values(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers parameters hold."""
    return sum(parameter.numel() for parameter in parameters)


# -- tables ----------------------------------------------------------------------------------------------


def schedules(stages: Sequence[Stage]) -> list[Sequence[str]]:
    """What is to be done."""
    lines: list[Sequence[str]] = [("config", "images", "batch", "steps", "images/s on one GPU")]
    for stage in stages:
        steps = f"{stage.images / stage.batch:,.0f}"
        lines.append((stage.name, f"{stage.images:,}", str(stage.batch), steps, mark(stage, stage.rate)))
    return lines


def hours(stages: Sequence[Stage]) -> list[Sequence[str]]:
    """Hours if GPUs did nothing but compute: what more of them can save at best."""
    titles = (f"{gpus} GPU" if gpus == 1 else f"{gpus} GPUs" for gpus in GPUS)
    lines: list[Sequence[str]] = [("config", *titles)]
    for stage in stages:
        alone = stage.images / stage.rate / 3600
        lines.append((stage.name, *(mark(stage, alone / gpus) for gpus in GPUS)))
    return lines


def demands(stages: Sequence[Stage], assumed: Assumptions) -> list[Sequence[str]]:
    """What every GPU and what they share must bear in a step, and what gives way."""
    lines: list[Sequence[str]] = [
        ("config", "GPUs", "batch a GPU", "computing", "gradients", "BatchNorm", "time spent computing",
         "reading", "cores a GPU", "what breaks")
    ]  # fmt: skip
    for stage in stages:
        kilobytes = assumed.photo_kb[stage.size]
        cores = stage.rate / assumed.decode_per_core * kilobytes / assumed.photo_kb[SMALL]
        for gpus in GPUS:
            batch = max(stage.batch / gpus, LEAST_PER_GPU)
            computing = batch / stage.rate
            # a ring: every GPU sends and takes the gradients nearly twice, when the backward pass is over
            link = assumed.inside_gb if gpus <= GPUS_OF_A_MACHINE else assumed.link_gb
            gradients = 2 * (gpus - 1) / gpus * 4 * stage.learning / (link * 1e9)
            norms = stage.norm_messages * MESSAGE_DELAY if gpus > 1 else 0.0
            busy = computing / (computing + gradients + norms)
            reading = stage.rate * gpus * kilobytes / 1e3
            problems = {
                f"the batch: {stage.batch}, {gpus * LEAST_PER_GPU} needed": stage.batch
                < gpus * LEAST_PER_GPU,
                "messages": busy < 0.5,
                "decoding": cores > assumed.cores_per_gpu,
                "reading": reading > assumed.read_mb,
            }
            lines.append(
                (
                    stage.name,
                    str(gpus),
                    f"{batch:g}",
                    mark(stage, computing * 1e3) + " ms",
                    f"{gradients * 1e3:.1f} ms",
                    f"{norms * 1e3:.1f} ms",
                    f"{'~' * stage.estimated}{busy:.0%}",
                    f"{mark(stage, stage.rate * gpus)} photos/s, {mark(stage, reading)} MB/s",
                    mark(stage, cores),
                    ", ".join(what for what, breaks in problems.items() if breaks) or "-",
                )
            )
    return lines


def sizes(stages: Sequence[Stage], assumed: Assumptions) -> list[Sequence[str]]:
    """What lies on disk, and what travels in each step."""
    lines: list[Sequence[str]] = [("what", "size")]
    for size, kilobytes in assumed.photo_kb.items():
        lines.append((f"photos for {size} pixels", f"{assumed.photos * kilobytes / 1e6:.0f} GB"))
    for stage in stages:
        lines.append((f"a state of {stage.name}", f"{stage.state_bytes / 1e9:.2f} GB"))
        lines.append((f"gradients of {stage.name}", f"{4 * stage.learning / 1e9:.2f} GB"))
    return lines


def mark(stage: Stage, value: float) -> str:
    """A number of three digits, with ``~`` if it rests on an estimate."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{'~' * stage.estimated}{value:,.{digits}f}"


def to_markdown(lines: Sequence[Sequence[str]]) -> str:
    """Lines as a table; the first are its titles."""
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)


if __name__ == "__main__":
    try:
        main(prog_name="python benchmarks/scale.py")
    except InpaintError as error:
        sys.exit(f"error: {error}")
