"""How fast networks fill: forms of one network side by side, and a law of time and memory.

    python benchmarks/inference.py compare                       # acr-base and acr-small at 512 pixels
    python benchmarks/inference.py compare acr-small --threads 2 --clock wall
    python benchmarks/inference.py law --out docs/inference.svg  # the pipeline from 256 pixels to 8K

`compare` runs the forms in turn in one process, on random weights whose gates are open, and compares their
outputs: "official" takes the published code's path (all tokens through the encoder, scores in every layer,
patches cut out and folded, BatchNorm as it is), "plain" is the network as it is trained, "fast" and
"bfloat16" are `inpaint.inference`, whole and, as a pipeline calls it, with the holes alone decoded. It
measures the machine's peak by a convolution in the same turns. On a machine that has other work,
`--clock cpu` with one thread (the default) is fairest. `law` runs each case in a process of its own.
"""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import MethodType
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inpaint.inference import InferenceInpainter
from inpaint.layers.transfer import AttentionTransfer
from inpaint.layers.transformer import Attention, softmax_over
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import build_inpainter

CASES = [(side, share) for side in (256, 512, 1024, 2048, 4096, 7680) for share in (0.01, 0.05, 0.2)]


@click.group(help=__doc__)
def main() -> None:
    """See the module's docstring."""


# -- forms of one network ----------------------------------------------------------------------------------


def build_lively(preset: str) -> Inpainter:
    """Random weights for which every part counts: gates open, BatchNorm's statistics those of noise."""
    torch.manual_seed(0)
    model = build_inpainter(preset)
    for name, parameter in model.named_parameters():
        if "alpha" in name:
            parameter.data.fill_(0.5)
        if name == "generator.head.weight":
            parameter.data.normal_(0, 0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(2, 3, 256, 256), (torch.rand(2, 1, 256, 256) > 0.8).float())
    return model.eval()


