"""From ResNet to ConvNeXt: each published step is a config of one small network.

Liu et al. 2022, A ConvNet for the 2020s: section 2 for the steps, tables 10 and 11 for the printed figures.
Where the paper leaves a detail open, the reading is chosen whose MACs are the printed ones.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from inpaint.backbones.network import count_network
from inpaint.layers.convnext import require_timm


@dataclass(frozen=True)
class Design:
    """What a step can change; the defaults are ResNet-50, with the stride in the 3 x 3 convolution."""

    depths: tuple[int, ...] = (3, 4, 6, 3)  # blocks of each stage
    width: int = 64  # channels of the narrow layers of stage 1; they double with each stage
    stem: Literal["pool", "patch"] = "pool"  # 7 x 7 convolution and pooling, or patches of 4 x 4
    # Where the spatial convolution stands: between two pointwise ones, on the narrow channels (bottleneck) or
    # on the wide ones (inverted), or before both (depthwise first). Wide is four times narrow.
    block: Literal["bottleneck", "inverted", "depthwise first"] = "bottleneck"
    depthwise: bool = False  # whether the spatial convolution keeps channels apart
    kernel: int = 3  # side of the spatial convolution
    activation: Literal["relu", "gelu"] = "relu"
    activations: Literal[1, 3] = 3  # of a block: 3, or 1, before its last convolution
    norm: Literal["batch", "layer"] = "batch"  # over the batch, or over the channels of each place
    norms: Literal[1, 3] = 3  # of a block: 3, and one in its shortcut; or 1, after its first convolution
    # By the stride of a stage's first block, whose shortcut is then a pointwise convolution; or by a 2 x 2
    # convolution before the stage, with a norm before it and one more before the classifier.
    downsampling: Literal["in block", "separate"] = "in block"
    layer_scale: bool = False  # belongs to ConvNeXt; the paper does not say since which step


def build_design(design: Design, classes: int = 1000) -> nn.Sequential:
    """Build the network of a design, with random weights: ``(B, 3, H, W)`` to ``(B, classes)``."""
    channels = design.width
    parts: list[nn.Module] = [_stem(design)]
    for stage, depth in enumerate(design.depths):
        width = design.width * 2**stage
        leaving = 4 * width if design.block == "bottleneck" else width
        stride = 1 if stage == 0 else 2
        layers: list[nn.Module] = []
        if stride == 2 and design.downsampling == "separate":
            layers += [_norm(design, channels), nn.Conv2d(channels, leaving, 2, stride)]
            channels, stride = leaving, 1
        for _ in range(depth):
            layers.append(Block(design, channels, width, stride))
            channels, stride = leaving, 1
        parts.append(nn.Sequential(*layers))
    norm = [_norm(design, channels)] if design.downsampling == "separate" else []
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), *norm, nn.Flatten(), nn.Linear(channels, classes))
    return nn.Sequential(*parts, head)


class Block(nn.Module):
    """Three convolutions beside a shortcut; ``width`` is that of the stage's narrow layers."""

    def __init__(self, design: Design, entering: int, width: int, stride: int) -> None:
        super().__init__()
        spatial, channels = {
            "bottleneck": (1, (entering, width, width, 4 * width)),
            "inverted": (1, (entering, 4 * width, 4 * width, width)),
            "depthwise first": (0, (entering, entering, 4 * width, width)),
        }[design.block]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(channels)):
            kernel, step = (design.kernel, stride) if place == spatial else (1, 1)
            groups = before if place == spatial and design.depthwise else 1
            normed = place < design.norms
            layers += _convolution(design, before, after, kernel, step, groups=groups, normed=normed)
            if place == 1 or (place == 0 and design.activations == 3):
                layers.append(_activation(design))
        self.branch = nn.Sequential(*layers)
        leaving = channels[-1]
        self.shortcut = nn.Sequential()
        if stride > 1 or entering != leaving:
            normed = design.norms == 3
            self.shortcut.extend(_convolution(design, entering, leaving, 1, stride, normed=normed))
        self.scale = nn.Parameter(torch.full((leaving, 1, 1), 1e-6)) if design.layer_scale else None
        self.last = _activation(design) if design.activations == 3 else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """``(B, entering, H, W)`` to the block's channels, H and W divided by its stride and rounded up."""
        result = self.branch(image)
        if self.scale is not None:
            result = result * self.scale
        return self.last(self.shortcut(image) + result)


