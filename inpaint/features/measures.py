"""Networks behind measures: Inception for FID, LPIPS, and the MobileNetV2 of fmd, which is not FID."""

import re
import warnings
from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.features.frozen import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FrozenNetwork,
    check_images,
    fast_layout,
    full_precision,
    run_taps,
)

FID_DIMS = (64, 192, 768, 2048)
"""Features at the end of each block; 2048 are those of the FID in papers."""
_SIZE = 299
_LAYERS = {
    64: ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    192: ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    768: ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    2048: ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
}
_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # of LPIPS; below, a pooling has nothing left
_MOBILENET_SIZE = 224


class InceptionFeatures(FrozenNetwork):
    """Pooled features of an Inception v3 at the end of one or more of its blocks.

    Args:
        variant: ``fid``, the network of the original FID as ported from TensorFlow by pytorch-fid, or
            ``mae-far``, torchvision's with the input of MAE-FAR's script.
        dims: blocks wanted, by their number of features; later blocks are not built, and their keys ignored.
    """

    def __init__(self, variant: Literal["fid", "mae-far"] = "fid", dims: tuple[int, ...] = (2048,)) -> None:
        super().__init__()
        network = _build_graph(variant)
        self.weights = f"Inception v3 ({'pytorch-fid' if variant == 'fid' else 'torchvision'})"
        self.dims = dims
        self.prepare: Callable[[Tensor], Tensor] = fid_input if variant == "fid" else mae_far_input
        self._built = [size for size in FID_DIMS if size <= max(dims)]
        unused = [name for size in FID_DIMS if size not in self._built for name in _LAYERS[size]]
        self.ignored = tuple(f"{name}." for name in (*unused, "AuxLogits", "fc"))
        for size in self._built:
            for name in _LAYERS[size]:
                self.add_module(name, getattr(network, name))
        self.freeze()

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Features ``(B, D)`` float32, averaged over positions, for each D in ``dims``.

        ``image`` is ``(B, 3, H, W)`` RGB in [0, 1], whole 255ths.
        """
        check_images(image)
        ends = [_LAYERS[size][-1] for size in self._built if size in self.dims]
        with full_precision(image):
            maps = run_taps(self.named_children(), fast_layout(self.prepare(image.float())), ends)
            return {found.shape[1]: F.adaptive_avg_pool2d(found, 1).flatten(1) for found in maps}


def fid_input(image: Tensor) -> Tensor:
    """What pytorch-fid shows its network: 299 x 299 bilinear without antialiasing, -1 to 1."""
    return F.interpolate(image, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False) * 2 - 1


def resize_8_bits(image: Tensor) -> Tensor:
    """Resize to 299 x 299 in 8 bits with OpenCV's bilinear rule, as MAE-FAR's script does."""
    images = (image * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    resized = np.stack([cv2.resize(pixels, (_SIZE, _SIZE)) for pixels in images])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).to(image) / 255


def mae_far_input(image: Tensor) -> Tensor:
    """What MAE-FAR's script shows its network: images in [0, 1] scaled as if ImageNet's mean were out.

    They end up between -0.2 and 0.5 instead of -1 and 1.
    """
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return resize_8_bits(image) * (std / 0.5) + (mean - 0.5) / 0.5


def _build_graph(variant: Literal["fid", "mae-far"]) -> nn.Module:
    """Torchvision's graph; for "fid" with the original's own pooling, as pytorch-fid builds it."""
    from torchvision.models import inception_v3

    if variant == "mae-far":
        return inception_v3(weights=None, init_weights=False)
    from pytorch_fid import inception

    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for name, channels, width in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionA(channels, pool_features=width))
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionC(768, channels_7x7=width))
    network.Mixed_7b = inception.FIDInceptionE_1(1280)
    network.Mixed_7c = inception.FIDInceptionE_2(2048)
    return network


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

        ShapeError for images smaller than the network takes.
        """
        check_images(prediction, self._smallest)
        with full_precision(prediction):
            pair = (fast_layout(image.float()) for image in (prediction, target))
            return self.network(*pair, normalize=True).flatten()


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
            size, stride = plain.kernel_size[0], plain.stride[0]
            convolution = nn.Conv2d(plain.in_channels, plain.out_channels, size, stride, groups=plain.groups)
            self.add_module(f"c{number}", convolution)
            # TensorFlow's "same" padding: an odd pixel of it, as on even sides, goes to the right and bottom.
            padding = nn.ZeroPad2d((1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
            graph.set_submodule(name, nn.Sequential(padding, convolution) if size == 3 else convolution)
        self._graph = (graph,)  # not a child of its own: its convolutions are
        self.freeze()

    def forward(self, image: Tensor) -> Tensor:
        """Pooled features ``(B, 1280)`` of images ``(B, 3, H, W)`` RGB in [0, 1], resized to 224 x 224."""
        check_images(image)
        size = (_MOBILENET_SIZE, _MOBILENET_SIZE)
        image = F.interpolate(image.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
        return self._graph[0](image * 2 - 1).mean(dim=(2, 3))
