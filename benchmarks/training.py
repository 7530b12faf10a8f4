"""Training speed: images per second, and what share of the device's matrix peak that is.

    python benchmarks/training.py --out training.json                          # the eight networks, one GPU
    python benchmarks/training.py --compile --out compiled.json                # the same, compiled
    python benchmarks/training.py configs/acr_small.toml --batch 4 --device cpu

Every config is run as it is, at its largest size, on steps of its own training loop with every loss, twice:
on four batches drawn beforehand, and with its loader, which shows whether the loader is the limit. Photos are
JPEGs cut from the example photo and feature networks have random weights, in their true formats: the speed is
the same. Products are counted by PyTorch's formulas (FFTs are not), the peak is the best rate of a large bf16
matrix product in the same run.
"""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from inpaint.checkpoint import save_checkpoint
from inpaint.data.batches import Batch, Batches
from inpaint.errors import InpaintError
from inpaint.features.perceptual import SceneFeatures, SqueezeNetFeatures
from inpaint.models.mae import MaePreset
from inpaint.models.presets import INPAINTER_PRESETS, build_mae
from inpaint.train.config import AcrRunConfig, Precision, RunConfig, read_config
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.optimise import choose_precision, uncompiled
from inpaint.train.recipes import build_recipe

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = (
    "mae_small", "fcmae_small", "places2_mae", "lama_small", "acr_small", "acr_small_convnext",
    "places2_lama", "places2_acr",
)  # fmt: skip
WARM_UP_STEPS, CACHED_BATCHES, COUNTED_IMAGES = 3, 4, 2

Step = Callable[[Batch], Any]
clock: Callable[[], float] = time.perf_counter


@dataclasses.dataclass(frozen=True)
class Row:
    """What one config was measured at; rates are images per second."""

    config: str
    preset: str
    size: int
    batch: int
    precision: str
    compiled: bool
    cached: float
    """Steps on batches drawn beforehand."""
    loaded: float
    """Steps with the loader: what a run gets."""
    loader: float
    """The loader without any step."""
    gflop_per_image: float
    """Products of forward and backward passes, two per multiply-add."""
    peak_share: float
    """Of `loaded`."""
    memory_gb: float | None
    """The most that was allocated on a GPU."""
    busy: float | None
    """Share of the time in which a GPU computes."""
    most_time_in: dict[str, float]
    """Operators and their share of the computing time."""


@click.command(help=__doc__)
@click.argument("configs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--batch", type=click.IntRange(2), help="Images per step, instead of each config's.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["auto", "float32", "bf16"]),
    help="Instead of each config's; several are measured one after the other.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the networks, whatever the configs say.")
