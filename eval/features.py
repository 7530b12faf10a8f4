"""What two small classification networks see: the feature measures of the fixed validation protocol.

They are not LPIPS and not FID, whose networks are others; their names say what they are. Both networks come
from files of the training data folder (``DATA/metrics``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import DataError, ShapeError
from inpaint.train.perceptual import SqueezeNetFeatures, load_frozen

SQUEEZENET_FILE = "squeezenet1_1_caffe_fp16.safetensors"
MOBILENET_FILE = "mobilenet_v2_dequant_fp16.safetensors"

# MobileNetV2 1.0 (Sandler et al. 2018, table 2): expansion, channels, repeats, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32


class MobileNetV2Features(nn.Module):
    """MobileNetV2 1.0 without its classifier, as a frozen observer of pictures.

    Convolutions are named ``c0`` to ``c51`` in the order of the graph; normalisation is folded into them.
    Padding is TensorFlow's "same". Always in eval mode, without gradients for its own weights.
    """

    FEATURES = 1280
    INPUT_SIZE = 224

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2)]
        # One entry per block: the convolutions it has, and whether its input is added to its output.
        self._blocks: list[tuple[int, bool]] = []
        channels = _STEM_CHANNELS
        for expansion, out_channels, repeats, first_stride in _STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                wide = channels * expansion
                block = [nn.Conv2d(channels, wide, 1)] if expansion > 1 else []
                block.append(nn.Conv2d(wide, wide, 3, stride=stride, groups=wide))
                block.append(nn.Conv2d(wide, out_channels, 1))
                convolutions += block
                self._blocks.append((len(block), stride == 1 and channels == out_channels))
                channels = out_channels
        convolutions.append(nn.Conv2d(channels, self.FEATURES, 1))
        for index, convolution in enumerate(convolutions):
            self.add_module(f"c{index}", convolution)
        self.requires_grad_(False)
        self.train(False)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Load the weights from a safetensors file; the classifier ``c52`` is passed over, all else must fit.

        Raises:
            CheckpointError: the file is missing, unreadable or does not fit the network.
        """
        network = cls()
        load_frozen(network, path, called="MobileNetV2 1.0", passed_over="c52.")
        return network

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Give the pooled features.

        Args:
            image: ``(B, 3, H, W)`` RGB in [0, 1], any size; resized to 224 x 224 (bilinear, antialiased).

        Returns:
            ``(B, 1280)`` float32.

        Raises:
            ShapeError: not a batch of RGB images.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"got {tuple(image.shape)}, expected (B, 3, H, W)")
        size = (self.INPUT_SIZE, self.INPUT_SIZE)
        features = F.interpolate(
            image.float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        convolutions = iter(self.children())
        features = F.relu6(_convolve_same(next(convolutions), features * 2 - 1))
        for depth, adds in self._blocks:
            inner = features
            for _ in range(depth - 1):
                inner = F.relu6(_convolve_same(next(convolutions), inner))
            inner = _convolve_same(next(convolutions), inner)  # the last one of a block is linear
            features = features + inner if adds else inner
        return F.relu6(_convolve_same(next(convolutions), features)).mean(dim=(2, 3))


def _convolve_same(convolution: nn.Module, features: Tensor) -> Tensor:
    """TensorFlow's "same" padding: an odd pixel of it goes to the right and bottom."""
    assert isinstance(convolution, nn.Conv2d)
    padding: list[int] = []
    for axis in (1, 0):  # F.pad starts with the last dimension
        kernel, stride, length = (
            convolution.kernel_size[axis],
            convolution.stride[axis],
            features.shape[2 + axis],
        )
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        padding += [total // 2, total - total // 2]
    return convolution(F.pad(features, padding) if any(padding) else features)


class FeatureMeasures(nn.Module):
    """Both networks of the protocol: ``squeezenet`` for sqd, ``mobilenet`` for fmd."""

    def __init__(self, squeezenet: SqueezeNetFeatures, mobilenet: MobileNetV2Features) -> None:
        super().__init__()
        self.squeezenet = squeezenet
        self.mobilenet = mobilenet

    @classmethod
    def from_folder(cls, folder: Path | str) -> Self:
        """Load both networks.

        Args:
            folder: ``DATA/metrics``.

        Raises:
            DataError: a file is missing.
            CheckpointError: a file is not what its name says.
        """
        paths = [Path(folder) / name for name in (SQUEEZENET_FILE, MOBILENET_FILE)]
        for path in paths:
            if not path.is_file():
                raise DataError(
                    f"got no feature network at {path}; expected the training data folder's metrics/"
                )
        return cls(SqueezeNetFeatures.from_file(paths[0]), MobileNetV2Features.from_file(paths[1]))

    @torch.inference_mode()
    def squeezenet_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The sqd of each image: SqueezeNet feature distance, 0 for equal images.

        Args:
            prediction: ``(B, 3, H, W)`` in [0, 1].
            target: as ``prediction``.

        Returns:
            ``(B,)`` float32.
        """
        return self.squeezenet.feature_distance(prediction, target)

    @torch.inference_mode()
    def mobilenet_features(self, image: Tensor) -> Tensor:
        """What fmd, the Frechet distance on MobileNetV2 features, compares.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1].

        Returns:
            ``(B, 1280)`` float32.
        """
        return self.mobilenet(image)
