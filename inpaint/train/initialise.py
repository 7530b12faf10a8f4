"""What a run begins with: a new network, or the weights of an earlier one as far as they fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from inpaint.checkpoint import load_checkpoint
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaePreset
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import build_inpainter, vary_preset
from inpaint.train.config import AcrRunConfig


class Start(NamedTuple):
    """A network before its first step."""

    network: Inpainter
    note: str
    """Which parts came from where, and which are new: one line."""


def start_network(config: AcrRunConfig) -> Start:
    """Build a run's network and give it the weights of the checkpoints the config names.

    The generator's own layers must be those of ``init_checkpoint``. What a variant adds starts fresh, its
    alphas at zero unless they are fixed at one; what it leaves out is dropped.

    Raises:
        CheckpointError: if a checkpoint is of another kind, generator or prior.
        ConfigError: if the variant is impossible.
    """
    network = build_inpainter(vary_preset(config.preset, **asdict(config.variant)))
    notes = []
    if config.init_checkpoint is not None:
        notes.append(_take_shared(network, config.init_checkpoint))
    if config.mae_checkpoint is not None:
        _take_prior(network, config.mae_checkpoint)
        notes.append(f"prior from {config.mae_checkpoint.name}")
    return Start(network, "; ".join(notes) or "all new")


def _take_shared(network: Inpainter, path: Path) -> str:
    """Copy what two variants have in common, in place; says what came along and what did not."""
    begun = load_checkpoint(path)
    if not isinstance(begun, Inpainter):
        raise CheckpointError(f"{path} holds another network, expected one of preset {network.preset.name}")
    ours, theirs = network.preset, begun.preset
    varied = {
        "attention": ours.generator.attention,
        "alphas": ours.generator.alphas,
        "positional_encoding": ours.generator.positional_encoding,
    }
    if replace(theirs.generator, **varied) != ours.generator:
        raise CheckpointError(f"{path} holds another network, expected one of preset {ours.name}")
    # Equal names and shapes are not enough: these would carry on what was learned for something else.
    fresh = {
        "attention": theirs.generator.attention != ours.generator.attention,
        "adapter": theirs.prior != ours.prior,
        "prior": not _same_weights(theirs.prior, ours.prior),
    }
    state = begun.state_dict()
    own = network.state_dict()
    taken = {key: state[key] for key in own.keys() & state.keys() if not fresh.get(_part(key), False)}
    if theirs.generator.alphas != ours.generator.alphas:
        taken = {key: tensor for key, tensor in taken.items() if "alpha" not in key}
    network.load_state_dict(own | taken)
    parts = [f"{_parts(taken)} from {path.name}"]
    if own.keys() - taken.keys():
        parts.append(f"new: {_parts(own.keys() - taken.keys())}")
    if state.keys() - taken.keys():
        parts.append(f"not taken: {_parts(state.keys() - taken.keys())}")
    return ", ".join(parts)


def _take_prior(network: Inpainter, path: Path) -> None:
    prior, wanted = load_checkpoint(path), network.preset.prior
    if (
        not isinstance(prior, PatchAutoencoder)
        or network.prior is None
        or not _same_weights(prior.preset, wanted)
    ):
        raise CheckpointError(f"{path} does not hold the masked autoencoder of preset {network.preset.name}")
    network.prior.load_state_dict(prior.state_dict())


def _same_weights(theirs: MaePreset | FcmaePreset | None, ours: MaePreset | FcmaePreset | None) -> bool:
    """Can a prior of ours go on with the weights of theirs? The layer that is read may be another."""
    if isinstance(theirs, MaePreset) and isinstance(ours, MaePreset):
        theirs = replace(theirs, feature_layer=ours.feature_layer)
    return theirs is not None and theirs == ours


def _part(key: str) -> str:
    """The part of a network that a tensor belongs to."""
    if key.startswith("generator.transfer_"):
        return "attention"
    return "positions" if key.startswith("generator.positions.") else key.split(".")[0]


def _parts(keys: Iterable[str]) -> str:
    return " + ".join(sorted({"alphas" if "alpha" in key else _part(key) for key in keys}))
