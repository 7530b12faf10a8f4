"""Do the channels of a convolutional encoder say the same? Measured in every block, before and after GRN.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3.2: mean pairwise cosine distance of channels, by layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eval.report.tables import DASH, Cell, Line, Table
from inpaint.backbones.network import channel_distance
from inpaint.models.fcmae import FullyConvolutionalAutoencoder


class BlockDistance(NamedTuple):
    """Mean over images of the channel distance in a block's wide layer, 0 to 1; near 0 all are alike.

    ``name`` is stage and block, both from 1; ``after_grn`` is None for a network without GRN.
    """

    name: str
    after_gelu: float
    after_grn: float | None


@torch.inference_mode()
def measure_collapse(model: FullyConvolutionalAutoencoder, images: Iterable[Tensor]) -> list[BlockDistance]:
    """Send images ``(1, 3, H, W)`` in [0, 1], nothing hidden, through an encoder; every block, in order.

    See :func:`inpaint.backbones.network.channel_distance`.
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
    blocks = []
    for stage, depth in enumerate(model.preset.depths):
        for block in range(depth):
            mlp = f"stages.{stage}.blocks.{block}.mlp"
            distances = means[f"{mlp}.act"], means.get(f"{mlp}.grn")
            blocks.append(BlockDistance(f"{stage + 1}.{block + 1}", *distances))
    return blocks


def collapse_table(measured: Mapping[str, Sequence[BlockDistance]]) -> Table:
    """One line a block and one of their mean, two columns a model; blocks are those of each model by name."""
    headings = [f"{name}, after {layer}" for name in measured for layer in ("GELU", "GRN")]
    columns: list[dict[str, float | None]] = []
    for blocks in measured.values():
        columns += [{b.name: b.after_gelu for b in blocks}, {b.name: b.after_grn for b in blocks}]
    names = {name for column in columns for name in column}
    in_order = sorted(names, key=lambda name: [int(part) for part in name.split(".")])
    lines = [Line(name, "", tuple(_cell(column.get(name)) for column in columns)) for name in in_order]
    numbers = [[value for value in column.values() if value is not None] for column in columns]
    means = tuple(_cell(sum(found) / len(found) if found else None) for found in numbers)
    return Table(("stage.block", *headings), (*lines, Line("mean", "", means)))


def _cell(value: float | None) -> Cell:
    return Cell(DASH if value is None else f"{value:.4f}")
