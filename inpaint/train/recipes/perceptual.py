"""The network of the perceptual loss, by its name in a config."""

from __future__ import annotations

from pathlib import Path

from inpaint.checkpoint import load_checkpoint
from inpaint.errors import CheckpointError
from inpaint.features.perceptual import MaeFeatures, SceneFeatures, SqueezeNetFeatures, TapNetwork
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.train.config import PerceptualNetwork
from inpaint.weights.terminal import fetch_in_terminal


def load_perceptual(network: PerceptualNetwork, path: Path | str) -> TapNetwork:
    """Load the network of a perceptual loss; its `feature_distance(prediction, target)` gives (B,) distances.

    Where ``path`` leads to no file and ends in the network's own name, the published weights are fetched.

    Raises:
        CheckpointError: the file is missing, unreadable or does not fit; says what was expected.
        WeightsError: the published weights are not to be had.
    """
    if network != "mae" and Path(path).name == network and not Path(path).is_file():
        path = fetch_in_terminal(network)
    if network == "squeezenet":
        return SqueezeNetFeatures.from_file(path)
    if network == "ade20k":
        return SceneFeatures.from_file(path)
    model = load_checkpoint(path)
    autoencoder = model.prior if isinstance(model, Inpainter) else model
    if not isinstance(autoencoder, MaskedAutoencoder):
        raise CheckpointError(
            f"{path} holds a {type(model).__name__} without one, expected a masked autoencoder: "
            "a checkpoint of kind mae, or an inpainter with such a prior"
        )
    return MaeFeatures(autoencoder)
