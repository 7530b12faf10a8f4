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

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from inpaint.convert.convnext import convert_classifier, convert_fcmae, official_classifier, official_fcmae
from inpaint.convert.networks import convert_acr, convert_lama, convert_mae
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset

__all__ = ["convert_classifier", "convert_state", "detect_layout", "official_classifier", "official_fcmae"]

IGNORED = (
    "D.", "discriminator.", "acr_ema.", "loss_", "val_evaluator.", "test_evaluator.", "extra_evaluators.",
)  # fmt: skip
"""Discriminators, losses and metrics beside the networks; ``acr_ema`` is not what the authors' test reads."""

PARTS = {
    frozenset({"mae", "G", "GCs"}): "mae-far",
    frozenset({"G", "GCs"}): "mae-far-acr",
    frozenset({"G"}): "mae-far-generator",
    frozenset({"GCs"}): "mae-far-adapter",
    frozenset({"mae"}): "mae-far-mae",
    frozenset({"lama"}): "lama",
    frozenset({"fcmae"}): "fcmae",
    frozenset({"convnextv2"}): "convnextv2",
}


def detect_layout(*contents: Mapping[str, Any]) -> str:
    """Name what one file, or several files together, hold: a layout of the table, or ``mae-far-acr``.

    Args:
        contents: state dicts, or dicts of training with a state dict inside.

    Raises:
        CheckpointError: the keys are of no known layout, or two files hold the same part.
    """
    state = merge(contents)
    parts = frozenset(key.split(".", 1)[0] for key in state)
    if parts not in PARTS:
        known = "; ".join(" + ".join(sorted(group)) for group in PARTS)
        raise CheckpointError(f"got the parts {', '.join(sorted(parts))}, expected one of: {known}")
    return "mae" if "mae.cls_token" in state and parts == {"mae"} else PARTS[parts]


def convert_state(
    *contents: Mapping[str, Any],
) -> tuple[InpainterPreset | MaePreset | FcmaePreset, dict[str, Tensor]]:
    """Turn published weights into the preset to build and the float32 tensors that fit it, all of them.

    Args:
        contents: as for :func:`detect_layout`; the three MAE-FAR parts may come in any order.

    Raises:
        CheckpointError: a part or a tensor is missing, unknown or of another shape, a stored constant is not
            the one our network uses, or the file holds a classifier.
    """
    layout = detect_layout(*contents)
    state = merge(contents)
    if layout in ("mae", "mae-far-mae"):
        return convert_mae(part_of(state, "mae"))
    if layout == "lama":
        return convert_lama(part_of(state, "lama"))
    if layout == "fcmae":
        return convert_fcmae(part_of(state, "fcmae"))
    if layout == "convnextv2":
        raise CheckpointError("got a classifier of ConvNeXt V2, no network of ours; see convert_classifier")
    parts = {"mae": "the MAE file (patch_embed.*)", "G": "the generator", "GCs": "the adapter (GCs)"}
    here = {key.split(".", 1)[0] for key in state}
    if lacking := " and ".join(text for part, text in parts.items() if part not in here):
        raise CheckpointError(
            f"got only a part of MAE-FAR ({layout}); give {lacking} with it, as in: "
            "inpaint convert FILE FILE OUT.safetensors"
        )
    mae, prior = convert_mae(part_of(state, "mae"))
    preset, rest = convert_acr(
        {key: value for key, value in state.items() if not key.startswith("mae.")}, mae
    )
    return preset, rest | {f"prior.{key}": value for key, value in prior.items()}


def merge(contents: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Bring what files hold to one state dict whose keys begin with the part's name, such as ``mae.``."""
    merged: dict[str, Tensor] = {}
    for content in contents:
        state = _unwrap(content)
        twice = sorted({key.split(".", 1)[0] for key in state} & {key.split(".", 1)[0] for key in merged})
        if twice:
            raise CheckpointError(f"two files hold the same part ({', '.join(twice)}.*); give each part once")
        merged |= state
    return merged


def _unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the weights out of a dict of training and put the part's name before every key."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    halves = {"G": content.get("generator"), "GCs": content.get("gc_encoder")}
    if any(isinstance(half, Mapping) for half in halves.values()):
        content = {
            f"{part}.{str(key).removeprefix('module.')}": value
            for part, half in halves.items()
            if isinstance(half, Mapping)
            for key, value in half.items()
        }
    # LaMa's TorchScript archive wraps the whole training module once more.
    wrapper = "model." if any(str(key).startswith("model.generator.") for key in content) else "module."
    state = {
        str(key).removeprefix(wrapper): value
        for key, value in content.items()
        if not str(key).removeprefix(wrapper).startswith(IGNORED)
    }
    strange = [key for key, value in state.items() if not isinstance(value, Tensor)]
    prefix = None if strange else _part_prefix(state)
    if prefix is None:
        shown = ", ".join(list(state)[:3]) or "none"
        raise CheckpointError(
            f"got {len(state)} entries of no known layout (first: {shown}), expected the weights of MAE-FAR "
            "(mae.*, acr.*), MAE (patch_embed.*), LaMa (generator.model.*) or ConvNeXt V2 "
            "(downsample_layers.*)"
        )
    old, new = prefix
    return {new + key.removeprefix(old): value for key, value in state.items()}


def _part_prefix(state: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """What to take away from the front of every key, and what to put there."""
    if any(key.startswith(("acr.", "mae.", "G.", "GCs.")) for key in state):
        return "acr.", ""
    if any(key.startswith("generator.model.") for key in state):
        return "generator.model.", "lama."
    markers = {
        "model.1.ffc.convl2l.weight": ("model.", "lama."),
        "patch_embed.proj.weight": ("", "mae."),
        "encoder.downsample_layers.0.0.weight": ("", "fcmae."),
        "downsample_layers.0.0.weight": ("", "convnextv2."),
        "convt0.gate_conv.weight": ("", "GCs."),
        "convt4.weight": ("", "G."),
    }
    return next((prefix for marker, prefix in markers.items() if marker in state), None)


def part_of(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, without its prefix."""
    return {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
