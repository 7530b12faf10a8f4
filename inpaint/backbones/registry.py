"""The backbones this program knows: names, published figures with their source, licence of the weights.

Published figures are checked, not trusted: ``tests/backbones/test_registry.py`` builds every network and
counts parameters and multiply-adds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inpaint.errors import WeightsError
from inpaint.strict import read_table


@dataclass(frozen=True)
class Backbone:
    """One network.

    Attributes:
        name: in timm, without the tag of any weights; of the isotropic ones, in ConvNeXt's own code.
        title: for people.
        family: for grouping.
        parameters: millions, published.
        gigamacs: billions of multiply-accumulates of one 224 x 224 image, published (papers call them FLOPs).
        accuracy: ImageNet-1K top-1 in percent at 224 pixels, published, of the weights named below.
        source: of the three figures.
        licence: of the weights.
        tag: timm's name of the weights; empty where timm has none.
        released: the authors' own name of the weights' file, where timm has none.
    """

    name: str
    title: str
    family: str
    parameters: float
    gigamacs: float
    accuracy: float
    source: str
    licence: str
    tag: str = ""
    released: str = ""

    @property
    def pretrained(self) -> str:
        """The full name, with the tag if there is one."""
        return f"{self.name}.{self.tag}" if self.tag else self.name

    @property
    def file(self) -> str:
        """The name under which the weights are looked for."""
        return self.released or f"{self.pretrained}.safetensors"


def _read_backbones() -> Iterator[Backbone]:
    data = tomllib.loads(Path(__file__).with_name("backbones.toml").read_text(encoding="utf-8"))
    for family in data["families"]:
        networks = family.pop("networks")
        yield from (read_table(family | network, Backbone, Path()) for network in networks)


BACKBONES: tuple[Backbone, ...] = tuple(_read_backbones())


def find_backbone(name: str) -> Backbone:
    """Look up by name, with or without its tag.

    Raises:
        WeightsError: an unknown name.
    """
    for backbone in BACKBONES:
        if name in (backbone.name, backbone.pretrained):
            return backbone
    raise WeightsError(f"unknown backbone {name!r}; known are {', '.join(b.name for b in BACKBONES)}")
