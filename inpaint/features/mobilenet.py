"""MobileNetV2 1.0 with TensorFlow's weights and padding: the features behind fmd, which is not FID."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.frozen import FrozenNetwork, check_images

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


class MobileNetV2Features(FrozenNetwork):
    """MobileNetV2 1.0 without its classifier.

    Convolutions are named ``c0`` to ``c51`` in the order of the graph; normalisation is folded into them.
    Torchvision's graph pads on both sides; this one pads as TensorFlow does ("same"), as its weights need.
    """

    FEATURES = 1280
    INPUT_SIZE = 224
    weights = "MobileNetV2 1.0"
    ignored = ("c52.",)  # the classifier

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
        self.freeze()

    def forward(self, image: Tensor) -> Tensor:
        """Give the pooled features.

        Args:
            image: ``(B, 3, H, W)`` RGB in [0, 1], any size; resized to 224 x 224 (bilinear, antialiased).

        Returns:
            ``(B, 1280)`` float32.
        """
        check_images(image)
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
        kernel, stride = convolution.kernel_size[axis], convolution.stride[axis]
        length = features.shape[2 + axis]
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        padding += [total // 2, total - total // 2]
    return convolution(F.pad(features, padding) if any(padding) else features)
