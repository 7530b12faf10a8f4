"""The backbones this program knows, and where their trained weights are.

Published figures are checked, not trusted: ``tests/backbones/test_registry.py`` builds every network and
counts parameters and multiply-adds.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from inpaint.errors import WeightsError
from inpaint.strict import read_table
from inpaint.weights import FOLDER_VARIABLE, fetch, find_model, find_model_file, weights_folders

PUBLISHED = "as published"


@dataclass(frozen=True)
class Backbone:
    """One network, with published figures."""

    name: str  # in timm, without the tag of any weights; of the isotropic ones, in ConvNeXt's own code
    title: str
    family: str
    parameters: float  # millions
    gigamacs: float  # billions of multiply-accumulates of one 224 x 224 image (papers call them FLOPs)
    accuracy: float  # ImageNet-1K top-1 in percent at 224 pixels, of the weights named below
    source: str  # of the three figures
    licence: str  # of the weights
    tag: str = ""  # timm's name of the weights, if it has them
    released: str = ""  # else the authors' own name of the weights' file

    @property
    def pretrained(self) -> str:
        """The full name, with the tag if there is one."""
        return f"{self.name}.{self.tag}" if self.tag else self.name

    @property
    def file(self) -> str:
        """The name under which the weights are looked for."""
        return self.released or f"{self.pretrained}.safetensors"


_TABLES = tomllib.loads(Path(__file__).with_name("backbones.toml").read_text(encoding="utf-8"))
USUAL: list[str] = _TABLES["usual"]
BACKBONES: tuple[Backbone, ...] = tuple(
    read_table(family | network, Backbone, Path())
    for family in _TABLES["families"]
    for network in family.pop("networks")
)


def find_backbone(name: str) -> Backbone:
    """Look up by name, with or without its tag; WeightsError for an unknown name."""
    for backbone in BACKBONES:
        if name in (backbone.name, backbone.pretrained):
            return backbone
    raise WeightsError(f"unknown backbone {name!r}; known are {', '.join(b.name for b in BACKBONES)}")


class WeightsFile(NamedTuple):
    """A file of trained weights on this machine, and for people: where it came from."""

    path: Path
    origin: str


def find_weights(backbone: Backbone) -> WeightsFile | None:
    """The weights, if they are on this machine, unchecked; asks no network."""
    for folder in weights_folders():
        if (path := folder / backbone.file).is_file():
            return WeightsFile(path, path.name)  # one's own file under that name
    path = find_model_file(find_model(backbone.pretrained))
    return WeightsFile(path, PUBLISHED) if path else None


def locate_weights(backbone: Backbone, *, ask_hub: bool) -> WeightsFile:
    """The weights on this machine, or else, if ``ask_hub``, from where they are published.

    WeightsError says why they are not to be had, and where to put them.
    """
    found = find_weights(backbone)
    if found and found.origin != PUBLISHED:
        return found  # one's own; a published file is checked below
    if not found and not ask_hub:
        raise WeightsError(
            f"the trained ones, {backbone.file}, are not on this machine, and downloads are off. Run inpaint "
            f"models download {backbone.pretrained}, or put that file into the folder {FOLDER_VARIABLE} names"
        )
    return WeightsFile(fetch(backbone.pretrained), PUBLISHED)