def follow_official_path(model: Inpainter) -> Inpainter:
    """The same network, computed as the published code does."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_attend_explicitly, module)
        if isinstance(module, AttentionTransfer):
            module.forward = MethodType(_transfer_patches, module)
    if isinstance(model.prior, MaskedAutoencoder):
        model.prior.encode = MethodType(_encode_all, model.prior)
    return model


def _attend_explicitly(
    self: Attention, tokens: Tensor, may_attend: Tensor | None = None, score_keys: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    batch, count, width = tokens.shape
    qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    logits = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
    everything = torch.ones_like(logits[:, 0, 0], dtype=torch.bool)
    allowed = everything if may_attend is None else may_attend
    mixed = softmax_over(logits, allowed[:, None, None, :]) @ value
    output = self.projection(mixed.transpose(1, 2).reshape(batch, count, width))
    scores = softmax_over(logits, (allowed if score_keys is None else score_keys)[:, None, None, :]).mean(
        dim=1
    )
    return output, None if score_keys is None else scores


def _encode_all(
    self: MaskedAutoencoder, normalised: Tensor, hidden: Tensor, visible: int | None = None
) -> tuple[Tensor, Tensor]:
    tokens = self.embed(normalised).flatten(2).transpose(1, 2) + self.positions
    for block in self.encoder:
        tokens, _ = block(tokens, ~hidden)
    return self.encoder_norm(tokens), torch.arange(hidden.shape[1]).expand(len(hidden), -1)


def _transfer_patches(
    self: AttentionTransfer, features: Tensor, attention: Tensor, grid: tuple[int, int]
) -> Tensor:
    rate_y, rate_x = (side // cells for side, cells in zip(features.shape[-2:], grid, strict=True))
    if features.shape[-2] % (2 * grid[0]) or features.shape[-1] % (2 * grid[1]):
        raise click.UsageError("the official path is written for sizes that are multiples of 256 pixels")
    half = (rate_x // 2, rate_x // 2, rate_y // 2, rate_y // 2)
    kernel, stride = (2 * rate_y, 2 * rate_x), (rate_y, rate_x)
    patches = F.unfold(F.pad(features, half, mode="replicate"), kernel, stride=stride)
    canvas = ((grid[0] + 1) * rate_y, (grid[1] + 1) * rate_x)
    folded = F.fold(patches @ attention.transpose(1, 2), canvas, kernel, stride=stride) / 4
    inner = folded[..., half[2] : half[2] + features.shape[-2], half[0] : half[0] + features.shape[-1]]
    return features + self.alpha * inner


@main.command()
@click.argument("presets", nargs=-1)
@click.option("--size", default=512, show_default=True, help="Side of the image in pixels.")
@click.option("--threads", default=1, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--clock", type=click.Choice(["cpu", "wall"]), default="cpu", show_default=True)
def compare(presets: tuple[str, ...], size: int, threads: int, repeats: int, clock: str) -> None:
    """Time forms of PRESETS (acr-base and acr-small if none is given) in turn; medians."""
    torch.set_num_threads(threads)
    now = time.process_time if clock == "cpu" else time.perf_counter
    image = F.interpolate(torch.rand(1, 3, 32, 32), (size, size), mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 5 : 3 * size // 5, size // 4 : 3 * size // 4] = 1
    click.echo(f"{size} x {size} pixels, {threads} threads, {clock} seconds, median of {repeats}\n")
    columns = ("preset", "form", "seconds", "official / form", "GFLOP/s", "of peak", "copies, padding")
    click.echo(f"| {' | '.join(columns)} | error in the hole |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for preset in presets or ("acr-base", "acr-small"):
        model = build_lively(preset)
        forms: dict[str, Callable[..., Tensor]] = {
            "official": follow_official_path(model),
            "plain": model,
            "fast": InferenceInpainter(model),
            "fast, holes alone": InferenceInpainter(model, holes_only=True),
            "bfloat16": InferenceInpainter(model, torch.bfloat16),
            "bfloat16, holes alone": InferenceInpainter(model, torch.bfloat16, holes_only=True),
        }
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        with torch.inference_mode():
            outputs = {name: form(image, mask) for name, form in forms.items()}
            with FlopCounterMode(display=False) as counter:
                model(image, mask)
            for _ in range(repeats):
                for name, form in [*forms.items(), ("peak", _peak_convolution())]:
                    start = now()
                    form(image, mask)
                    seconds[name].append(now() - start)
            copies = {name: _copy_share(form, image, mask) for name, form in forms.items()}
        peak = PEAK_GFLOP / median(seconds["peak"])
        for name in forms:
            spent = median(seconds[name])
            rate = counter.get_total_flops() / 1e9 / spent
            told = (
                f"| {preset} | {name} | {spent:.3f} | {median(seconds['official']) / spent:.2f} | {rate:.1f} "
            )
            error = _describe_error(outputs[name], outputs["plain"], mask)
            click.echo(f"{told}| {rate / peak:.0%} | {copies[name]:.1%} | {error} |")
        click.echo(f"| {preset} | one large convolution | | | {peak:.1f} | 100% | | |")


PEAK_GFLOP = 10 * 2 * 256 * 256 * 9 * 62 * 62 / 1e9


def _peak_convolution() -> Callable[..., Any]:
    features = torch.rand(1, 256, 64, 64).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    return lambda *_: [F.conv2d(features, weight) for _ in range(10)]


def _copy_share(form: Callable[..., Tensor], image: Tensor, mask: Tensor) -> float:
    """Share of the time spent on copies between layouts and on padding."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        form(image, mask)
    spent = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    copies = ("aten::copy_", "aten::cat", "aten::index_select")
    copying = sum(us for key, us in spent.items() if key.startswith(copies) or "pad" in key)
    return copying / sum(spent.values())


def _describe_error(output: Tensor, plain: Tensor, mask: Tensor) -> str:
    """In the hole."""
    error = (output - plain)[:, :, mask[0, 0] > 0]
    mean = error.square().mean()
    return (
        "at most 0.0e+00, exact"
        if mean == 0
        else f"at most {error.abs().max():.1e}, {-10 * torch.log10(mean):.1f} dB"
    )


# -- a law of time and memory --------------------------------------------------------------------------------


