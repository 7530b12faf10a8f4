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
    convnextv2          downsample_layers.*                       timm's classifier, by its name

Conversion is strict: a tensor that is missing, unknown or of another shape is an error. Only the parts in
``IGNORED``, which training needs and inpainting does not, are dropped by name. Constants that our networks
compute themselves (position tables) are compared with what the file holds.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

import inpaint.convert.networks as networks
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset

IGNORED = (
    "D.", "discriminator.", "acr_ema.", "loss_", "val_evaluator.", "test_evaluator.", "extra_evaluators.",
)  # fmt: skip
"""Discriminators, losses and metrics beside the networks; ``acr_ema`` is not what the authors' test reads."""

LAYOUTS = {frozenset(parts): layout for layout, parts in networks.TABLES["layouts"].items()}
Parts = dict[str, dict[str, Tensor]]


def detect_layout(*contents: Mapping[str, Any]) -> str:
    """Name what one file, or several files together, hold: a layout of the table, or ``mae-far-acr``.

    Args:
        contents: state dicts, or dicts of training with a state dict inside.

    Raises:
        CheckpointError: the keys are of no known layout, or two files hold the same part.
    """
    return _layout_of(_split_parts(*contents))


def convert_state(
    *contents: Mapping[str, Any],
) -> tuple[InpainterPreset | MaePreset | FcmaePreset | str, dict[str, Tensor]]:
    """Turn published weights into the preset to build, or a classifier's name, and all its float32 tensors.

    Args:
        contents: as for :func:`detect_layout`; the three MAE-FAR parts may come in any order.

    Raises:
        CheckpointError: a part or a tensor is missing, unknown or of another shape, or a stored constant is
            not the one our network uses.
    """
    parts = _split_parts(*contents)
    match _layout_of(parts):
        case "mae" | "mae-far-mae":
            return networks.convert_mae(parts["mae"])
        case "lama":
            return networks.convert_lama(parts["lama"])
        case "fcmae":
            return networks.convert_fcmae(parts["fcmae"])
        case "convnextv2":
            return networks.convert_classifier(parts["convnextv2"])
        case "mae-far":
            mae, prior = networks.convert_mae(parts["mae"])
            preset, rest = networks.convert_acr(parts["G"], parts["GCs"], mae)
            return preset, rest | {f"prior.{key}": value for key, value in prior.items()}
        case layout:
            whole = {"mae": "the MAE file (patch_embed.*)", "G": "the generator", "GCs": "the adapter (GCs)"}
            lacking = " and ".join(text for part, text in whole.items() if part not in parts)
            raise CheckpointError(
                f"got only a part of MAE-FAR ({layout}); give {lacking} with it, as in: "
                "inpaint convert FILE FILE OUT.safetensors"
            )


def _split_parts(*contents: Mapping[str, Any]) -> Parts:
    """The tensors of each part that files hold together, by the part's name and the keys it has alone."""
    parts: Parts = {}
    for content in contents:
        found = _find_parts(_unwrap(content))
        if twice := sorted(found.keys() & parts.keys()):
            raise CheckpointError(f"two files hold the same part ({', '.join(twice)}.*); give each part once")
        parts |= found
    return parts


def _layout_of(parts: Parts) -> str:
    layout = LAYOUTS.get(frozenset(parts))
    if layout is None:
        known = "; ".join(" + ".join(sorted(group)) for group in LAYOUTS)
        raise CheckpointError(f"got the parts {', '.join(sorted(parts))}, expected one of: {known}")
    return "mae" if layout == "mae-far-mae" and "cls_token" in parts["mae"] else layout


def _unwrap(content: Mapping[str, Any]) -> dict[str, Any]:
    """The weights inside a dict of training, without what inpainting does not need."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    halves = {"G": content.get("generator"), "GCs": content.get("gc_encoder")}
    if halves := {part: half for part, half in halves.items() if isinstance(half, Mapping)}:
        content = {
            f"{part}.{str(key).removeprefix('module.')}": value
            for part, half in halves.items()
            for key, value in half.items()
        }
    # LaMa's TorchScript archive wraps the whole training module once more.
    wrapper = "model." if any(str(key).startswith("model.generator.") for key in content) else "module."
    state = {str(key).removeprefix(wrapper): value for key, value in content.items()}
    return {key: value for key, value in state.items() if not key.startswith(IGNORED)}


def _find_parts(state: dict[str, Any]) -> Parts:
    if all(isinstance(value, Tensor) for value in state.values()):
        if any(key.startswith(("acr.", "mae.", "G.", "GCs.")) for key in state):
            parts: Parts = {}
            for key, value in state.items():
                part, _, rest = key.removeprefix("acr.").partition(".")
                parts.setdefault(part, {})[rest] = value
            return parts
        # LaMa's files name the generator inside the training module; others have neither prefix.
        bare = {key.removeprefix("generator.").removeprefix("model."): value for key, value in state.items()}
        for part, marker in networks.TABLES["markers"].items():
            if marker in bare:
                return {part: bare}
    shown = ", ".join(list(state)[:3]) or "none"
    raise CheckpointError(
        f"got {len(state)} entries of no known layout (first: {shown}), expected the weights of MAE-FAR "
        "(mae.*, acr.*), MAE (patch_embed.*), LaMa (generator.model.*) or ConvNeXt V2 (downsample_layers.*)"
    )
