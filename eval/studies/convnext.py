"""What the papers on ConvNeXt report, measured: the road from ResNet, and whether channels collapse.

Source:
    Liu et al., *A ConvNet for the 2020s* (CVPR 2022), tables 10 and 11; Woo et al., *ConvNeXt V2* (CVPR
    2023), section 3.2: mean pairwise cosine distance of channels, by layer, before and after GRN.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eval.report.sections import Section, sections_to_markdown
from eval.report.tables import DASH, Table, text_line
from inpaint.backbones.network import channel_distance
from inpaint.backbones.roadmap import Road, Stop, walk_road
from inpaint.models.fcmae import FullyConvolutionalAutoencoder

TITLES: dict[Road, str] = {"tiny": "ResNet-50 to ConvNeXt-T", "base": "ResNet-200 to ConvNeXt-B"}
HEADINGS = ("step", "config", "M parameters", "GFLOPs", "printed", "apart", "top-1", "gain")
NOTE = (
    "GFLOPs are billions of MACs at 224 pixels, counted on the network. Nothing was trained: the "
    "accuracies, and the printed GFLOPs, are those of Liu et al. 2022, tables 10 and 11. A gain is relative "
    "to the last step that was kept; steps that were only tried are marked."
)


def road_to_markdown() -> str:
    """Both roads: a table each, and what does not agree below it; Markdown, ending in a newline."""
    sections = []
    for road, title in TITLES.items():
        stops = walk_road(road)
        lines = (text_line(s.name, _cells(s), "" if s.kept else "tried") for s in stops)
        doubts = tuple((stop.name, stop.doubt) for stop in stops if stop.doubt)
        sections.append(Section(title, table=Table(HEADINGS, tuple(lines)), entries=doubts))
    return sections_to_markdown([*sections, Section("", text=NOTE)])


def _cells(stop: Stop) -> Iterable[str]:
    yield " ".join(f"`{name}={value!r}`" for name, value in stop.change.items())
    yield f"{stop.parameters:.2f}"
    yield f"{stop.gigamacs:.3f}"
    yield f"{stop.printed.gigamacs:.2f}"
    yield f"{100 * stop.excess:+z.1f} %"
    yield f"{stop.printed.accuracy:.2f}"
    yield DASH if stop.gain is None else f"{stop.gain:+.2f}"


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
    for stage, depth in enumerate(model.preset.depths, 1):
        for block in range(1, depth + 1):
            mlp = f"stages.{stage - 1}.blocks.{block - 1}.mlp"
            blocks.append(BlockDistance(f"{stage}.{block}", means[f"{mlp}.act"], means.get(f"{mlp}.grn")))
    return blocks


def collapse_table(measured: Mapping[str, Sequence[BlockDistance]]) -> Table:
    """One line a block and one of their mean, two columns a model; blocks are those of each model by name."""
    columns: dict[str, dict[str, float | None]] = {}
    for name, blocks in measured.items():
        columns[f"{name}, after GELU"] = {block.name: block.after_gelu for block in blocks}
        columns[f"{name}, after GRN"] = {block.name: block.after_grn for block in blocks}
    names = {name for column in columns.values() for name in column}
    in_order = sorted(names, key=lambda name: [int(part) for part in name.split(".")])
    lines = [text_line(name, (_text(column.get(name)) for column in columns.values())) for name in in_order]
    numbers = [[value for value in column.values() if value is not None] for column in columns.values()]
    means = (_text(sum(found) / len(found) if found else None) for found in numbers)
    return Table(("stage.block", *columns), (*lines, text_line("mean", means)))


def _text(value: float | None) -> str:
    return DASH if value is None else f"{value:.4f}"
