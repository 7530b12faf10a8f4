"""Where the trained weights of a backbone are: in a folder, in the hub's cache, or still on timm's hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from inpaint.backbones.registry import Backbone
from inpaint.errors import WeightsError
from inpaint.weights import FOLDER_VARIABLE, OFFLINE_VARIABLE, weights_folders

HUB = "timm's hub"
_HUB_FILE = "model.safetensors"


@dataclass(frozen=True)
class WeightsFile:
    """A file of trained weights on this machine, and for people: where it came from."""

    path: Path
    origin: str


def find_weights(backbone: Backbone) -> WeightsFile | None:
    """The weights, if they are on this machine; asks no network."""
    for folder in weights_folders():
        if (path := folder / backbone.file).is_file():
            return WeightsFile(path, path.name)
    if not backbone.tag:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:  # then nothing was ever fetched with it
        return None
    cached = try_to_load_from_cache(_repository(backbone), _HUB_FILE)
    return WeightsFile(Path(cached), HUB) if isinstance(cached, str) else None


def locate_weights(backbone: Backbone, *, fetch: bool) -> WeightsFile:
    """The weights on this machine, or else, if ``fetch``, from timm's hub.

    Raises:
        WeightsError: they are not here and not to be had, saying why and where to put them.
    """
    if found := find_weights(backbone):
        return found
    if not backbone.tag:
        reason = "timm has none"
    elif not fetch:
        reason = "not asked to fetch them"
    elif os.environ.get(OFFLINE_VARIABLE) == "1":
        reason = f"{OFFLINE_VARIABLE}=1 forbids fetching"
    else:
        try:
            return _fetch(backbone)
        except Exception as error:  # the hub's errors are many, and a network's more so
            reason = f"{HUB} cannot be reached ({type(error).__name__})"
    whose = "timm's file of that name" if backbone.tag else "from the authors' ConvNeXt repository"
    raise WeightsError(
        f"no trained weights of {backbone.pretrained} here: {reason}. "
        f"Put {backbone.file} ({whose}) into the folder that {FOLDER_VARIABLE} names."
    )


def _fetch(backbone: Backbone) -> WeightsFile:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    repository = _repository(backbone)
    # Without a network this fails at once; the download would try again and again for a minute.
    get_hf_file_metadata(hf_hub_url(repository, _HUB_FILE))
    return WeightsFile(Path(hf_hub_download(repository, _HUB_FILE)), HUB)


def _repository(backbone: Backbone) -> str:
    return f"timm/{backbone.pretrained}"
