"""Published state dicts to ours: dict in, dict out. Files are read elsewhere.

What a file is, is found out from its keys:

    layout              keys                                      becomes
    mae-far             mae.*  acr.G.*  acr.GCs.*                 Inpainter (a Lightning file)
    mae-far-generator   G.*    or ``generator`` in a dict         with the next two: Inpainter
    mae-far-adapter     GCs.*  or ``gc_encoder`` in a dict
    mae-far-mae         patch_embed.* without cls_token           MaskedAutoencoder
    mae                 patch_embed.* with cls_token              MaskedAutoencoder
    lama                generator.model.*                         Inpainter without a prior
    fcmae               encoder.downsample_layers.*               FullyConvolutionalAutoencoder
    convnextv2          downsample_layers.*                       timm's classifier, see convert_classifier

Conversion is strict: a tensor that is missing, unknown or of another shape is an error. Only the parts in
``IGNORED``, which training needs and inpainting does not, are dropped by name. Constants that our networks
compute themselves (position tables) are compared with what the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from inpaint.convert.convnext import (
    convert_classifier,
    convert_fcmae,
    official_classifier,
    official_fcmae,
)
from inpaint.convert.layout import layout_of, merge, part_of
from inpaint.convert.networks import convert_acr, convert_lama, convert_mae
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset

__all__ = [
    "convert_acr", "convert_classifier", "convert_fcmae", "convert_lama", "convert_mae", "convert_state",
    "detect_layout", "official_classifier", "official_fcmae",
]  # fmt: skip


def detect_layout(*contents: Mapping[str, Any]) -> str:
    """Name what one file holds, or several files together.

    Args:
        contents: what the files hold: a state dict, or a dict of training with the state dict inside.

    Returns:
        A layout of the table above, or ``mae-far-acr`` for generator and adapter without their prior.

    Raises:
        CheckpointError: if the keys are of no known layout, or two files hold the same part.
    """
    return layout_of(merge(contents))


def convert_state(
    *contents: Mapping[str, Any],
) -> tuple[InpainterPreset | MaePreset | FcmaePreset, dict[str, Tensor]]:
    """Turn published weights into a preset and a state dict of ours.

    Args:
        contents: as for :func:`detect_layout`; the three MAE-FAR parts may come in any order.

    Returns:
        The preset to build and the float32 tensors that fit it, all of them.

    Raises:
        CheckpointError: if a part or a tensor is missing, unknown, of another shape, if a stored constant
            is not the one our network uses, or if the file holds a classifier.
    """
    state = merge(contents)
    layout = layout_of(state)
    if layout in ("mae", "mae-far-mae"):
        return convert_mae(part_of(state, "mae"))
    if layout == "lama":
        return convert_lama(part_of(state, "lama"))
    if layout == "fcmae":
        return convert_fcmae(part_of(state, "fcmae"))
    if layout == "convnextv2":
        raise CheckpointError("got a classifier of ConvNeXt V2, no network of ours; see convert_classifier")
    if layout == "mae-far":
        return _convert_mae_far(state)
    parts = {"mae": "the MAE file (patch_embed.*)", "G": "the generator", "GCs": "the adapter (GCs)"}
    here = {key.split(".", 1)[0] for key in state}
    lacking = " and ".join(text for part, text in parts.items() if part not in here)
    raise CheckpointError(
        f"got only a part of MAE-FAR ({layout}); give {lacking} with it, as in: "
        "inpaint convert FILE FILE OUT.safetensors"
    )


def _convert_mae_far(state: Mapping[str, Tensor]) -> tuple[InpainterPreset, dict[str, Tensor]]:
    mae, prior = convert_mae(part_of(state, "mae"))
    preset, rest = convert_acr(
        {key: value for key, value in state.items() if not key.startswith("mae.")}, mae
    )
    return preset, rest | {f"prior.{key}": value for key, value in prior.items()}
