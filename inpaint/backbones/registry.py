"""The backbones this program knows: names, published figures with their source, licence of the weights.

Published figures are checked, not trusted: ``tests/backbones/test_registry.py`` builds every network and
counts parameters and multiply-adds.
"""

from __future__ import annotations

from dataclasses import dataclass

from inpaint.errors import WeightsError

_V1 = "Liu et al. 2022, ConvNeXt, table 1"
_V2 = "Woo et al. 2023, ConvNeXt V2, table 12 and released models"
# Of the other families: source of the figures, tag and licence of the weights.
_OTHERS = {
    "ViT": ("Touvron et al. 2021, DeiT, as quoted in ConvNeXt, table 2", "fb_in1k", "Apache-2.0"),
    "Swin": ("Liu et al. 2021, Swin, table 1", "ms_in1k", "MIT"),
    "PoolFormer": ("Yu et al. 2022, PoolFormer, table 1", "sail_in1k", "Apache-2.0"),
}
_ISOTROPIC = "Liu et al. 2022, ConvNeXt, table 2"
_ISOTROPIC_S = "released with ConvNeXt's code; Liu et al. 2022, ConvNeXt, table 2 has 79.7 % for it"


@dataclass(frozen=True)
class Backbone:
    """One network.

    Attributes:
        name: in timm, without the tag of any weights; of the isotropic ones, in ConvNeXt's own code.
        title: for people.
        family: for grouping.
        parameters: millions, published.
        gigaflops: multiply-adds of one 224 x 224 picture in billions, published (papers call them FLOPs).
        accuracy: ImageNet-1K top-1 in percent at 224 pixels, published, of the weights named below.
        source: of the three figures.
        tag: timm's name of the weights; empty where timm has none.
        licence: of those weights.
        released: the authors' own name of the weights' file, where timm has none.
    """

    name: str
    title: str
    family: str
    parameters: float
    gigaflops: float
    accuracy: float
    source: str
    tag: str
    licence: str
    released: str = ""

    @property
    def pretrained(self) -> str:
        """The full name, with the tag if there is one."""
        return f"{self.name}.{self.tag}" if self.tag else self.name

    @property
    def file(self) -> str:
        """The name under which the weights are looked for."""
        return self.released or f"{self.pretrained}.safetensors"


def _v1(size: str, parameters: float, gigaflops: float, accuracy: float, tag: str = "fb_in1k") -> Backbone:
    name = f"convnext_{size}"
    title = f"ConvNeXt {size[:2].upper() if size == 'xlarge' else size[0].upper()}"
    return Backbone(name, title, "ConvNeXt V1", parameters, gigaflops, accuracy, _V1, tag, "Apache-2.0")


def _isotropic(
    size: str, parameters: float, gigaflops: float, accuracy: float, source: str = _ISOTROPIC
) -> Backbone:
    return Backbone(
        f"convnext_isotropic_{size}", f"ConvNeXt {size[0].upper()} (isotropic)", "ConvNeXt isotropic",
        parameters, gigaflops, accuracy, source, "", "MIT", f"convnext_iso_{size}_1k_224_ema.pth",
    )  # fmt: skip


def _v2(size: str, parameters: float, gigaflops: float, accuracy: float) -> Backbone:
    title = f"ConvNeXt V2 {size.capitalize()}"
    return Backbone(
        f"convnextv2_{size}", title, "ConvNeXt V2", parameters, gigaflops, accuracy, _V2,
        "fcmae_ft_in1k", "CC-BY-NC-4.0",
    )  # fmt: skip


def _other(
    name: str, title: str, family: str, parameters: float, gigaflops: float, accuracy: float
) -> Backbone:
    return Backbone(name, title, family, parameters, gigaflops, accuracy, *_OTHERS[family])


BACKBONES: tuple[Backbone, ...] = (
    _v1("tiny", 28.6, 4.5, 82.1),
    _v1("small", 50.2, 8.7, 83.1),
    _v1("base", 88.6, 15.4, 83.8),
    _v1("large", 197.8, 34.4, 84.3),
    _v1("xlarge", 350.2, 60.9, 87.0, "fb_in22k_ft_in1k"),
    _isotropic("small", 22.0, 4.3, 78.7, _ISOTROPIC_S),
    _isotropic("base", 87.0, 16.9, 82.0),
    _isotropic("large", 306.0, 59.7, 82.6),
    _v2("atto", 3.7, 0.55, 76.7),
    _v2("femto", 5.2, 0.78, 78.5),
    _v2("pico", 9.1, 1.37, 80.3),
    _v2("nano", 15.6, 2.45, 81.9),
    _v2("tiny", 28.6, 4.47, 83.0),
    _v2("base", 89.0, 15.4, 84.9),
    _v2("large", 198.0, 34.4, 85.8),
    _v2("huge", 660.0, 115.0, 86.3),
    _other("deit_small_patch16_224", "ViT S/16 (DeiT)", "ViT", 22.0, 4.6, 79.8),
    _other("deit_base_patch16_224", "ViT B/16 (DeiT)", "ViT", 86.6, 17.6, 81.8),
    _other("swin_tiny_patch4_window7_224", "Swin T", "Swin", 28.3, 4.5, 81.3),
    _other("swin_small_patch4_window7_224", "Swin S", "Swin", 49.6, 8.7, 83.0),
    _other("swin_base_patch4_window7_224", "Swin B", "Swin", 87.8, 15.4, 83.5),
    _other("poolformer_s12", "PoolFormer S12", "PoolFormer", 11.9, 1.8, 77.2),
    _other("poolformer_s24", "PoolFormer S24", "PoolFormer", 21.4, 3.4, 80.3),
    _other("poolformer_s36", "PoolFormer S36", "PoolFormer", 30.8, 5.0, 81.4),
)


def find_backbone(name: str) -> Backbone:
    """Look up by name, with or without its tag.

    Raises:
        WeightsError: an unknown name.
    """
    for backbone in BACKBONES:
        if name in (backbone.name, backbone.pretrained):
            return backbone
    raise WeightsError(f"unknown backbone {name!r}; known are {', '.join(b.name for b in BACKBONES)}")
