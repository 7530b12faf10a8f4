"""What a model's prior contributes to a fill: its reconstruction, its attention, the fill without it.

Everything is computed on the whole image, made small; fills for download are computed on boxes around the
holes, at a finer scale. A *hole* here is an ``(H, W)`` bool array of the image's size, True = hole.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from inpaint.errors import InpaintError
from inpaint.images import image_to_tensor, tensor_to_image
from inpaint.images.modes import Native, to_8_bit
from inpaint.mask import composite, shrink_to_grid
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.random_masks import make_masks
from inpaint.tokens import token_masks, top_up

LARGEST_SIDE = 512  # of the images that inspect_fill makes
LARGEST_FOR_PRIOR = 1024  # it brings every image to a small square of its own; larger ones are shrunk before
Hiding = Literal["random", "mixed", "hole"]
Pixels = NDArray[np.uint8]
Holes = NDArray[np.bool_]
_GREY = 0.5
_HEAT_OPACITY = 0.85


class AttentionView(NamedTuple):
    """Where one point attends: a heat map, and of its weights the share of known tokens and the largest."""

    image: Image.Image
    in_hole: bool
    known_share: float
    largest: float


class HiddenPatches(NamedTuple):
    """A masked autoencoder at work; ``together`` has hidden patches as predicted, the others as they are."""

    masked: Image.Image
    prediction: Image.Image
    together: Image.Image


@dataclass(frozen=True)
class Inspection:
    """One fill with and without the prior; all images are RGB and of one size."""

    masked: Image.Image
    reconstruction: Image.Image  # patches that the hole touches as predicted, the others as they are
    original: Image.Image
    with_prior: Image.Image
    without_prior: Image.Image  # of the same weights when nothing is taken from the prior
    difference: Image.Image  # between the two, as a heat map that ends at difference_scale
    difference_scale: float  # in 8-bit levels
    mean_difference: float  # inside the hole, in 8-bit levels
    attention: Tensor | None  # (L, N, N): layers, queries, keys; the generator is given the mean over L
    is_similarity: bool  # of features, as no convolution attends
    hole_tokens: Holes  # (h, w), tokens with a hole pixel
    gates: dict[str, float]  # what each injection point multiplies the prior's contribution with


def overlay_heat(
    pixels: Pixels, heat: NDArray[Any], *, hole: Holes | None = None, token: tuple[int, int] | None = None
) -> Pixels:
    """Lay ``heat`` ``(h, w)``, 0 or more, over an image ``(H, W, 3)``: the largest is nearly white (inferno).

    A ``hole`` counts as cold and is drawn grey; ``token``, a row and column of ``heat``, gets a ring.
    """
    height, width = pixels.shape[:2]
    rows, columns = heat.shape
    strength = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    if hole is not None:
        strength = strength * ~hole
    strength = (strength / max(float(strength.max()), 1e-12)).clip(0, 1)
    colour = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = _HEAT_OPACITY * strength[..., None]
    # cv2 gives BGR
    shown = np.rint(pixels + opacity * (colour[..., ::-1] - pixels.astype(np.float32))).astype(np.uint8)
    if hole is not None:
        shown[hole] = 128
    if token is not None:
        centre = (round((token[1] + 0.5) * width / columns), round((token[0] + 0.5) * height / rows))
        radius = max(2, min(height, width) // 64)
        for extra, shade in ((2, (0, 0, 0)), (0, (255, 255, 255))):
            cv2.circle(shown, centre, radius + extra, shade, 2, cv2.LINE_AA)
    return shown


@torch.inference_mode()
def prior_images(
    prior: nn.Module, image: Native, hole: Holes, device: torch.device | str
) -> tuple[Image.Image, Image.Image | None]:
    """What the prior alone predicts, and known regions that the holes draw from (None without attention).

    Where the image is fully transparent it counts as hole.
    """
    image = to_8_bit(image)
    pixels = np.asarray(image.convert("RGB"))
    size = _fit(hole.shape, LARGEST_FOR_PRIOR)
    small, mask = _pair(image, hole, size, device)
    predicted = prior.reconstruct(small, mask)  # type: ignore[operator]
    reconstruction = tensor_to_image(predicted).resize(image.size, Image.Resampling.BICUBIC)
    features, attention = prior(small, mask)
    if attention is None:
        return reconstruction, None
    touched = shrink_to_grid(mask, features.shape[-2:])[0, 0].flatten() > 0
    heat = attention[0][touched].mean(0).reshape(features.shape[-2:]).float().cpu().numpy()
    return reconstruction, Image.fromarray(overlay_heat(pixels, heat, hole=hole))


@torch.inference_mode()
def inspect_fill(
    network: nn.Module, image: Image.Image, hole: Holes, device: torch.device | str
) -> Inspection:
    """Run one fill with and without the prior; InpaintError if the network has none."""
    prior = require_prior(network)
    assert isinstance(network, Inpainter)
    image_tensor, mask = _pair(image, hole, _fit(hole.shape, LARGEST_SIDE), device)
    touched = shrink_to_grid(mask, prior.grid)
    predicted = prior.reconstruct(image_tensor, mask)
    predicted = F.interpolate(predicted, image_tensor.shape[-2:], mode="bilinear", align_corners=False)
    hidden = F.interpolate(touched, image_tensor.shape[-2:], mode="nearest") > 0
    filled = composite(network(image_tensor, mask), image_tensor, mask)
    alone = Inpainter(network.preset, network.generator).eval()  # the same generator, no prior to consult
    plain = composite(alone(image_tensor, mask), image_tensor, mask)
    is_hole = mask.expand_as(image_tensor) > 0
    difference = (filled - plain).abs().mean(dim=1)[0].float().cpu().numpy() * 255
    scale = max(1.0, float(difference.max()))
    levels = np.rint((difference / scale).clip(0, 1) * 255).astype(np.uint8)
    return Inspection(
        masked=tensor_to_image(torch.where(is_hole, _GREY, image_tensor)),
        reconstruction=tensor_to_image(torch.where(hidden, predicted, image_tensor)),
        original=tensor_to_image(image_tensor),
        with_prior=tensor_to_image(filled),
        without_prior=tensor_to_image(plain),
        difference=Image.fromarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]),
        difference_scale=scale,
        mean_difference=float((filled - plain).abs()[is_hole].mean()) * 255,
        attention=_attention_layers(prior, image_tensor, mask),
        is_similarity=not isinstance(prior, MaskedAutoencoder),
        hole_tokens=(touched[0, 0] > 0).cpu().numpy(),
        gates=_gates(network),
    )


def view_attention(inspection: Inspection, x: int, y: int, layer: int | None = None) -> AttentionView:
    """Show where one point of ``inspection.masked`` attends: in one layer (from 0), or averaged over all.

    InpaintError if the prior has no attention, or not this layer.
    """
    if inspection.attention is None:
        raise InpaintError("this prior has no attention to show")
    if layer is not None and not 0 <= layer < len(inspection.attention):
        raise InpaintError(f"got layer {layer}, expected 0 to {len(inspection.attention) - 1}")
    width, height = inspection.masked.size
    rows, columns = inspection.hole_tokens.shape
    row = min(max(y, 0) * rows // height, rows - 1)
    column = min(max(x, 0) * columns // width, columns - 1)
    of_point = inspection.attention[:, row * columns + column]
    weights = of_point.mean(dim=0) if layer is None else of_point[layer]
    heat = weights.reshape(rows, columns).numpy()
    shown = overlay_heat(np.asarray(inspection.masked), heat, token=(row, column))
    known = float(heat[~inspection.hole_tokens].sum())
    in_hole = bool(inspection.hole_tokens[row, column])
    return AttentionView(Image.fromarray(shown), in_hole, known, float(heat.max()))


@torch.inference_mode()
def reconstruct_hidden(
    prior: PatchAutoencoder,
    image: Image.Image,
    hole: Holes | None,
    device: torch.device | str,
    *,
    hiding: Hiding = "random",
    ratio: float = 0.75,
    seed: int = 0,
) -> HiddenPatches:
    """Hide patches of the image, brought to the prior's square, and predict them.

    ``random`` hides a share of the patches, ``mixed`` a training mask topped up with random patches, and
    ``hole`` the patches that the hole touches; InpaintError if it is empty.
    """
    side = prior.image_size
    empty = np.zeros((image.height, image.width), np.bool_)
    pixels, mask = _pair(image, empty if hole is None else hole, (side, side), device)
    generator = torch.Generator().manual_seed(seed)
    if hiding == "mixed":
        mask = make_masks("mixed", 1, side, side, generator).to(device)
    elif hiding == "random":
        mask = torch.zeros_like(mask)
    hidden = token_masks(mask, prior.patch_size).any
    if hiding != "hole":
        hidden = top_up(hidden, ratio, torch.rand(hidden.shape, generator=generator).to(device))
    elif not hidden.any():
        raise InpaintError("nothing is painted yet: paint over something first, or hide random patches")
    predicted = prior.to_image(prior.predict_patches(prior.normalise(pixels), hidden))
    is_hidden = F.interpolate(hidden.reshape(1, 1, *prior.grid).float(), (side, side), mode="nearest") > 0
    return HiddenPatches(
        tensor_to_image(torch.where(is_hidden, _GREY, pixels)),
        tensor_to_image(predicted),
        tensor_to_image(torch.where(is_hidden, predicted, pixels)),
    )


def require_prior(network: nn.Module) -> PatchAutoencoder:
    """The network's prior; InpaintError if it has none."""
    prior: Any = getattr(network, "prior", None)
    if prior is None:
        name = getattr(network.preset, "name", "")
        raise InpaintError(f"model {name} has no prior to show; choose one that has, such as acr-small")
    return prior


