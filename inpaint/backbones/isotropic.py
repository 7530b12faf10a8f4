"""Isotropic ConvNeXt, which timm does not have: one resolution and width from stem to head, as in a ViT.

Liu et al. 2022, ConvNeXt, section 3.3; the blocks and the head are timm's.
"""

from functools import partial

from timm.layers.classifier import NormMlpClassifierHead
from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

PATCH = 16


class IsotropicConvNeXt(nn.Module):
    """A stem that cuts the image into patches, blocks of one width, and a head with ImageNet's classes.

    Its parameters have timm's names, so that timm's converter of the authors' ConvNeXt files fits it too.
    ``layer_scale`` is what LayerScale starts from; None (sizes S and B, appendix A.1) leaves it out.
    """

    def __init__(self, depth: int, width: int, layer_scale: float | None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, PATCH, stride=PATCH)
        norm = partial(LayerNorm, eps=1e-6)
        blocks = (ConvNeXtBlock(width, norm_layer=norm, ls_init_value=layer_scale) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.head = NormMlpClassifierHead(width, 1000, norm_layer=partial(LayerNorm2d, eps=1e-6))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores ``(B, 1000)`` of ``(B, 3, H, W)``, sides in multiples of 16 pixels."""
        return self.head(self.blocks(self.stem(image)))

    def forward_intermediates(self, image: Tensor, *, intermediates_only: bool) -> list[Tensor]:
        """What leaves each block, ``(B, width, H / 16, W / 16)``; named and called as in timm's networks."""
        assert intermediates_only
        features, maps = self.stem(image), []
        for block in self.blocks:
            features = block(features)
            maps.append(features)
        return maps


_SIZES = {"small": (18, 384, None), "base": (18, 768, None), "large": (36, 1024, 1e-6)}


def build_isotropic(size: str) -> IsotropicConvNeXt:
    """Size ``small``, ``base`` or ``large``, with random weights."""
    return IsotropicConvNeXt(*_SIZES[size])