@main.command()
@click.option("--model", default="acr-small", show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="SVG file to write.")
def law(model: str, threads: int, out: Path | None) -> None:
    """Fit seconds and memory of filling one round hole to megapixels of the image and of the hole."""
    rows = []
    click.echo(
        "| image | hole | MP | hole MP | CPU seconds | peak memory |\n| --- | --- | --- | --- | --- | --- |"
    )
    for side, share in CASES:
        command = [sys.executable, __file__, "one", model, str(side), str(share), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        pixels, hole, seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
        rows.append((pixels, hole, seconds, megabytes))
        click.echo(
            f"| {side} | {share:.0%} | {pixels:.2f} | {hole:.3f} | {seconds:.2f} | {megabytes:.0f} MB |"
        )
    table = np.array(rows)
    terms = np.stack([np.ones(len(table)), table[:, 0], table[:, 1]], axis=1)
    laws = []
    for column, unit in ((2, "s"), (3, "MB")):
        weights = 1 / table[:, column : column + 1]  # relative errors count alike from small to large
        law_, *_ = np.linalg.lstsq(terms * weights, table[:, column] * weights[:, 0], rcond=None)
        laws.append(law_)
        worst = np.abs(terms @ law_ / table[:, column] - 1).max()
        click.echo(
            f"\n{unit} = {law_[0]:.3g} + {law_[1]:.3g} per megapixel + {law_[2]:.3g} per megapixel of hole "
            f"(at most {worst:.0%} off)"
        )
    if out is not None:
        out.write_text(draw(table, terms, laws, f"{model}, {threads} thread(s)"), encoding="utf-8")


@main.command(hidden=True)
@click.argument("model")
@click.argument("side", type=int)
@click.argument("share", type=float)
@click.argument("threads", type=int)
def one(model: str, side: int, share: float, threads: int) -> None:
    """Fill one hole, of a share of the pixels, in an image of 16:9 whose longer side is given."""
    from inpaint.pipeline import InpaintPipeline

    torch.set_num_threads(threads)
    size = side, side * 9 // 16
    small = np.random.default_rng(0).integers(0, 256, (18, 32, 3), np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    radius = (share * size[0] * size[1] / np.pi) ** 0.5
    y, x = np.ogrid[: size[1], : size[0]]
    mask = Image.fromarray(
        ((y - size[1] / 2) ** 2 + (x - size[0] / 2) ** 2 < radius**2).astype(np.uint8) * 255
    )
    pipeline = InpaintPipeline.from_pretrained(model, device="cpu")
    warm = Image.new("L", (64, 64))
    warm.paste(255, (20, 20, 40, 40))
    pipeline(image.crop((0, 0, 64, 64)), warm)
    start = time.process_time()
    pipeline(image, mask)
    seconds = time.process_time() - start
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    click.echo(json.dumps([size[0] * size[1] / 1e6, size[0] * size[1] * share / 1e6, seconds, megabytes]))


def draw(table: np.ndarray, terms: np.ndarray, laws: list[np.ndarray], title: str) -> str:
    """Measured points and the fitted law over the megapixels of the image, one line for each hole share."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="330" font-family="sans-serif" '
        'font-size="11"><rect width="760" height="330" fill="white"/>'
    ]
    low, high = np.log10(table[:, 0].min() / 1.5), np.log10(table[:, 0].max() * 1.5)
    for index, (law_, unit) in enumerate(zip(laws, ("CPU seconds", "peak memory, MB"), strict=True)):
        left, values = 60 + 380 * index, table[:, 2 + index]
        bottom, top = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))

        def place(pixels: float, value: float, left: int = left, span: Any = (bottom, top)) -> str:
            x = left + 300 * (np.log10(pixels) - low) / (high - low)
            share = (np.log10(max(value, 10 ** span[0])) - span[0]) / (span[1] - span[0])
            return f"{x:.1f},{290 - 240 * share:.1f}"

        parts.append(f'<text x="{left}" y="30">{unit} over megapixels, {title}</text>')
        for power in range(int(bottom), int(top) + 1):
            x, y = place(10**low, 10.0**power).split(",")
            parts.append(f'<path d="M{x} {y}h300" stroke="#ddd"/><text x="{left - 6}" y="{y}" ')
            parts.append(f'text-anchor="end">{10.0**power:g}</text>')
        for pixels in (0.1, 1, 10):
            x = place(pixels, 10**bottom).split(",")[0]
            parts.append(f'<text x="{x}" y="306" text-anchor="middle">{pixels:g}</text>')
        shares = [share for _, share in CASES]
        for share, colour in zip(sorted(set(shares)), ("#1b6ca8", "#c8553d", "#3a7d44"), strict=True):
            chosen = [row for row, own in enumerate(shares) if own == share]
            line = " ".join(place(table[row, 0], float(terms[row] @ law_)) for row in chosen)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
            for row in chosen:
                x, y = place(table[row, 0], values[row]).split(",")
                parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
            height = 50 + 14 * sorted(set(shares)).index(share)
            parts.append(f'<text x="{left + 8}" y="{height}" fill="{colour}">hole {share:.0%}</text>')
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    main(prog_name="python benchmarks/inference.py")
