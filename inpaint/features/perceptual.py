"""Frozen networks that training uses: losses compare their features, projected discriminators see them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.errors import ShapeError
from inpaint.features.frozen import IMAGENET_MEAN, IMAGENET_STD, FrozenNetwork, check_images, run_taps
from inpaint.features.measures import InceptionFeatures

_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
_SHORTEST = 1e-4  # activations are in the hundreds; keeps the gradient finite where all channels are silent
_STAGES = ("layer1", "layer2", "layer3", "layer4")
_DEPTHS = 3  # taps of a prior: after a third, two thirds and all of its encoder's blocks


class TapNetwork(FrozenNetwork):
    """A frozen network that gives its activations at several depths, and a distance made of them."""

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Float32 activations at every depth, of images ``(B, 3, H, W)`` RGB in [0, 1]."""

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance ``(B,)`` of two activations of one depth."""

    def feature_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare images ``(B, 3, H, W)`` in [0, 1], of equal shapes, by features, averaged over depths.

        Gives ``(B,)`` float32, 0 for equal images, differentiable in both.
        """
        return self._distances(prediction, target).mean(0)

    def _distances(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.shape != target.shape:
            raise ShapeError(f"got {tuple(prediction.shape)} and {tuple(target.shape)}; give equal shapes")
        return self.compare_all(self(prediction), self(target))

    def compare_all(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """The distances ``(depths, B)`` of the activations of two batches of images."""
        return torch.stack([self.compare(a, b) for a, b in zip(first, second, strict=True)])


class SqueezeNetFeatures(TapNetwork):
    """SqueezeNet 1.1 with its original Caffe weights, at four taps of 64, 128, 256 and 512 channels.

    The graph and the names of the keys are torchvision's. Its distance (the measure sqd) scales every
    position of every tap to unit length over the channels, sums squared differences over channels and
    averages over positions and taps: from 0 to 2, as activations are not negative.

    Source: Iandola et al., "SqueezeNet" (2016), arXiv 1602.07360, release 1.1.
    """

    weights = "SqueezeNet 1.1"
    ignored = ("classifier.",)
    TAPS = (1, 4, 7, 12)  # the first convolution's ReLU and three fire modules

    def __init__(self) -> None:
        from torchvision.models import squeezenet1_1

        super().__init__()
        self.features = squeezenet1_1(weights=None).features
        self.set_colours(_CAFFE_MEAN_BGR)
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """The activations at the four taps; at least 17 pixels a side."""
        check_images(image, smallest=17)
        with torch.autocast(image.device.type, enabled=False):
            # Caffe's convention, converted here and nowhere else: BGR, 0 to 255, less the mean colour.
            features = image.float().flip(1) * 255 - self.mean
            return run_taps(enumerate(self.features), features, self.TAPS)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of one tap."""
        a, b = (F.normalize(tap, dim=1, eps=_SHORTEST) for tap in (first, second))
        return (a - b).square().sum(1).mean((1, 2))


class SceneFeatures(TapNetwork):
    """The published perceptual loss: a scene-parsing ResNet-50, with 256 to 2048 channels after four stages.

    A stem of three convolutions, output stride 8: in the last two stages strides are replaced by dilation.
    Parameters are named as in the published file. Its distance sums squared errors over the stages.

    Source: Zhou et al., "Scene Parsing through ADE20K" (CVPR 2017); as a loss: LaMa (WACV 2022), section 2.2.
    """

    weights = "encoder_epoch_20.pth of the project CSAILVision/semantic-segmentation-pytorch"

    def __init__(self) -> None:
        from torchvision.models import resnet50

        super().__init__()
        body: Any = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        for number, (before, after) in enumerate(((3, 64), (64, 64), (64, 128)), start=1):
            stride = 2 if number == 1 else 1
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, stride, padding=1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        body.layer1[0].conv1 = nn.Conv2d(128, 64, 1, bias=False)
        body.layer1[0].downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
        for name in _STAGES:
            self.add_module(name, body.get_submodule(name))
        self.set_colours(IMAGENET_MEAN, IMAGENET_STD)
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """The features after each of the four stages."""
        check_images(image)
        with torch.autocast(image.device.type, enabled=False):
            features = (image.to(self.mean.dtype) - self.mean) / self.std
            for number in (1, 2, 3):
                convolution, norm = self.get_submodule(f"conv{number}"), self.get_submodule(f"bn{number}")
                features = F.relu(norm(convolution(features)))
            features = F.max_pool2d(features, 3, 2, padding=1)
            return run_taps(((name, self.get_submodule(name)) for name in _STAGES), features, _STAGES)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean squared error of one stage."""
        return (first - second).square().flatten(1).mean(1)

    def feature_distance(self, prediction: Tensor, target: Tensor, *, clamp: bool = True) -> Tensor:
        """As of every network, but summed over the stages.

        ``clamp`` brings both images into [0, 1] first, as MAE-FAR does and LaMa does not.
        """
        if clamp:
            prediction, target = prediction.clamp(0, 1), target.clamp(0, 1)
        return self._distances(prediction, target).sum(0)


class MaeFeatures(TapNetwork):
    """The encoder of a trained ``inpaint.models.mae.MaskedAutoencoder`` that sees every token.

    Taps are tokens ``(B, N, D)`` of the image at the autoencoder's own size, standardised over their
    channels, the class token first. The distance scales them to unit length, sums squared differences over
    channels and averages over tokens and depths: from 0 to 4.

    Source: the idea of an MAE as a loss for restoration is that of arXiv 2303.16411; depths and distance are
        ours, the distance being that of :class:`SqueezeNetFeatures`.
    """

    weights = "a checkpoint of kind mae"

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder: Any = autoencoder
        blocks = len(self.autoencoder.encoder)
        self.depths = sorted({-(-blocks * third // _DEPTHS) for third in range(1, _DEPTHS + 1)})
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Tokens at up to three depths of the encoder."""
        check_images(image)
        mae, side = self.autoencoder, self.autoencoder.preset.image_size
        with torch.autocast(image.device.type, enabled=False):
            image = image.float()
            if image.shape[-2:] != (side, side):
                image = F.interpolate(image, (side, side), mode="bilinear", antialias=True)
            tokens = mae.embed(mae.normalise(image)).flatten(2).transpose(1, 2) + mae.positions
            if mae.class_token is not None:
                tokens = torch.cat([mae.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
            taps = []
            for depth, block in enumerate(mae.encoder, start=1):
                tokens, _ = block(tokens)
                if depth in self.depths:
                    taps.append(F.layer_norm(tokens, tokens.shape[-1:]))
        return taps

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of one depth: standardised tokens have length sqrt(D), so a mean sums unit vectors."""
        return (first - second).square().mean((1, 2))


class MobileNetPyramid(FrozenNetwork):
    """Block outputs of torchvision's MobileNetV2 at 1/4, 1/8, 1/16 and 1/32 of the resolution."""

    weights = "MobileNetV2 with torchvision's key names"
    ignored = ("classifier.", "features.18.")
    channels: ClassVar = (24, 32, 96, 320)
    TAPS = (3, 6, 13, 17)

    def __init__(self, taps: tuple[int, ...] = TAPS) -> None:
        from torchvision.models import mobilenet_v2

        super().__init__()
        self.taps = taps
        self.features = mobilenet_v2(weights=None).features[:18]
        self.set_colours(IMAGENET_MEAN, IMAGENET_STD)
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of images ``(B, 3, H, W)`` RGB in [0, 1], the finest first."""
        check_images(image, smallest=32)
        return run_taps(enumerate(self.features), (image - self.mean) / self.std, self.taps)


class InceptionPyramid(InceptionFeatures):
    """Block outputs of the FID's Inception at about 1/4, 1/8, 1/8 and 1/16 of the resolution.

    The network was trained on 299 pixels a side and is used at the size of the images here.
    """

    channels: ClassVar = (64, 192, 288, 768)
    TAPS = ("maxpool1", "maxpool2", "Mixed_5d", "Mixed_6e")

    def __init__(self) -> None:
        super().__init__("fid", (768,))

    def forward(self, image: Tensor) -> Any:
        """As of :class:`MobileNetPyramid`; at least 75 pixels a side."""
        check_images(image, smallest=75)
        return run_taps(self.named_children(), image * 2 - 1, self.TAPS)


PYRAMIDS = {"mobilenet": MobileNetPyramid, "inception": InceptionPyramid}
"""By their names in a config."""
