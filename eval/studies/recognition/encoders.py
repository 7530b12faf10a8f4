"""What is tested: encoders of masked autoencoders that see whole images, and their pooled features."""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eval.scoring import OnProgress
from eval.studies.recognition.task import RecognitionTask
from eval.tasks.cache import ResultCache
from eval.tasks.methods import short_names
from inpaint.batch.plan import group_files
from inpaint.checkpoint import load_autoencoder
from inpaint.errors import CheckpointError
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import describe_preset
from inpaint.weights import locate
from inpaint.weights.store import digest_of

IMAGES_AT_ONCE = 32


class ImageEncoder(nn.Module):
    """The encoder of a masked autoencoder with nothing hidden, and its features averaged over the image.

    Of a transformer it is the mean of the encoder's normed output tokens, without a class token. Of a
    convolutional one it is the mean over positions of the last stage, standardised over channels, as where
    ConvNeXt's classifier begins.
    """

    def __init__(self, autoencoder: PatchAutoencoder) -> None:
        super().__init__()
        self.autoencoder: Any = autoencoder
        preset = autoencoder.preset
        self.width: int = preset.width if isinstance(preset, MaePreset) else preset.widths[-1]

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
    """An encoder to be probed or fine-tuned: of a checkpoint, or the same network before any training."""

    name: str
    kind: Literal["pre-trained", "random"]
    architecture: str  # its preset as text: candidates of one architecture are compared
    identity: str  # another one means other weights
    autoencoder: PatchAutoencoder

    @property
    def size(self) -> int:
        """Side of the images it sees."""
        return self.autoencoder.image_size

    def build(self, seed: int) -> ImageEncoder:
        """A network of its own; a random one is another for each seed."""
        if self.kind == "pre-trained":
            return ImageEncoder(copy.deepcopy(self.autoencoder))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ImageEncoder(type(self.autoencoder)(self.autoencoder.preset))  # type: ignore[call-arg]


def load_candidates(names: Sequence[str], size: int | None = None, random: bool = False) -> list[Candidate]:
    """Load encoders by model name or checkpoint file; of an inpainter the prior is taken.

    ``size`` is the side of the images they are to see, in place of what they were trained on; ``random`` also
    gives each architecture once without training.

    Raises:
        WeightsError, CheckpointError: a model is not here, does not fit or holds no masked autoencoder, or
            the size is no multiple of its patches.
    """
    candidates = []
    for name, title in zip(names, short_names(names), strict=True):
        path = locate(name)
        autoencoder = _resized(load_autoencoder(path).requires_grad_(True), size, path)
        architecture = json.dumps(describe_preset(autoencoder), sort_keys=True)
        candidates.append(Candidate(title, "pre-trained", architecture, digest_of(path), autoencoder))
    alike = group_files(candidates if random else (), lambda candidate: candidate.architecture)
    for architecture, found in alike.items():
        name = f"random, as {' and '.join(candidate.name for candidate in found)}"
        candidates.append(Candidate(name, "random", architecture, architecture, found[0].autoencoder))
    return candidates


def _resized(autoencoder: PatchAutoencoder, size: int | None, path: Path) -> PatchAutoencoder:
    """The same weights for images of another size: what depends on it is computed, not learned."""
    if size is None or size == autoencoder.image_size:
        return autoencoder
    if size % autoencoder.patch_size:
        raise CheckpointError(f"got size {size}, expected a multiple of {autoencoder.patch_size} for {path}")
    resized = type(autoencoder)(replace(autoencoder.preset, image_size=size))  # type: ignore[call-arg]
    resized.load_state_dict(autoencoder.state_dict())
    return resized.eval()


@torch.inference_mode()
def encode_images(
    task: RecognitionTask,
    candidate: Candidate,
    seed: int,
    *,
    cache_dir: Path,
    device: torch.device,
    on_progress: OnProgress = lambda *_: None,
) -> NDArray[np.float32]:
    """The features of every image in float32, ``(N, D)``; what ``cache_dir`` has is not computed again.

    ``seed`` is of the weights, where they are random. DataError if the features cannot be kept.
    """
    encoder = candidate.build(seed).to(device).eval()
    made_of = {
        "encoder": candidate.identity + (f" seed {seed}" if candidate.kind == "random" else ""),
        "architecture": candidate.architecture,
        "images": task.images_hash,
    }
    name = f"features-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}"
    cache = ResultCache(cache_dir, name, made_of, {"features": encoder.width})
    for start in range(len(cache), len(task), IMAGES_AT_ONCE):
        on_progress(f"features of {candidate.name}, seed {seed}", start, len(task))
        part = slice(start, start + IMAGES_AT_ONCE)
        features = encoder(task.photos.photos[part].to(device).float() / 255).float().cpu().numpy()
        cache.append([{"image": name} for name in task.photos.names[part]], {"features": features})
    on_progress(f"features of {candidate.name}, seed {seed}", len(task), len(task))
    return np.array(cache.features()["features"])