def _stem(design: Design) -> nn.Sequential:
    kernel, stride = (7, 2) if design.stem == "pool" else (4, 4)
    layers = _convolution(design, 3, design.width, kernel, stride)
    if design.activations == 3:
        layers.append(_activation(design))
    if design.stem == "pool":
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    return nn.Sequential(*layers)


def _convolution(
    design: Design, before: int, after: int, kernel: int, stride: int, *, groups: int = 1, normed: bool = True
) -> list[nn.Module]:
    """A bias is left out only where a BatchNorm follows and would take it away again."""
    bias = not (normed and design.norm == "batch")
    padding = kernel // 2 if kernel % 2 else 0  # patches do not overlap
    layer = nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=bias)
    return [layer, _norm(design, after)] if normed else [layer]


def _norm(design: Design, channels: int) -> nn.Module:
    if design.norm == "batch":
        return nn.BatchNorm2d(channels)
    return require_timm().layers.LayerNorm2d(channels, eps=1e-6)


def _activation(design: Design) -> nn.Module:
    return nn.ReLU() if design.activation == "relu" else nn.GELU()


Road = Literal["tiny", "base"]


class Printed(NamedTuple):
    """What the paper prints: MACs at 224 pixels in billions, ImageNet-1K top-1 in percent."""

    gigamacs: float
    accuracy: float


STARTS: dict[Road, Design] = {"tiny": Design(), "base": Design(depths=(3, 24, 36, 3))}
"""ResNet-50 of table 10, whose accuracies are means of three runs but for the first, and ResNet-200 of 11."""
STEPS: Sequence[Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("roadmap.toml").read_text(encoding="utf-8")
)["steps"]


@dataclass(frozen=True)
class Stop:
    """A step on one of the two roads, built and counted."""

    name: str
    kept: bool  # whether the next step builds on it; otherwise it was only tried
    change: Mapping[str, Any]  # to the design of the last step that was kept
    design: Design
    printed: Printed
    gain: float | None  # in points of accuracy over the last step that was kept; None for the first
    parameters: float  # millions
    gigamacs: float  # counted, as the printed ones are
    doubt: str  # why the printed MACs cannot be this network's

    @property
    def excess(self) -> float:
        """How far the count lies above the printed one, as a share of it."""
        return self.gigamacs / self.printed.gigamacs - 1


@cache
def walk_road(road: Road) -> tuple[Stop, ...]:
    """Build and count every step of a road: some seconds, the first time."""
    design, kept, stops = STARTS[road], None, []
    for step in STEPS:
        printed, is_kept = Printed(*step[road]), step.get("kept", True)
        change = step.get("change", {})
        if road == "base":
            change = step.get("base_change", change)
        change = {key: tuple(value) if isinstance(value, list) else value for key, value in change.items()}
        tried = replace(design, **change)
        gain = None if kept is None else round(printed.accuracy - kept.accuracy, 2)
        doubt = step.get("doubt", "") if road == "tiny" else ""
        counts = count_network(lambda tried=tried: build_design(tried).eval())
        stops.append(Stop(step["name"], is_kept, change, tried, printed, gain, *counts, doubt))
        if is_kept:
            design, kept = tried, printed
    return tuple(stops)


def draw_road(stops: Sequence[Stop], title: str) -> str:
    """Draw as SVG what each step gains and costs, readable on light and on dark; ``title`` is read aloud."""
    from jinja2 import StrictUndefined, Template

    accuracies = [stop.printed.accuracy for stop in stops]
    source = Path(__file__).with_name("roadmap.svg.jinja").read_text(encoding="utf-8")
    template = Template(source, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return template.render(
        stops=stops,
        title=title,
        low=math.floor(min(accuracies)),
        high=math.ceil(max(accuracies)),
        most=max(max(stop.gigamacs, stop.printed.gigamacs) for stop in stops),
    )