@click.option("--seconds", default=8.0, show_default=True, help="Per measurement; there are two per config.")
@click.option("--device", default="auto", show_default=True)
@click.option("--cpu-time", is_flag=True, help="Count CPU seconds: for one thread of a shared machine.")
@click.option("--photos", type=click.Path(exists=True, path_type=Path), help="Instead of the example photo.")
@click.option("--shapes", type=click.Path(exists=True, path_type=Path), help="Zip of object-shaped holes.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for benchmarks/scale.py.")
def main(
    configs: tuple[Path, ...],
    batch: int | None,
    precisions: tuple[Precision, ...],
    compiled: bool,
    seconds: float,
    device: str,
    cpu_time: bool,
    photos: Path | None,
    shapes: Path | None,
    out: Path | None,
) -> None:
    """See the module's docstring."""
    global clock
    if cpu_time:
        torch.set_num_threads(1)
        clock = time.process_time
    paths = configs or [ROOT / "configs" / f"{name}.toml" for name in NETWORKS]
    processes = join_processes(device)
    peak = measure_peak(processes.device)
    click.echo(f"{describe(processes.device)}; bf16 matrix peak {peak / 1e12:.3g} TFLOP/s")
    results: dict[str, Any] = {
        "device": describe(processes.device),
        "torch": torch.__version__,
        "peak_tflops": peak / 1e12,
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        results["decode_per_core"] = measure_decoding(write_photos(Path(folder) / "photos", 256))
        click.echo(f"One core decodes {results['decode_per_core']:.4g} JPEGs of 256 pixels a second\n")
        click.echo(to_line(TITLES) + "\n" + to_line(("---",) * len(TITLES)))
        for path in paths:
            config = prepare(path, Path(folder), batch, str(processes.device), photos, shapes)
            for precision in precisions or (config.precision,):
                chosen, _ = choose_precision(precision, processes)
                config = dataclasses.replace(config, compile=compiled or config.compile, precision=chosen)
                row = measure(path.stem, config, processes, seconds, peak)
                # Printed and written at once: what is measured stays, whatever becomes of the rest.
                click.echo(to_line(cells(row)))
                results["rows"].append(dataclasses.asdict(row))
                if out is not None:
                    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
                gc.collect()  # ends the loader's workers


# -- preparing -------------------------------------------------------------------------------------------


def prepare(
    path: Path, folder: Path, batch: int | None, device: str, photos: Path | None, shapes: Path | None
) -> RunConfig:
    """Read a config and give it data that is here: photos, shapes and feature networks' files in `folder`."""
    os.environ.setdefault("DATA", str(folder))
    config = read_config(path)
    changes: dict[str, Any] = {
        "out": folder / path.stem,
        "photos": (photos or write_photos(folder / "photos", max(config.size, 256)),),
        "shapes": shapes,
        "device": device,
        "batch_size": batch or config.batch_size,
        "smallest_size": None,
        "early_size": None,
        "early_share": 0.0,
        "images": 10**9,  # never reached
    }
    if isinstance(config, AcrRunConfig):
        changes |= {"prior_checkpoint": None, "init_checkpoint": None, "adversarial_after_images": 0}
        if config.weights.perceptual > 0:
            changes["perceptual_weights"] = write_features(config, folder)
    return dataclasses.replace(config, **changes)


def write_photos(folder: Path, side: int, count: int = 256) -> Path:
    """Write JPEGs of `side` pixels cut from all over the example photo, once."""
    folder = folder / str(side)
    if not folder.exists():
        folder.mkdir(parents=True)
        with Image.open(ROOT / "examples" / "photo.jpg") as opened:
            photo = opened.convert("RGB")
        scale = max(1.0, 1.5 * side / min(photo.size))
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        for index in range(count):
            left = index * 37 % (photo.width - side)
            top = index * 23 % (photo.height - side)
            crop = photo.crop((left, top, left + side, top + side))
            crop.save(folder / f"{index:03d}.jpg", quality=90)
    return folder


def write_features(config: AcrRunConfig, folder: Path) -> Path:
    """Write random weights of a run's perceptual network in their true format."""
    if config.perceptual_network == "ade20k":
        path = folder / "encoder_epoch_20.pth"
        torch.save(SceneFeatures().state_dict(), path)
        return path
    path = folder / f"{config.perceptual_network}.safetensors"
    if config.perceptual_network == "squeezenet":
        save_file(SqueezeNetFeatures().state_dict(), path)
    else:
        numbers = INPAINTER_PRESETS[config.preset].prior
        save_checkpoint(path, build_mae(numbers if isinstance(numbers, MaePreset) else "mae-small"))
    return path


# -- measuring -------------------------------------------------------------------------------------------


def measure(name: str, config: RunConfig, processes: Processes, seconds: float, peak: float) -> Row:
    """Measure one config."""
    device = processes.device
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step = build_recipe(config, processes).step
    loader = Batches(config, device, on_problem=print)
    size = config.batch_size
    cached = [loader.batch_at(index * size) for index in range(CACHED_BATCHES)]

    def take_cached(index: int) -> Batch:
        return cached[index % CACHED_BATCHES]._replace(images_seen=index * size)

    def take_loaded(index: int) -> Batch:
        return loader.batch_at(index * size)

    rates = [
        size / seconds_per_step(lambda index, take=take: step(take(index)), seconds, device)
        for take in (take_cached, take_loaded)
    ]
    loader_rate = size / seconds_per_step(take_loaded, seconds / 4, device)
    flops = count_flops(config, step, cached[0])
    busy, most_time_in = profile_steps(lambda index: step(take_cached(index)), device)
    return Row(
        config=name,
        preset=config.preset,
        size=config.size,
        batch=size,
        precision=config.precision,
        compiled=config.compile,
        cached=rates[0],
        loaded=rates[1],
        loader=loader_rate,
        gflop_per_image=flops / 1e9,
        peak_share=rates[1] * flops / peak,
        memory_gb=torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
        busy=busy,
        most_time_in=most_time_in,
    )


def seconds_per_step(step: Callable[[int], Any], seconds: float, device: torch.device) -> float:
    """Time steps for about so many seconds, after a warm-up; the device is waited for only at the end."""
    for index in range(WARM_UP_STEPS):
        step(index)
    wait_for(device)
    start = clock()
    step(WARM_UP_STEPS)
    wait_for(device)
    count = max(3, round(seconds / (clock() - start)))
    start = clock()
    for index in range(count):
        step(WARM_UP_STEPS + 1 + index)
    wait_for(device)
    return (clock() - start) / count


def count_flops(config: RunConfig, step: Step, batch: Batch) -> float:
    """Count a step's products per image; with R1 every so many steps, the mean over those."""

    def count(step_number: int) -> float:
        few = Batch(
            batch.image[:COUNTED_IMAGES],
            batch.mask[:COUNTED_IMAGES],
            step_number * config.batch_size,
            slice(0, COUNTED_IMAGES),
        )
        with uncompiled(config.compile), ProductCounter() as counter:
            step(few)
        return counter.total / COUNTED_IMAGES

    every = config.r1_every if isinstance(config, AcrRunConfig) else 1
    return (count(0) + (every - 1) * count(1)) / every if every > 1 else count(0)


class ProductCounter(TorchDispatchMode):
    """Counts products by PyTorch's formulas. Its own FlopCounterMode refuses the gradient inside R1."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and count it."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def profile_steps(step: Callable[[int], Any], device: torch.device) -> tuple[float | None, dict[str, float]]:
    """Where two steps spend their computing time, and the share of the time in which a GPU computes."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        start = clock()
        for index in (1, 2):
            step(index)
        wait_for(device)
        elapsed = clock() - start
    events = profiler.key_averages()
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    times = {event.key: getattr(event, kind) for event in events if event.key.startswith("aten::")}
    total = max(sum(times.values()), 1e-9)
    most = sorted(times, key=lambda name: -times[name])[:4]
    busy = total / 1e6 / elapsed if on_gpu else None
    return busy, {name.removeprefix("aten::"): times[name] / total for name in most}


def measure_peak(device: torch.device) -> float:
    """The best rate of a large bf16 matrix product, in products per second (two per multiply-add)."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    fastest = min(seconds_per_step(lambda _: left @ right, 0.5, device) for _ in range(3))
    return 2 * side**3 / fastest


def measure_decoding(folder: Path) -> float:
    """How many of a folder's photos one core decodes in a second."""
    contents = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    start = clock()
    for content in contents:
        with Image.open(io.BytesIO(content)) as photo:
            photo.convert("RGB")
    return len(contents) / (clock() - start)


def wait_for(device: torch.device) -> None:
    """Let a GPU finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# -- telling ---------------------------------------------------------------------------------------------


def describe(device: torch.device) -> str:
    """The hardware in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


TITLES = (
    "config", "precision", "batch", "images/s", "on cached batches", "loader alone", "GFLOP/image",
    "share of peak", "GPU busy", "memory", "most time in",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row under the titles."""
    return (
        f"{row.config}, compiled" if row.compiled else row.config,
        row.precision,
        str(row.batch),
        f"{row.loaded:.4g}",
        f"{row.cached:.4g}",
        f"{row.loader:.4g}",
        f"{row.gflop_per_image:.3g}",
        f"{row.peak_share:.1%}",
        "-" if row.busy is None else f"{row.busy:.0%}",
        "-" if row.memory_gb is None else f"{row.memory_gb:.3g} GB",
        ", ".join(f"{name} {share:.0%}" for name, share in row.most_time_in.items()),
    )


def to_line(texts: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(texts) + " |"


if __name__ == "__main__":
    try:
        main(prog_name="python benchmarks/training.py")
    except InpaintError as error:
        sys.exit(f"error: {error}")
