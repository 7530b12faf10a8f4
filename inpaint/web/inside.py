"""What goes on inside a fill: the prior's picture, where it looks, what the alphas let through.

Everything is computed on the whole photo, made small; the fill the page offers for download works on boxes
around the holes instead, at a finer scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaint.errors import InpaintError
from inpaint.images import image_to_tensor, mask_to_tensor, read_image, tensor_to_image
from inpaint.mask import composite, shrink_to_grid
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.inpainter import Inpainter
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.pipeline import InpaintPipeline
from inpaint.random_masks import make_masks
from inpaint.tokens import token_masks, top_up, unpatchify
from inpaint.web.marks import Holes, mask_picture
from inpaint.web.photos import Photo

SIDE = 512
Hiding = Literal["random", "mixed", "drawn"]
_GREY = 0.5
_HEAT_OPACITY = 0.85


@dataclass(frozen=True)
class Insight:
    """One fill, seen from inside; pictures are small, RGB.

    Attributes:
        about: one sentence: what kind the prior is, and what its looking is.
        masked: what the network gets to see.
        reconstruction: what the prior alone imagines.
        with_prior: the fill.
        without_prior: the same weights, with nothing taken from the prior.
        attention: ``(N, N)`` weights of the prior, queries by keys; None if it has none.
        grid: token grid ``(h, w)``.
        touched: ``(h, w)`` bool, tokens with a hole pixel.
        alphas: what each opening lets through, by name; 0 lets nothing.
        reach: mean absolute difference between the two fills inside the holes, in 8-bit levels.
    """

    about: str
    masked: Image.Image
    reconstruction: Image.Image
    with_prior: Image.Image
    without_prior: Image.Image
    attention: Tensor | None
    grid: tuple[int, int]
    touched: NDArray[np.bool_]
    alphas: dict[str, float]
    reach: float


@torch.inference_mode()
def look_inside(pipeline: InpaintPipeline, photo: Photo, holes: Holes) -> Insight:
    """Run one fill with and without the prior.

    Raises:
        InpaintError: the model has no prior.
    """
    network = _network(pipeline)
    prior = _prior(pipeline)
    image, mask = _small(photo, holes, pipeline.device)
    grid = prior.grid
    features = prior(image, mask)
    filled = composite(network(image, mask), image, mask)
    alone = Inpainter(network.preset, network.generator).eval()  # the same generator, no prior to consult
    plain = composite(alone(image, mask), image, mask)
    hole = mask.expand_as(image) > 0
    reconstruction = F.interpolate(
        prior.reconstruct(image, mask), image.shape[-2:], mode="bilinear", align_corners=False
    )
    return Insight(
        about=_about(network.preset.name, prior),
        masked=_picture(torch.where(hole, _GREY, image)),
        reconstruction=_picture(reconstruction),
        with_prior=_picture(filled),
        without_prior=_picture(plain),
        attention=None if features.attention is None else features.attention[0].cpu(),
        grid=grid,
        touched=(shrink_to_grid(mask, grid)[0, 0] > 0).cpu().numpy(),
        alphas=_alphas(network),
        reach=float((filled - plain).abs()[hole].mean()) * 255,
    )


def attention_picture(insight: Insight, x: int, y: int) -> tuple[Image.Image, str]:
    """Where the prior looks from one point: a heat map over the masked photo.

    Args:
        insight: of :func:`look_inside`.
        x: column in ``insight.masked``, in pixels.
        y: row, in pixels.

    Returns:
        The picture, the point marked, and one sentence on it.

    Raises:
        InpaintError: the prior has no attention.
    """
    if insight.attention is None:
        raise InpaintError("this prior has no attention to show")
    width, height = insight.masked.size
    rows, columns = insight.grid
    row = min(max(y, 0) * rows // height, rows - 1)
    column = min(max(x, 0) * columns // width, columns - 1)
    weights = insight.attention[row * columns + column].reshape(rows, columns).float().numpy()
    base = np.asarray(insight.masked, np.float32)
    heat = cv2.resize(weights / max(float(weights.max()), 1e-12), (width, height)).clip(0, 1)
    colour = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = _HEAT_OPACITY * heat[..., None]
    blended = np.rint(base * (1 - opacity) + colour * opacity).astype(np.uint8)
    centre = (round((column + 0.5) * width / columns), round((row + 0.5) * height / rows))
    for radius, shade in ((7, (0, 0, 0)), (5, (255, 255, 255))):
        cv2.circle(blended, centre, radius, shade, 2, cv2.LINE_AA)
    where = "in the hole" if insight.touched[row, column] else "outside the hole"
    known = float(weights[~insight.touched].sum())
    strongest = float(weights.max())
    said = (
        f"From this point {where}, {known:.0%} of the attention goes to parts of the photo that are wholly "
        f"known; the strongest of {rows * columns} parts gets {strongest:.1%} (an even share: "
        f"{1 / (rows * columns):.1%})."
    )
    return Image.fromarray(blended), said


@torch.inference_mode()
def reconstruct_hidden(
    pipeline: InpaintPipeline, photo: Photo, holes: Holes | None, hiding: Hiding, ratio: float, seed: int
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """The masked autoencoder as a toy: hide patches of the photo and see what it makes of them.

    Args:
        pipeline: of a model with a prior.
        photo: any.
        holes: what is painted; needed for ``drawn``.
        hiding: ``random`` patches; ``mixed``: a training hole, topped up with random patches; ``drawn``:
            the patches that the painted holes touch, and no others.
        ratio: share of patches to hide, for the first two.
        seed: of whatever is random.

    Returns:
        The photo with hidden patches in grey, the reconstruction, and the two together.

    Raises:
        InpaintError: the model has no prior, or nothing is painted.
    """
    prior = _prior(pipeline)
    side, patch = prior.image_size, prior.patch_size
    image, mask = _small(photo, holes, pipeline.device, square=side)
    generator = torch.Generator().manual_seed(seed)
    if hiding == "drawn":
        if not mask.any():
            raise InpaintError("nothing is painted yet: paint on the Erase tab, or hide random patches")
        hidden = token_masks(mask, patch).any
    else:
        if hiding == "mixed":
            mask = make_masks("mixed", 1, side, side, generator).to(image.device)
            touched = token_masks(mask, patch).any
        else:
            touched = torch.zeros_like(token_masks(mask, patch).any)
        hidden = top_up(touched, ratio, torch.rand(touched.shape, generator=generator).to(image.device))
    patches = prior.predict_patches(prior.normalise(image), hidden)
    picture = (unpatchify(patches, patch, prior.grid) * prior.std + prior.mean).clamp(0, 1)
    shown = hidden.reshape(1, 1, *prior.grid).float()
    shown = F.interpolate(shown, (side, side), mode="nearest") > 0
    return (
        _picture(torch.where(shown, _GREY, image)),
        _picture(picture),
        _picture(torch.where(shown, picture, image)),
    )


def _network(pipeline: InpaintPipeline) -> Inpainter:
    if not isinstance(pipeline.model, Inpainter):
        raise InpaintError("this fill has no network to look into; choose acr-small")
    return pipeline.model


def _prior(pipeline: InpaintPipeline) -> PatchAutoencoder:
    prior = pipeline.require_prior()
    if not isinstance(prior, PatchAutoencoder):
        raise InpaintError("this model's prior is no masked autoencoder of patches; choose acr-small")
    return prior


def _about(name: str, prior: PatchAutoencoder) -> str:
    if isinstance(prior, FullyConvolutionalAutoencoder):
        kind = (
            "made of convolutions (FCMAE): it has no attention of its own, and looks where features are alike"
        )
    else:
        kind = "made of a transformer, and looks where its own attention does, averaged over the decoder"
    return f"The prior of **{name}** is a masked autoencoder {kind}."


def _alphas(network: Inpainter) -> dict[str, float]:
    """What each opening multiplies the prior's contribution with, in the order the picture meets them."""
    values = {name: float(value) for name, value in network.state_dict().items() if "alpha" in name}
    titles = {f"adapter.alphas.{index}": f"features at 1/{8 >> index}" for index in range(4)}
    titles |= {
        "generator.transfer_before.alpha": "attention before the blocks",
        "generator.transfer_after.alpha": "attention after the blocks",
    }
    return {title: values[name] for name, title in titles.items() if name in values}


def _small(
    photo: Photo, holes: Holes | None, device: torch.device, square: int | None = None
) -> tuple[Tensor, Tensor]:
    """Photo ``(1, 3, h, w)`` and holes ``(1, 1, h, w)``: at most ``SIDE`` pixels a side, or a square."""
    picture = read_image(photo.path).convert("RGB")
    scale = min(1.0, SIDE / max(photo.height, photo.width))
    size = (max(16, round(photo.height * scale)), max(16, round(photo.width * scale)))
    if square is not None:
        size = (square, square)
    image = image_to_tensor(picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)).to(device)
    if holes is None:
        return image, torch.zeros_like(image[:, :1])
    mask = mask_to_tensor(mask_picture(holes)).to(device)
    return image, shrink_to_grid(mask, size) if mask.shape[-2:] != size else mask


def _picture(tensor: Tensor) -> Image.Image:
    return tensor_to_image(tensor.float().clamp(0, 1).cpu())
