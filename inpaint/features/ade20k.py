"""The published perceptual loss: features of a scene-parsing ResNet-50 with dilated convolutions (ADE20K)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.frozen import TapNetwork, check_images

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Bottleneck(nn.Module):
    """1x1 down, 3x3 (strided or dilated), 1x1 up, and the input added."""

    def __init__(self, before: int, width: int, stride: int, dilation: int, reshape: bool) -> None:
        super().__init__()
        after = 4 * width
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = None
        if reshape:
            shortcut = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = F.relu(self.bn1(self.conv1(features)))
        features = F.relu(self.bn2(self.conv2(features)))
        return F.relu(self.bn3(self.conv3(features)) + shortcut)


def _stage(before: int, width: int, depth: int, stride: int, dilations: tuple[int, int]) -> nn.Sequential:
    """A ResNet stage; the first block's 3x3 convolution has a dilation of its own."""
    first = _Bottleneck(before, width, stride, dilations[0], reshape=True)
    rest = [_Bottleneck(4 * width, width, 1, dilations[1], reshape=False) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


class SceneFeatures(TapNetwork):
    """ResNet-50 with a three-convolution stem and output stride 8.

    Parameters are named as in the published file. In the last two stages strides are replaced by dilation: 2
    and 4, half of that in each stage's first block.

    Source: Zhou et al., "Scene Parsing through ADE20K" (CVPR 2017); as a loss: LaMa (WACV 2022), section 2.2.
    """

    mean: Tensor
    std: Tensor
    weights = "encoder_epoch_20.pth of the project CSAILVision/semantic-segmentation-pytorch"

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(128)
        self.layer1 = _stage(128, 64, 3, 1, (1, 1))
        self.layer2 = _stage(256, 128, 4, 2, (1, 1))
        self.layer3 = _stage(512, 256, 6, 1, (1, 2))
        self.layer4 = _stage(1024, 512, 3, 1, (2, 4))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the features after each of the four stages: 256, 512, 1024 and 2048 channels.

        Args:
            image: ``(B, 3, H, W)`` RGB; [0, 1] is what the network knows.
        """
        check_images(image)
        with torch.autocast(image.device.type, enabled=False):
            features = (image.to(self.mean.dtype) - self.mean) / self.std
            for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
                features = F.relu(norm(conv(features)))
            features = F.max_pool2d(features, 3, 2, padding=1)
            stages = []
            for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
                features = stage(features)
                stages.append(features)
        return stages

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean squared error of one stage."""
        return (first - second).square().flatten(1).mean(1)

    def feature_distance(self, prediction: Tensor, target: Tensor, *, clamp: bool = True) -> Tensor:
        """As of every network, but summed over the four stages.

        Args:
            prediction: ``(B, 3, H, W)`` RGB.
            target: as ``prediction``.
            clamp: bring both into [0, 1] first, as MAE-FAR does and LaMa does not.
        """
        if clamp:
            prediction, target = prediction.clamp(0, 1), target.clamp(0, 1)
        return self._distances(prediction, target).sum(0)
