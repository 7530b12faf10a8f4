"""LPIPS 0.1 with AlexNet, VGG-16 or SqueezeNet; the linear weights come with the package ``lpips``."""

from __future__ import annotations

import re
import warnings
from typing import Literal

from torch import Tensor, nn

from inpaint.features.frozen import FrozenNetwork, check_images, fast_layout, full_precision

_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # below, a pooling has nothing left


class Lpips(FrozenNetwork):
    """LPIPS 0.1 of pairs of images; the graph is the package's.

    ``net`` is the backbone; its weights file is torchvision's, whose classifier is ignored.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features ..." (CVPR 2018).
    """

    ignored = ("classifier.",)

    def __init__(self, net: Literal["alex", "vgg", "squeeze"]) -> None:
        import lpips

        super().__init__()
        self.weights = f"the backbone of LPIPS ({net}) as torchvision publishes it"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips asks torchvision in a way it no longer likes
            self.network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        # lpips cuts torchvision's `features` into slices and keeps their numbers: slice2.3 is features.3.
        self._names = {re.sub(r"^slice\d+", "features", key): key for key in self.loaded.state_dict()}
        self._smallest = _SMALLEST[net]
        self.freeze()

    @property
    def loaded(self) -> nn.Module:
        """The backbone."""
        return self.network.net

    def rename(self, key: str) -> str:
        """From torchvision's names to the package's."""
        return self._names.get(key, key)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The distance ``(B,)`` float32 of each pair of images ``(B, 3, H, W)`` RGB in [0, 1].

        Raises:
            ShapeError: images smaller than the network takes.
        """
        check_images(prediction, self._smallest)
        with full_precision(prediction):
            pair = (fast_layout(image.float()) for image in (prediction, target))
            return self.network(*pair, normalize=True).flatten()
