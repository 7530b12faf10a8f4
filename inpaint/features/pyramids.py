"""Feature maps of frozen ImageNet networks at several resolutions, for projected discriminators."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor

from inpaint.features.frozen import IMAGENET_MEAN, IMAGENET_STD, FrozenNetwork, check_images
from inpaint.features.measures import InceptionFeatures


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
        features, maps = (image - self.mean) / self.std, []
        for index, block in enumerate(self.features):
            features = block(features)
            if index in self.taps:
                maps.append(features)
        return maps


class InceptionPyramid(InceptionFeatures):
    """Block outputs of the FID's Inception at about 1/4, 1/8, 1/8 and 1/16 of the resolution.

    The network was trained on 299 pixels a side and is used at the size of the images here.
    """

    channels: ClassVar = (64, 192, 288, 768)
    TAPS = ("maxpool1", "maxpool2", "Mixed_5d", "Mixed_6e")

    def __init__(self) -> None:
        super().__init__("fid", (768,))

    def forward(self, image: Tensor) -> Any:
        """Feature maps of images ``(B, 3, H, W)`` RGB in [0, 1], the finest first."""
        check_images(image, smallest=75)
        features, maps = image * 2 - 1, []
        for name, block in self.named_children():
            features = block(features)
            if name in self.TAPS:
                maps.append(features)
        return maps


PYRAMIDS: dict[Literal["mobilenet", "inception"], type[MobileNetPyramid | InceptionPyramid]] = {
    "mobilenet": MobileNetPyramid,
    "inception": InceptionPyramid,
}
"""By their names in a config."""
