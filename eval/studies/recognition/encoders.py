"""What is probed: the encoder of a masked autoencoder that sees the whole image, one vector an image."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.checkpoint import load_checkpoint
from inpaint.errors import CheckpointError
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.presets import describe_preset
from inpaint.weights import locate

Autoencoder = MaskedAutoencoder | FullyConvolutionalAutoencoder


class PictureEncoder(nn.Module):
    """The encoder of a masked autoencoder with nothing hidden, and its features averaged over the image.

    Of a transformer it is the mean of the encoder's normed output tokens, without a class token. Of a
    convolutional one it is the mean over positions of the last stage, standardised over channels, as where
    ConvNeXt's classifier begins.

    Args:
        autoencoder: its decoder is not used.
    """

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        preset = autoencoder.preset
        self.width = preset.width if isinstance(preset, MaePreset) else preset.widths[-1]

    def forward(self, image: Tensor) -> Tensor:
        """Map images ``(B, 3, H, W)`` in [0, 1], brought to the encoder's square, to ``(B, D)``."""
        network, side = self.autoencoder, self.autoencoder.image_size
        if image.shape[-2:] != (side, side):
            image = F.interpolate(image, (side, side), mode="bilinear", antialias=True)
        normalised = network.normalise(image)
        height, width = network.grid
        if isinstance(network, MaskedAutoencoder):
            hidden = torch.zeros(len(image), height * width, dtype=torch.bool, device=image.device)
            tokens, places = network.encode(normalised, hidden, visible=height * width)
            return tokens[:, -places.shape[1] :].mean(dim=1)
        visible = torch.ones(len(image), 1, height, width, dtype=torch.bool, device=image.device)
        pooled = network.encoder(normalised, visible)[-1].mean(dim=(2, 3))
        return F.layer_norm(pooled, pooled.shape[-1:])


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoder to be probed or fine-tuned: of a checkpoint, or the same network before any training.

    Attributes:
        name: as the tables print it.
        kind: what its weights are.
        architecture: its preset as text; candidates of one architecture are compared.
        identity: another one means other weights.
    """

    name: str
    kind: Literal["pre-trained", "random"]
    architecture: str
    identity: str
    _autoencoder: Autoencoder

    @property
    def size(self) -> int:
        """Side of the images it sees."""
        return self._autoencoder.image_size

    def build(self, seed: int) -> PictureEncoder:
        """A network of its own; a random one is another for each seed."""
        if self.kind == "pre-trained":
            return PictureEncoder(copy.deepcopy(self._autoencoder))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PictureEncoder(type(self._autoencoder)(self._autoencoder.preset))  # type: ignore[arg-type]


def load_candidates(
    names: Sequence[str], *, size: int | None = None, random: bool = False
) -> list[Candidate]:
    """Load encoders by model name or checkpoint file; a model is called by its file's stem if that is unique.

    Args:
        names: masked autoencoders, or inpainting networks, of which the prior is taken.
        size: side of the images they are to see, in place of what they were trained on.
        random: also give each architecture once without training.

    Raises:
        WeightsError, CheckpointError: a model is not here, does not fit, or holds no masked autoencoder.
        CheckpointError: the size is no multiple of a network's patches.
    """
    stems = Counter(Path(name).stem for name in names)
    trained = []
    for name in names:
        path = locate(name)
        autoencoder = _resized(_autoencoder_of(path), size, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        architecture = json.dumps(describe_preset(autoencoder), sort_keys=True)
        title = Path(name).stem if stems[Path(name).stem] == 1 else name
        trained.append(Candidate(title, "pre-trained", architecture, digest, autoencoder))
    if not random:
        return trained
    untrained = []
    for architecture in dict.fromkeys(candidate.architecture for candidate in trained):
        alike = [candidate for candidate in trained if candidate.architecture == architecture]
        title = f"random, as {' and '.join(candidate.name for candidate in alike)}"
        untrained.append(Candidate(title, "random", architecture, architecture, alike[0]._autoencoder))
    return trained + untrained


def _autoencoder_of(path: Path) -> Autoencoder:
    model = load_checkpoint(path)
    found = model.prior if isinstance(model, Inpainter) else model
    if not isinstance(found, Autoencoder):
        raise CheckpointError(
            f"{path} holds an inpainting network without a prior; expected a masked autoencoder, or a "
            "network that has one"
        )
    return found.requires_grad_(True)


def _resized(autoencoder: Autoencoder, size: int | None, path: Path) -> Autoencoder:
    """The same weights for images of another size: what depends on it is computed, not learned."""
    preset: Any = autoencoder.preset
    if size is None or size == preset.image_size:
        return autoencoder
    if size % autoencoder.patch_size:
        raise CheckpointError(
            f"got size {size}, expected a multiple of {autoencoder.patch_size}, the side of a patch of {path}"
        )
    resized = type(autoencoder)(replace(preset, image_size=size))
    resized.load_state_dict(autoencoder.state_dict())
    return resized.eval()
