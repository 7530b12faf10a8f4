"""What the papers on ConvNeXt report, measured: the road from ResNet, and whether channels collapse.

Source:
    Liu et al., *A ConvNet for the 2020s* (CVPR 2022), tables 10 and 11; Woo et al., *ConvNeXt V2* (CVPR
    2023), section 3.2: mean pairwise cosine distance of channels, by layer, before and after GRN.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from statistics import fmean

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


Distances = dict[str, dict[str, float]]
"""Channel distances "after GELU" and "after GRN", by stage and block from 1, such as 2.1."""


@torch.inference_mode()
def measure_collapse(model: FullyConvolutionalAutoencoder, images: Iterable[Tensor]) -> Distances:
    """Send images ``(1, 3, H, W)`` in [0, 1], nothing hidden, through an encoder; means over the images.

    See :func:`inpaint.backbones.network.channel_distance`: near 0 all channels of a block's wide layer are
    alike. Without GRN there is nothing after it.
    """
    found: dict[str, dict[str, list[float]]] = {"after GELU": {}, "after GRN": {}}

    def note(values: list[float], _module: object, _inputs: object, output: Tensor) -> None:
        values.append(channel_distance(output[0].permute(2, 0, 1)))

    hooks = []
    for stage, blocks in enumerate((stage.blocks for stage in model.encoder.stages), 1):
        for number, mlp in enumerate((block.mlp for block in blocks), 1):
            for when, layer in (("after GELU", mlp.act), ("after GRN", mlp.grn)):
                if layer is not None:
                    values = found[when].setdefault(f"{stage}.{number}", [])
                    hooks.append(layer.register_forward_hook(partial(note, values)))
    try:
        for image in images:
            square, _ = model.fit_square(image, torch.zeros_like(image[:, :1]))
            model.encoder(model.normalise(square), torch.ones(1, 1, *model.grid, device=image.device) > 0)
    finally:
        for hook in hooks:
            hook.remove()
    return {when: {name: fmean(each) for name, each in blocks.items()} for when, blocks in found.items()}


def collapse_table(measured: Mapping[str, Distances]) -> Table:
    """One line a block and one of their mean, two columns a model; blocks are those of each model by name."""
    columns = {
        f"{name}, {when}": blocks for name, layers in measured.items() for when, blocks in layers.items()
    }
    names = {name for blocks in columns.values() for name in blocks}
    in_order = sorted(names, key=lambda name: [int(part) for part in name.split(".")])
    lines = [text_line(name, (_text(blocks.get(name)) for blocks in columns.values())) for name in in_order]
    means = (_text(fmean(blocks.values()) if blocks else None) for blocks in columns.values())
    return Table(("stage.block", *columns), (*lines, text_line("mean", means)))


def _text(value: float | None) -> str:
    return DASH if value is None else f"{value:.4f}"
