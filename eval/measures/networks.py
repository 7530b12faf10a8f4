"""The feature networks behind the measures: which files, where on this machine, checked, fetched.

``networks.toml`` records them. Files are looked for in the folders a user names, in torch.hub's, and in the
cache of ``inpaint models download``; one is taken only if its SHA-256 is the one recorded, so that
equal names mean equal numbers.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from inpaint.errors import CheckpointError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.measures import InceptionFeatures, Lpips, MobileNetV2Features
from inpaint.features.perceptual import SqueezeNetFeatures
from inpaint.strict import read_table
from inpaint.weights import cache_folder
from inpaint.weights.store import digest_of
from inpaint.weights.terminal import fetch_in_terminal

_BUILDERS: Mapping[str, Callable[[tuple[int, ...]], FrozenNetwork]] = {
    "lpips-alex": lambda dims: Lpips("alex"),
    "lpips-vgg": lambda dims: Lpips("vgg"),
    "lpips-squeeze": lambda dims: Lpips("squeeze"),
    "inception-fid": lambda dims: InceptionFeatures("fid", dims),
    "inception-fid-768": lambda dims: InceptionFeatures("fid", dims),
    "inception-torchvision": lambda dims: InceptionFeatures("mae-far", dims),
    "squeezenet-caffe": lambda dims: SqueezeNetFeatures(),
    "mobilenet-tensorflow": lambda dims: MobileNetV2Features(),
}


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights."""

    name: str
    sha256: str
    model: str = ""  # its name in ``inpaint models``, if any
    path: Path = Path()  # where it was found

    def check(self) -> str:
        """The SHA-256 of the file; CheckpointError if it is not the one recorded."""
        digest = digest_of(self.path)
        if not digest.startswith(self.sha256):
            raise CheckpointError(
                f"{self.path}: got a file with SHA-256 {digest[:12]}..., expected {self.sha256[:12]}...; "
                "delete it and get it again (see `python -m eval weights`)"
            )
        return digest


@dataclass(frozen=True)
class Network:
    """A feature network, as ``networks.toml`` describes it."""

    title: str
    files: tuple[WeightsFile, ...]
    dims: tuple[int, ...] = ()


_PATH = Path(__file__).with_name("networks.toml")
NETWORKS: dict[str, Network] = {
    key: read_table(table, Network, _PATH.parent, f"{key}.")
    for key, table in tomllib.loads(_PATH.read_text(encoding="utf-8")).items()
}


def find_file(network: Network, folders: Sequence[Path]) -> WeightsFile | None:
    """A network's weights, unchecked, in the folders, torch.hub's or the cache; None if they are in none."""
    places = (*folders, Path(torch.hub.get_dir()) / "checkpoints", cache_folder("files"))
    found = (replace(file, path=folder / file.name) for file in network.files for folder in places)
    return next((each for each in found if each.path.is_file()), None)


def why_absent(network: Network, folders: Sequence[Path]) -> str | None:
    """What it takes to have a network here; None if it is here."""
    if find_file(network, folders) is not None:
        return None
    missing = f"{network.files[0].name} is not in {' or '.join([*map(str, folders), 'torch.hub'])}"
    if not any(file.model for file in network.files):
        return f"{missing}; name the folder that has it with --weights DIR"
    return f"{missing}; get it with `python -m eval weights --fetch`"


def fetch_file(network: Network) -> WeightsFile | None:
    """Fetch a network's weights by name, as ``inpaint models download`` does; None if they have no name."""
    file = next((file for file in network.files if file.model), None)
    return file and replace(file, path=fetch_in_terminal(file.model))


def load_network(key: str, found: WeightsFile, dims: tuple[int, ...] = ()) -> FrozenNetwork:
    """Build a network of ``NETWORKS`` from an unchecked file; ``dims`` are features wanted of Inception."""
    return _BUILDERS[key](dims).load_weights(found.path)
