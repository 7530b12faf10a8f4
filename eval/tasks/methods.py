"""What can be scored: fills without a network, models run here, and image files made elsewhere."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.results import RowKind
from eval.tasks.pairs import Pair, Predictions
from inpaint import baselines
from inpaint.checkpoint import load_checkpoint
from inpaint.convert.migan import Migan
from inpaint.errors import DataError, InpaintError
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.weights.store import digest_of
from inpaint.weights.terminal import locate_in_terminal

Fill = Callable[[Tensor, Tensor], Tensor]
"""``image (B, 3, H, W)`` in [0, 1] and ``mask (B, 1, H, W)``, 1 = hole, to a prediction like the image."""


@dataclass(frozen=True, eq=False)
class Method:
    """A row of the table to be."""

    name: str
    kind: RowKind
    source: Fill | Predictions  # what fills the holes, or the files in which they are filled
    identity: str = ""  # another one means other predictions: a checkpoint's hash, the files' fingerprint

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^\w.-]+", "-", self.name).strip(".-")

    @property
    def files(self) -> Predictions | None:
        """The files, where it is not filled here."""
        return self.source if isinstance(self.source, Predictions) else None

    def covers(self, pair: Pair) -> bool:
        """Whether there is a prediction for a pair."""
        return self.files is None or pair.stem in self.files.files


def _mean_colour_8_bits(image: Tensor, mask: Tensor) -> Tensor:
    """The validation protocol's published table cuts the mean colour to 8 bits (0.008 dB below rounding)."""
    return (baselines.mean_colour(image, mask) * 255 + 1e-4).floor() / 255


BASELINES: dict[str, Fill] = {
    "mean colour": _mean_colour_8_bits,
    "push-pull pyramid": baselines.push_pull,
    "OpenCV Telea": baselines.telea,
    "OpenCV Navier-Stokes": baselines.navier_stokes,
}


def baseline_methods() -> list[Method]:
    """The fills without a network: what every model must beat."""
    return [Method(name, "baseline", source, name) for name, source in BASELINES.items()]


def load_models(names: Sequence[str], device: torch.device) -> list[Method]:
    """Load models by name or checkpoint file; WeightsError, CheckpointError if one is absent or unfit."""
    paths = [locate_in_terminal(name, "inpainter", "prior") for name in names]
    return [
        Method(title, "model", _load_fill(path, device), digest_of(path))
        for title, path in zip(short_names(names), paths, strict=True)
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Models by name or path, called by the file's stem where that is unique."""
    stems = Counter(Path(name).stem for name in names)
    return [Path(name).stem if stems[Path(name).stem] == 1 else name for name in names]


def check_names(methods: Sequence[Method]) -> None:
    """DataError for a name that two methods share, also as file names, or one without letter or digit."""
    slugs = Counter(method.slug.casefold() for method in methods)
    for method in methods:
        if not method.slug:
            raise DataError(f"got the name {method.name!r} for a method; expected letters or digits in it")
        if slugs[method.slug.casefold()] > 1:
            raise DataError(f"got two methods named {method.name!r}; expected one a name: rename one")


@torch.inference_mode()
def fill_in_8_bits(method: Method, image: Tensor, mask: Tensor) -> Tensor:
    """What a fill makes of images, in whole 255ths as a lossless file would keep them, not composited.

    What lies under the hole is greyed before the fill sees it: it is the answer. Images ``(B, 3, H, W)`` are
    in [0, 1], whole 255ths, as the result; in the mask ``(B, 1, H, W)`` 1 = hole. InpaintError if the fill
    gives another shape, or values that are not finite.
    """
    assert not isinstance(method.source, Predictions)
    prediction = method.source(torch.where(mask > 0.5, baselines.GREY, image), mask)
    if prediction.shape != image.shape:
        shapes = f"{tuple(prediction.shape)} of {tuple(image.shape)}"
        raise InpaintError(f"{method.name} made {shapes}; expected equal shapes")
    if not prediction.isfinite().all():
        raise InpaintError(f"{method.name} gave values that are not finite; expected colours in [0, 1]")
    return (prediction.float().clamp(0, 1) * 255).round() / 255


def _load_fill(path: Path, device: torch.device) -> Fill:
    model = Migan(path).eval() if path.suffix == ".onnx" else load_checkpoint(path, device)
    if not isinstance(model, PatchAutoencoder):
        return model

    def reconstruct(image: Tensor, mask: Tensor) -> Tensor:
        filled = model.reconstruct(image, mask)
        return F.interpolate(filled, size=image.shape[-2:], mode="bilinear", align_corners=False)

    return reconstruct
