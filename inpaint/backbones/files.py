"""Where the trained weights of a backbone are: in a folder, in a cache, or still on timm's hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inpaint.backbones.registry import Backbone
from inpaint.errors import WeightsError
from inpaint.weights import FOLDER_VARIABLE, fetch, find_model_file, timm_model, weights_folders

HUB = "timm's hub"


@dataclass(frozen=True)
class WeightsFile:
    """A file of trained weights on this machine, and for people: where it came from."""

    path: Path
    origin: str


def find_weights(backbone: Backbone) -> WeightsFile | None:
    """The weights, if they are on this machine, unchecked; asks no network."""
    for folder in weights_folders():
        if (path := folder / backbone.file).is_file():
            return WeightsFile(path, path.name)
    path = find_model_file(timm_model(backbone.pretrained, backbone.licence)) if backbone.tag else None
    return path and WeightsFile(path, HUB)


def locate_weights(backbone: Backbone, *, ask_hub: bool) -> WeightsFile:
    """The weights on this machine, or else, if ``ask_hub``, from timm's hub.

    Raises:
        WeightsError: they are not here and not to be had, saying why and where to put them.
    """
    found = find_weights(backbone)
    if found and found.origin != HUB:
        return found  # one's own file under that name
    where = f"into the folder that {FOLDER_VARIABLE} names"
    if not backbone.tag:
        raise WeightsError(
            f"no trained weights of {backbone.pretrained} here: timm has none. Put {backbone.file} (from the "
            f"authors' ConvNeXt repository) {where}"
        )
    if not found and not ask_hub:
        raise WeightsError(
            f"no trained weights of {backbone.pretrained} here: not asked to fetch them. Put {backbone.file} "
            f"(timm's file of that name) {where}"
        )
    return WeightsFile(fetch(timm_model(backbone.pretrained, backbone.licence)), HUB)