def _attention_layers(prior: PatchAutoencoder, image: Tensor, mask: Tensor) -> Tensor | None:
    """The attention of each decoder layer of a transformer, on the CPU, or of any other prior, L = 1."""
    layers: list[Tensor] = []
    blocks = prior.decoder if isinstance(prior, MaskedAutoencoder) else ()
    hooks = [block.register_forward_hook(lambda _, __, out: layers.append(out[1][0])) for block in blocks]
    attention = prior(image, mask).attention
    for hook in hooks:
        hook.remove()
    if attention is None:
        return None
    return (torch.stack(layers) if layers else attention).float().cpu()


def _gates(network: Inpainter) -> dict[str, float]:
    values = network.state_dict()
    titles = {f"adapter.alphas.{index}": f"features at 1/{8 >> index}" for index in range(4)}
    for place in ("before", "after"):
        titles[f"generator.transfer_{place}.alpha"] = f"attention {place} the blocks"
    return {title: float(values[name]) for name, title in titles.items() if name in values}


def _fit(shape: tuple[int, ...], largest: int) -> tuple[int, int]:
    scale = min(1.0, largest / max(shape))
    return max(16, round(shape[0] * scale)), max(16, round(shape[1] * scale))


def _pair(
    image: Image.Image, hole: Holes, size: tuple[int, int], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Image ``(1, 3, h, w)`` and mask ``(1, 1, h, w)`` at ``size``; a cell touched by the hole is a hole.

    Shrinking takes area averages, so no known cell carries colour from a hole.
    """
    unknown = hole
    if "A" in image.getbands():  # what lies under full transparency is often black or noise
        unknown = hole | (np.asarray(image.getchannel("A")) == 0)
    larger = size[0] > image.height or size[1] > image.width
    method = Image.Resampling.BILINEAR if larger else Image.Resampling.BOX
    pixels = image_to_tensor(image.convert("RGB").resize((size[1], size[0]), method)).to(device)
    mask = torch.from_numpy(unknown.astype(np.float32))[None, None].to(device)
    return pixels, shrink_to_grid(mask, size)
