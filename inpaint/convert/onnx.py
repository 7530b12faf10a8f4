"""Inpainting networks as ONNX files: traced with every size left open that is a multiple of 16.

What a trace cannot follow is replaced on a copy of the network by something equal that depends on sizes
through tensors alone: Fourier transforms and area averages by matrix products, dropped tokens by a mask of
attention, loops over a pyramid by a fixed number of levels.
"""

import copy
import math
import warnings
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.atomic import atomic_write
from inpaint.baselines import GREY
from inpaint.errors import CheckpointError, require
from inpaint.layers.ffc import FourierUnit
from inpaint.layers.transfer import AttentionTransfer
from inpaint.mask import hole_fields
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder

OPSET = 18
PYRAMID_LEVELS = 13
"""Halvings of the push-pull fill: enough for sides of 8,192 pixels."""


def export_onnx(model: Inpainter, path: Path) -> None:
    """Write a network with inputs ``image`` and ``mask`` and output ``output``, as those of its call.

    Args:
        model: any but those with a convolutional prior, contextual attention or local Fourier units.
        path: where to; replaced whole.

    Raises:
        CheckpointError: the network has a part that cannot be exported.
        InpaintError: onnx is not installed.
    """
    preset = model.preset.generator
    if preset.attention == "contextual" or preset.local_fourier or preset.hole_noise:
        raise CheckpointError(
            f"model {model.preset.name} has contextual attention, local Fourier units or noise in the hole; "
            "only networks without them are exported"
        )
    if not isinstance(model.prior, MaskedAutoencoder | None):
        raise CheckpointError(f"model {model.preset.name} has a convolutional prior; export one without it")
    require("onnx", "export", "onnx")
    traceable = make_traceable(model)
    side = 16 * 2**preset.downsamplings
    example = torch.rand(1, 3, side, 2 * side), torch.ones(1, 1, side, 2 * side)
    example[1][..., side // 2 :] = 0
    free = {0: "batch", 2: "height", 3: "width"}
    with atomic_write(path) as partial, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the trace, about what is the same for every size
        torch.onnx.export(
            traceable,
            example,
            partial,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["image", "mask"],
            output_names=["output"],
            dynamic_axes=dict.fromkeys(("image", "mask", "output"), free),
        )


def make_traceable(model: Inpainter) -> Inpainter:
    """A copy that computes the same and depends on the size through tensors alone."""
    model = copy.deepcopy(model).cpu().float().eval()
    module: Any
    for module in model.modules():
        if isinstance(module, FourierUnit):
            module.forward = MethodType(_transform_by_products, module)
        if isinstance(module, AttentionTransfer):
            module.forward = MethodType(_transfer, module)
    generator: Any = model.generator
    if generator.preset.initial_fill == "push_pull":
        generator.start = MethodType(_push_pull, generator)
    if (positions := generator.positions) is not None:
        positions.embed = MethodType(_embed_positions, positions)
    prior: Any = model.prior
    if prior is not None:
        prior.fit_square, prior.encode = MethodType(_fit_square, prior), MethodType(_encode_all, prior)
    return model


def _transform_by_products(self: FourierUnit, features: Tensor) -> Tensor:
    height, width = features.shape[-2:]
    half = width // 2 + 1
    cos_y, sin_y = _sinusoids(height)
    cos_x, sin_x = (table[:, :half] for table in _sinusoids(width))
    real, imaginary = features @ cos_x, -(features @ sin_x)
    real, imaginary = cos_y @ real + sin_y @ imaginary, cos_y @ imaginary - sin_y @ real
    stacked = torch.stack([real, imaginary], dim=2).flatten(1, 2)
    mixed = F.relu(self.norm(self.convolution(stacked))).unflatten(1, (-1, 2))
    real, imaginary = mixed[:, :, 0], mixed[:, :, 1]
    real, imaginary = cos_y @ real - sin_y @ imaginary, cos_y @ imaginary + sin_y @ real
    numbers = torch.arange(half)
    twice = 2.0 - ((numbers == 0) | (numbers == width // 2)).float()  # the other half is its mirror image
    return (real * twice) @ cos_x.T - (imaginary * twice) @ sin_x.T


def _sinusoids(count: Any) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the discrete Fourier transform, ``(count, count)``, orthonormal."""
    numbers = torch.arange(count)
    angle = (numbers[:, None] * numbers % count).float() * (2 * math.pi / count)
    scale = (torch.ones(1) * count).rsqrt()
    return angle.cos() * scale, angle.sin() * scale


def _transfer(self: AttentionTransfer, features: Tensor, attention: Tensor, grid: tuple[int, int]) -> Tensor:
    size = features.shape[-2:]
    padded = [(side + cells - 1) // cells * cells for side, cells in zip(size, grid, strict=True)]
    extended = F.interpolate(features, padded, mode="bilinear", align_corners=False)
    rates = [side // cells for side, cells in zip(padded, grid, strict=True)]
    starts = [rate // 2 + rate % 2 for rate in rates]
    for axis, (side, rate, start) in enumerate(zip(padded, rates, starts, strict=True)):
        places = (torch.arange(side + rate) - start).clamp(min=0).clamp(max=side - 1)
        extended = extended.index_select(2 + axis, places)
    rows, columns = grid[0] + 1, grid[1] + 1
    batch, channels = features.shape[:2]
    cells = extended.reshape(batch, channels, rows, rates[0], columns, rates[1]).permute(0, 2, 4, 1, 3, 5)
    scores = attention.reshape(batch, *grid, *grid) / 4
    weights: Any = sum(
        F.pad(scores, (x, 1 - x, y, 1 - y, x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)
    )  # as in inpaint.layers.transfer
    mixed = weights.reshape(batch, rows * columns, rows * columns) @ cells.reshape(batch, rows * columns, -1)
    mixed = mixed.reshape(batch, rows, columns, channels, rates[0], rates[1]).permute(0, 3, 1, 4, 2, 5)
    moved = mixed.reshape(batch, channels, rows * rates[0], columns * rates[1])
    for axis, (side, rate, start) in enumerate(zip(padded, rates, starts, strict=True)):
        moved = moved.index_select(2 + axis, torch.arange(side).clamp(max=side - rate % 2 - 1) + start)
    return features + self.alpha * F.interpolate(moved, size, mode="bilinear", align_corners=False)


def _push_pull(_: Any, image: Tensor, mask: Tensor) -> Tensor:
    pyramid = [torch.cat([torch.where(mask > 0, 0.0, image), 1 - mask], dim=1)]
    for _ in range(PYRAMID_LEVELS):
        fine = F.pad(pyramid[-1], (0, 1, 0, 1))
        there = F.pad(torch.ones_like(pyramid[-1][:, :1]), (0, 1, 0, 1))
        pyramid.append(F.avg_pool2d(fine, 2) / F.avg_pool2d(there, 2))
    filled = torch.full_like(pyramid[-1][:, :-1], GREY)
    for level in reversed(pyramid):
        filled = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
        filled = filled[..., : level.shape[-2], : level.shape[-1]]
        weight = level[:, -1:]
        filled = torch.where(weight > 0, level[:, :-1] / weight.clamp_min(1e-12), filled)
    return torch.where(mask > 0, filled, image)


def _embed_positions(self: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
    fields = hole_fields(_shrink(mask, self.grid), self.grid)
    size = mask.shape[-2:]
    distance = self.distance_table[fields.distance[:, 0]].permute(0, 3, 1, 2)
    direction = (fields.direction.permute(0, 2, 3, 1) @ self.direction_table).permute(0, 3, 1, 2)
    at_zero = self.distance_table[0][:, None, None]
    distance = torch.where(mask > 0, F.interpolate(distance, size, mode="nearest"), at_zero)
    return distance, F.interpolate(direction, size, mode="nearest") * mask


def _fit_square(self: Any, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    side = self.image_size
    height, width = (torch.ones(1) * size for size in image.shape[-2:])
    larger = (height < side) | (width < side)
    rows, columns = (torch.where(larger, _triangles(side, n), _areas(side, n)) for n in image.shape[-2:])
    return (rows @ image @ columns.T).reshape(-1, 3, side, side), _shrink(mask, side)


def _shrink(mask: Tensor, side: int) -> Tensor:
    rows, columns = (_areas(side, size) for size in mask.shape[-2:])
    return (rows @ mask @ columns.T > 0).float().reshape(-1, 1, side, side)


def _areas(count: int, size: Any) -> Tensor:
    """Averages over ``count`` cells of ``size`` values, ``(count, size)``, as adaptive pooling takes them."""
    cells, places = torch.arange(count)[:, None], torch.arange(size)
    inside = (places >= cells * size // count) & (places < ((cells + 1) * size + count - 1) // count)
    return inside.float() / inside.float().sum(dim=1, keepdim=True)


def _triangles(count: int, size: Any) -> Tensor:
    """Weights of an antialiased bilinear resize from ``size`` to ``count`` values, ``(count, size)``."""
    scale = torch.ones(1) * size / count
    centres = (torch.arange(count)[:, None] + 0.5) * scale
    weights = (1 - (torch.arange(size) + 0.5 - centres).abs() / scale.clamp(min=1.0)).clamp(min=0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _encode_all(
    self: Any, normalised: Tensor, hidden: Tensor, visible: int | None = None
) -> tuple[Tensor, Tensor]:
    tokens = self.embed(normalised).flatten(2).transpose(1, 2) + self.positions
    allowed = ~hidden | hidden.all(dim=1, keepdim=True)
    if self.class_token is not None:
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        allowed = torch.cat([torch.ones_like(allowed[:, :1]), allowed], dim=1)
    for block in self.encoder:
        tokens, _ = block(tokens, allowed)
    return self.encoder_norm(tokens), torch.arange(hidden.shape[1]).expand(hidden.shape[0], -1)
