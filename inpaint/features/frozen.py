"""What frozen feature networks share: eval mode, no gradients for their weights, float32, strict loading."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
import torch.nn as nn
from safetensors.torch import load_file
from torch import Tensor

from inpaint.errors import CheckpointError, ShapeError
from inpaint.images.read import first_line

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]


class FrozenNetwork(nn.Module):
    """A network that observes images and is never trained; gradients flow through it to the images."""

    weights: str  # what its weights file is, for error messages
    # keys of the file that begin with one of these are not read, such as a classifier's
    ignored: tuple[str, ...] = ()
    mean: Tensor
    std: Tensor

    def load_weights(self, path: Path | str) -> Self:
        """Load weights strictly, as float32, from a safetensors file or a PyTorch state dict.

        CheckpointError if the file is missing, unreadable or does not fit the network.
        """
        try:
            if Path(path).suffix == ".safetensors":
                state = load_file(path)
            else:
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # both readers raise a dozen different classes at foreign files
            reason = "no tensors in it" if isinstance(error, UnpicklingError) else first_line(error)
            told = f"{path}: cannot be read as weights ({reason}); expected {self.weights}"
            raise CheckpointError(told) from None
        try:
            named = {self.rename(key): v for key, v in state.items() if not key.startswith(self.ignored)}
            self.loaded.load_state_dict(named)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{path}: not the weights of {self.weights} ({reason})") from None
        return self.freeze()

    @property
    def loaded(self) -> nn.Module:
        """The part that the weights file is of."""
        return self

    def rename(self, key: str) -> str:
        """The name that a key of the weights file has in this network."""
        return key

    def set_colours(self, mean: Sequence[float], std: Sequence[float] = (1, 1, 1)) -> None:
        """Keep the colours to normalise by as buffers ``mean`` and ``std``, which are not saved."""
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def freeze(self) -> Self:
        """Put the network into the state it keeps; the last line of every constructor."""
        return self.requires_grad_(False).float().train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, also inside a network that is put to training."""
        return super().train(False)


def check_images(image: Tensor, smallest: int = 1) -> None:
    """Refuse anything but a batch of RGB images of at least ``smallest`` pixels a side, by a ShapeError."""
    if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < smallest:
        sides = f" of at least {smallest} pixels a side" if smallest > 1 else ""
        raise ShapeError(f"got {tuple(image.shape)}, expected images (B, 3, H, W){sides}")


def run_taps(layers: Iterable[tuple[Any, nn.Module]], features: Tensor, taps: Sequence[Any]) -> list[Tensor]:
    """Send features through named layers in turn; gives what comes out of those whose names are ``taps``."""
    found = []
    for name, layer in layers:
        features = layer(features)
        if name in taps:
            found.append(features)
    return found


def fast_layout(image: Tensor) -> Tensor:
    """The image with its channels side by side in memory on a CPU, where convolutions are then faster."""
    return image.contiguous(memory_format=torch.channels_last) if image.device.type == "cpu" else image


@contextmanager
def full_precision(image: Tensor) -> Iterator[None]:
    """Compute in float32 on every device: no autocast, and no TF32, which keeps ten bits of a factor."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(image.device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
