"""What a published file holds, found out from its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from inpaint.errors import CheckpointError

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


def merge(contents: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Bring what files hold to one state dict whose keys begin with the part's name, such as ``mae.``.

    Raises:
        CheckpointError: if keys are of no known layout, or a part comes twice.
    """
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


def layout_of(state: Mapping[str, Tensor]) -> str:
    """Name the layout of a merged state dict; see :mod:`inpaint.convert`.

    Raises:
        CheckpointError: if its parts do not belong together.
    """
    parts = frozenset(key.split(".", 1)[0] for key in state)
    if parts not in PARTS:
        known = "; ".join(" + ".join(sorted(group)) for group in PARTS)
        raise CheckpointError(f"got the parts {', '.join(sorted(parts))}, expected one of: {known}")
    return "mae" if "mae.cls_token" in state and parts == {"mae"} else PARTS[parts]


def part_of(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, without its prefix."""
    return {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
