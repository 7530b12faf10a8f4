"""ConvNeXt V2 on visible cells alone: what ``MaskedConvNeXt`` gives, without computing what is hidden.

A cell is what one position of the last stage covers: ``r x r`` positions of a stage. The visible cells of
each image stand in a list; lists are padded to the longest. Stem, down-sampling and pointwise layers see
cells only. Before a depthwise convolution each cell collects the positions around it, zeros where hidden.

Shapes: ``V`` cells an image, ``n = B * V`` in all; cells ``(n, r, r, C)``.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3.1, where sparse convolution of the visible positions and
    masked dense convolution are the same; lists and tables in place of a sparse library are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.layers.convnext import STEM, MaskedBlock, MaskedConvNeXt, enlarge
from inpaint.tokens import patchify


class Cells(NamedTuple):
    """Where the cells of a list lie."""

    visible: Tensor  # (B, 1, h, w) bool
    places: Tensor  # (B, V), number of each cell's place in the grid
    there: Tensor | None  # (B, V) bool, False = padding; None where no list is padded


def encode_visible(network: MaskedConvNeXt, image: Tensor, visible: Tensor) -> Tensor:
    """The last of what ``network(image, visible)`` gives, ``(B, C, h, w)``, by the visible cells alone."""
    cells = list_cells(visible)
    rate = 2 ** (len(network.stages) - 1)
    tiles = patchify(image, STEM * rate)
    tiles = tiles.gather(1, cells.places[..., None].expand(-1, -1, tiles.shape[-1]))
    if cells.there is not None:
        tiles = torch.where(cells.there[..., None], tiles, 0.0)
    features = tiles.view(-1, STEM * rate, STEM * rate, image.shape[1]).permute(0, 3, 1, 2)
    features = network.stem(features)
    for stage in network.stages:
        features = stage.downsample(features)
        around = neighbours(cells, features.shape[-1], stage.blocks[0].conv_dw.kernel_size[0] // 2)
        for block in stage.blocks:
            features = _run_block(block, features, around, cells)
    features = features.flatten(1).unflatten(0, cells.places.shape)
    if cells.there is not None:
        features = torch.where(cells.there[..., None], features, 0.0)
    canvas = features.new_zeros(len(visible), visible[0].numel(), features.shape[-1])
    canvas = canvas.scatter(1, cells.places[..., None].expand_as(features), features)
    return canvas.transpose(1, 2).unflatten(2, visible.shape[-2:])


def list_cells(visible: Tensor) -> Cells:
    """List the visible cells of each image in row-major order, at least one an image."""
    flat = visible.flatten(1)
    counts = flat.sum(dim=1)
    longest = max(int(counts.max()), 1)
    places = (~flat).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    there = flat.gather(1, places) if int(counts.min()) < longest else None
    return Cells(visible, places, there)


def neighbours(cells: Cells, rate: int, reach: int) -> Tensor:
    """Number the positions around each cell of ``rate`` = r positions a side, within ``reach`` of it.

    ``(n, r + 2 * reach, r + 2 * reach)`` numbers of rows of cells flattened to ``(n * r * r, C)``; hidden
    positions and those outside have number ``n * r * r``.
    """
    batch, count = cells.places.shape
    height, width = cells.visible.shape[-2:]
    nothing = batch * count * rate**2
    order = torch.arange(batch * count, device=cells.places.device).view(batch, count)
    number = torch.zeros_like(cells.visible, dtype=torch.long).flatten(1).scatter(1, cells.places, order)
    number = number.view(batch, height, 1, width, 1) * rate**2
    inside = torch.arange(rate**2, device=number.device).view(rate, 1, rate)
    positions = (number + inside).reshape(batch, 1, height * rate, width * rate)
    positions = positions.masked_fill(~enlarge(cells.visible, rate), nothing)
    around = F.pad(positions[:, 0], (reach,) * 4, value=nothing)
    side = rate + 2 * reach
    around = around.unfold(1, side, rate).unfold(2, side, rate).flatten(1, 2)  # (B, h * w, side, side)
    return around.gather(1, cells.places[..., None, None].expand(-1, -1, side, side)).flatten(0, 1)


def _run_block(block: MaskedBlock, features: Tensor, around: Tensor, cells: Cells) -> Tensor:
    """One block on cells, ``(n, C, r, r)`` to the same."""
    _, channels, rate, _ = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    surroundings = F.pad(rows, (0, 0, 0, 1))[around].permute(0, 3, 1, 2)
    convolution = block.conv_dw
    mixed = F.conv2d(surroundings, convolution.weight, convolution.bias, groups=channels)
    # The cells of an image stand below one another as one tall image, as GRN reads all of them.
    batch, count = cells.places.shape
    tall = mixed.permute(0, 2, 3, 1).reshape(batch, count * rate, rate, channels)
    there = None
    if cells.there is not None:
        there = cells.there[:, :, None, None].expand(-1, -1, rate, rate).reshape(batch, -1, rate, 1)
    change = block.pointwise(tall, there).reshape(-1, rate, rate, channels)
    return features + change.permute(0, 3, 1, 2)
