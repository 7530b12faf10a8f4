"""The published networks behind LPIPS and FID, frozen: the libraries' graphs, the scripts' inputs."""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import CheckpointError, ShapeError

_INCEPTION_SIZE = 299
_SMALLEST = {"alex": 31, "vgg": 16}  # below, a pooling has nothing left
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in [0, 1]


class FrozenNetwork(nn.Module):
    """An observer of pictures: always in eval mode, without gradients for its own weights, in float32.

    Attributes:
        network: the library's graph.
    """

    network: nn.Module

    def freeze(self) -> Self:
        """To be called once the weights are in."""
        return self.requires_grad_(False).float().train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    @abstractmethod
    def forward(self, *images: Tensor) -> Tensor:
        """See the subclasses."""


class Lpips(FrozenNetwork):
    """LPIPS 0.1 of a pair of pictures; the linear weights come with the package lpips.

    Args:
        trunk: ``alex`` or ``vgg``.
        state: state dict of torchvision's AlexNet or VGG-16, whose classifier is passed over.

    Raises:
        CheckpointError: the weights do not fit.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features ..." (CVPR 2018).
    """

    def __init__(self, trunk: str, state: Mapping[str, Tensor]) -> None:
        import lpips

        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips asks torchvision in a way it no longer likes
            self.network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
        # lpips cuts torchvision's `features` into slices and keeps their numbers: slice2.3 is features.3.
        official = {re.sub(r"^slice\d+", "features", key): key for key in self.network.net.state_dict()}
        trunk_state = {official.get(key, key): v for key, v in state.items() if key.startswith("features.")}
        _load_strictly(self.network.net, trunk_state, "the backbone of LPIPS")
        self._smallest = _SMALLEST[trunk]
        self.freeze()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The distance of each pair.

        Args:
            prediction: ``(B, 3, H, W)`` in [0, 1].
            target: as ``prediction``.

        Returns:
            ``(B,)`` float32, 0 for equal pictures.

        Raises:
            ShapeError: pictures smaller than the network takes.
        """
        height, width = prediction.shape[-2:]
        if min(height, width) < self._smallest:
            raise ShapeError(
                f"got pictures of {height} x {width}; LPIPS needs at least {self._smallest} pixels a side"
            )
        with _full_precision(prediction):
            pair = (fast_layout(image.float()) for image in (prediction, target))
            return self.network(*pair, normalize=True).flatten()


class Inception(FrozenNetwork):
    """The 2048 pooled features of an Inception v3.

    Args:
        network: torchvision's ``Inception3`` or a variant of it, with its classifier.
        prepare: pictures ``(B, 3, H, W)`` in [0, 1] to the network's input of 299 x 299.
        state: its weights.

    Raises:
        CheckpointError: the weights do not fit.
    """

    SIZE = 2048

    def __init__(
        self, network: nn.Module, prepare: Callable[[Tensor], Tensor], state: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        _load_strictly(network, state, "Inception v3")
        network.fc = nn.Identity()
        self.network = network
        self.prepare = prepare
        self.freeze()

    def forward(self, image: Tensor) -> Tensor:
        """Give the features.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.

        Returns:
            ``(B, 2048)`` float32.
        """
        with _full_precision(image):
            return self.network(fast_layout(self.prepare(image.float())))


def fast_layout(image: Tensor) -> Tensor:
    """The picture with its channels side by side in memory on a CPU, where convolutions are then faster."""
    return image.contiguous(memory_format=torch.channels_last) if image.device.type == "cpu" else image


def fid_input(image: Tensor) -> Tensor:
    """What pytorch-fid shows its network: 299 x 299 bilinear without antialiasing, -1 to 1.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1].

    Returns:
        ``(B, 3, 299, 299)``.
    """
    size = (_INCEPTION_SIZE, _INCEPTION_SIZE)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False) * 2 - 1


def resize_8_bits(image: Tensor) -> Tensor:
    """Resize to 299 x 299 in 8 bits with OpenCV's bilinear rule, as MAE-FAR's script does.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.

    Returns:
        ``(B, 3, 299, 299)`` in [0, 1], whole 255ths.
    """
    pictures = (image * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    resized = np.stack([cv2.resize(picture, (_INCEPTION_SIZE, _INCEPTION_SIZE)) for picture in pictures])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).to(image) / 255


def mae_far_input(image: Tensor) -> Tensor:
    """What MAE-FAR's script shows its network: pictures in [0, 1] scaled as if ImageNet's mean were out.

    They end up between -0.2 and 0.5 instead of -1 and 1.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.

    Returns:
        ``(B, 3, 299, 299)``.
    """
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return resize_8_bits(image) * (std / 0.5) + (mean - 0.5) / 0.5


def fid_inception(state: Mapping[str, Tensor]) -> Inception:
    """The Inception of the original FID, ported from TensorFlow by pytorch-fid, with its own pooling.

    Raises:
        CheckpointError: the weights do not fit.
    """
    from pytorch_fid import inception
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for name, channels, width in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionA(channels, pool_features=width))
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionC(768, channels_7x7=width))
    network.Mixed_7b = inception.FIDInceptionE_1(1280)
    network.Mixed_7c = inception.FIDInceptionE_2(2048)
    return Inception(network, fid_input, state)


def mae_far_inception(state: Mapping[str, Tensor]) -> Inception:
    """The Inception of MAE-FAR's script: torchvision's, with that script's input.

    Raises:
        CheckpointError: the weights do not fit.
    """
    from torchvision.models import inception_v3

    return Inception(inception_v3(weights=None, init_weights=False), mae_far_input, state)


def _load_strictly(network: nn.Module, state: Mapping[str, Tensor], called: str) -> None:
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"not the weights of {called} ({reason})") from None


@contextmanager
def _full_precision(image: Tensor) -> Iterator[None]:
    """Compute in float32 on every device: no autocast, and no TF32, which keeps ten bits of a factor."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(image.device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
