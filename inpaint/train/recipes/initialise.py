"""Weights a run begins with: new ones, those of earlier checkpoints as far as they fit, frozen networks."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from inpaint.checkpoint import load_autoencoder, load_checkpoint
from inpaint.errors import CheckpointError
from inpaint.features.perceptual import MaeFeatures, SceneFeatures, SqueezeNetFeatures, TapNetwork
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import build_inpainter
from inpaint.train.config import PerceptualNetwork
from inpaint.weights.terminal import fetch_in_terminal

_VARIED = ("attention", "alphas", "positional_encoding", "hole_noise")  # what variants of a generator change


def initialise_inpainter(
    preset: InpainterPreset, init_checkpoint: Path | None, prior_checkpoint: Path | None
) -> tuple[Inpainter, str]:
    """Build a network and load the weights of earlier checkpoints.

    The generator's own layers must be those of ``init_checkpoint``, an inpainter, maybe of another variant.
    What the preset adds to it is new, its alphas zero unless they are fixed at one; what the preset leaves
    out is dropped.

    Returns:
        The network, and one line about which parts came from where.

    Raises:
        CheckpointError: a checkpoint is of another kind, generator or prior.
    """
    network = build_inpainter(preset)
    notes = []
    if init_checkpoint is not None:
        notes.append(_take_shared(network, init_checkpoint))
    if prior_checkpoint is not None:
        if network.prior is None:
            raise CheckpointError(f"{preset.name} has no prior for prior_checkpoint {prior_checkpoint}")
        load_prior(network.prior, prior_checkpoint, preset.name)
        notes.append(f"prior from {prior_checkpoint.name}")
    return network, "; ".join(notes) or "all new"


def load_prior(model: PatchAutoencoder, path: Path, preset: str) -> None:
    """Load a prior's weights from its checkpoint or an inpainter's; CheckpointError if that has none."""
    prior = load_autoencoder(path)
    if not _same_weights(prior.preset, model.preset):
        raise CheckpointError(
            f"{path} does not hold the prior of preset {preset}, expected a checkpoint of that prior, or of "
            "an inpainter that contains it"
        )
    model.load_state_dict(prior.state_dict())


def load_perceptual(network: PerceptualNetwork, path: Path | str) -> TapNetwork:
    """Load the network of a perceptual loss; its `feature_distance(prediction, target)` gives (B,) distances.

    Where ``path`` leads to no file and ends in the network's own name, the published weights are fetched.

    Raises:
        CheckpointError: the file is missing, unreadable or does not fit; says what was expected.
        WeightsError: the published weights are not to be had.
    """
    if network == "mae":
        return MaeFeatures(load_autoencoder(path, MaskedAutoencoder))
    if Path(path).name == network and not Path(path).is_file():
        path = fetch_in_terminal(network)
    return {"squeezenet": SqueezeNetFeatures, "ade20k": SceneFeatures}[network]().load_weights(path)


def _take_shared(network: Inpainter, path: Path) -> str:
    """Copy what two variants have in common, in place; says what came along and what did not."""
    begun = load_checkpoint(path)
    if not isinstance(begun, Inpainter):
        raise CheckpointError(f"{path} holds another network, expected one of preset {network.preset.name}")
    ours, theirs = network.preset, begun.preset
    varied = {name: getattr(ours.generator, name) for name in _VARIED}
    if replace(theirs.generator, **varied) != ours.generator:
        raise CheckpointError(f"{path} holds another network, expected one of preset {ours.name}")
    # Equal names and shapes are not enough: these would carry on what was learned for something else.
    fresh = {
        "attention": theirs.generator.attention != ours.generator.attention,
        "adapter": theirs.prior != ours.prior,
        "prior": not _same_weights(theirs.prior, ours.prior),
    }
    state, own = begun.state_dict(), network.state_dict()
    taken = {key: state[key] for key in own.keys() & state.keys() if not fresh.get(_part(key), False)}
    if theirs.generator.alphas != ours.generator.alphas:
        taken = {key: tensor for key, tensor in taken.items() if "alpha" not in key}
    network.load_state_dict(own | taken)
    notes = [f"{_parts(taken)} from {path.name}"]
    for what, keys in (("new", own.keys() - taken.keys()), ("not taken", state.keys() - taken.keys())):
        if keys:
            notes.append(f"{what}: {_parts(keys)}")
    return ", ".join(notes)


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
