"""Do the channels of a convolutional encoder say the same? Measured in every block, before and after GRN.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3.2: mean pairwise cosine distance of channels, by layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from eval.report.tables import DASH, Cell, Line, Table
from inpaint.backbones.feature_maps import channel_distance
from inpaint.checkpoint import load_checkpoint
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.inpainter import Inpainter


@dataclass(frozen=True)
class BlockDistance:
    """Mean over images of :func:`~inpaint.backbones.feature_maps.channel_distance` in one block's wide layer.

    Attributes:
        name: stage and block, both from 1.
        after_gelu: 0 to 1; near 0 all channels say the same.
        after_grn: the same, normalised; None for a network without GRN.
    """

    name: str
    after_gelu: float
    after_grn: float | None


def load_encoder(path: Path, device: torch.device) -> FullyConvolutionalAutoencoder:
    """Load a convolutional autoencoder, alone or as the prior of a whole network.

    Raises:
        CheckpointError: the file holds no such thing, or cannot be read.
    """
    model = load_checkpoint(path, device)
    prior = model.prior if isinstance(model, Inpainter) else model
    if not isinstance(prior, FullyConvolutionalAutoencoder):
        raise CheckpointError(
            f"{path} holds no convolutional encoder, expected a checkpoint of inpaint train fcmae"
        )
    return prior


@torch.inference_mode()
def measure_collapse(model: FullyConvolutionalAutoencoder, images: Iterable[Tensor]) -> list[BlockDistance]:
    """Send whole images, nothing hidden, through an encoder.

    Args:
        model: whose encoder is measured.
        images: each ``(1, 3, H, W)`` in [0, 1] on the model's device; at least one.

    Returns:
        Every block, in the order of the pass.
    """
    found: dict[str, list[float]] = defaultdict(list)
    hooks = []
    for name, module in model.encoder.named_modules():
        if name.endswith((".mlp.act", ".mlp.grn")):

            def note(_module: object, _inputs: object, output: Tensor, name: str = name) -> None:
                found[name].append(channel_distance(output[0].permute(2, 0, 1)))

            hooks.append(module.register_forward_hook(note))
    try:
        for image in images:
            square, _ = model.fit_square(image, torch.zeros_like(image[:, :1]))
            model.encoder(model.normalise(square), torch.ones(1, 1, *model.grid, device=image.device) > 0)
    finally:
        for hook in hooks:
            hook.remove()
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return [
        BlockDistance(
            f"{stage}.{block}",
            means[f"stages.{stage - 1}.blocks.{block - 1}.mlp.act"],
            means.get(f"stages.{stage - 1}.blocks.{block - 1}.mlp.grn"),
        )
        for stage, depth in enumerate(model.preset.depths, start=1)
        for block in range(1, depth + 1)
    ]


def collapse_table(measured: Mapping[str, Sequence[BlockDistance]]) -> Table:
    """One line a block and one of their mean, two columns a model.

    Args:
        measured: blocks of each model by its name.
    """
    headings = [f"{name}, after {layer}" for name in measured for layer in ("GELU", "GRN")]
    columns: list[dict[str, float | None]] = []
    for blocks in measured.values():
        columns += [{b.name: b.after_gelu for b in blocks}, {b.name: b.after_grn for b in blocks}]
    names = sorted(
        {name for column in columns for name in column},
        key=lambda name: [int(part) for part in name.split(".")],
    )
    lines = [Line(name, "", tuple(_cell(column.get(name)) for column in columns)) for name in names]
    means = []
    for column in columns:
        numbers = [value for value in column.values() if value is not None]
        means.append(_cell(sum(numbers) / len(numbers) if numbers else None))
    return Table(("stage.block", *headings), (*lines, Line("mean", "", tuple(means))))


def _cell(value: float | None) -> Cell:
    return Cell(DASH if value is None else f"{value:.4f}")
