"""MobileNetV2 1.0 with TensorFlow's weights and padding: the features behind fmd, which is not FID."""

from __future__ import annotations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.frozen import FrozenNetwork, check_images

_INPUT_SIZE = 224


class MobileNetV2Features(FrozenNetwork):
    """MobileNetV2 1.0 without its classifier: torchvision's graph, padded as TensorFlow's weights need it.

    Convolutions are named ``c0`` to ``c51`` in their order; normalisation is folded into them.
    """

    weights = "MobileNetV2 1.0"
    ignored = ("c52.",)  # the classifier

    def __init__(self) -> None:
        from torchvision.models import mobilenet_v2

        super().__init__()
        graph = mobilenet_v2(weights=None, norm_layer=nn.Identity).features
        convolutions = [(name, m) for name, m in graph.named_modules() if isinstance(m, nn.Conv2d)]
        for number, (name, plain) in enumerate(convolutions):
            self.add_module(f"c{number}", convolution := _SameConv2d.like(plain))
            graph.set_submodule(name, convolution)
        self._graph = (graph,)  # not a child of its own: its convolutions are
        self.freeze()

    def forward(self, image: Tensor) -> Tensor:
        """Pooled features ``(B, 1280)`` of images ``(B, 3, H, W)`` RGB in [0, 1], resized to 224 x 224."""
        check_images(image)
        size = (_INPUT_SIZE, _INPUT_SIZE)
        image = F.interpolate(image.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
        return self._graph[0](image * 2 - 1).mean(dim=(2, 3))


class _SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: an odd pixel of it goes to the right and bottom."""

    @classmethod
    def like(cls, plain: nn.Conv2d) -> _SameConv2d:
        """A new one of the same shape, with a bias."""
        size, stride = plain.kernel_size[0], plain.stride[0]
        return cls(plain.in_channels, plain.out_channels, size, stride, groups=plain.groups)

    def forward(self, input: Tensor) -> Tensor:
        """Pad, then convolve."""
        padding: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last dimension
            kernel, stride, length = self.kernel_size[axis], self.stride[axis], input.shape[2 + axis]
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)
