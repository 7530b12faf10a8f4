"""Where the trained weights of a backbone are: in a folder, in a cache, or still to be fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inpaint.backbones.registry import Backbone
from inpaint.errors import WeightsError
from inpaint.weights import FOLDER_VARIABLE, fetch, find_model, find_model_file, weights_folders

PUBLISHED = "as published"


@dataclass(frozen=True)
class WeightsFile:
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

    Raises:
        WeightsError: they are not here and not to be had, saying why and where to put them.
    """
    found = find_weights(backbone)
    if found and found.origin != PUBLISHED:
        return found
    if not found and not ask_hub:
        raise WeightsError(
            f"no trained weights of {backbone.pretrained} here: not asked to fetch them. Put {backbone.file} "
            f"into the folder that {FOLDER_VARIABLE} names"
        )
    return WeightsFile(fetch(backbone.pretrained), PUBLISHED)
