"""The weights of the published networks: which files, where on this machine, checked, fetched.

File names and addresses are the constants of the libraries that own the networks. Files are looked for in a
folder of the user's and in torch.hub's; one is taken only if its SHA-256 begins with the digits in its name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import torch

from inpaint.errors import CheckpointError, InpaintError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.inception import InceptionFeatures
from inpaint.features.lpips import Lpips

_FETCH = "python -m eval weights --fetch"
_INSTALL = "pip install -e '.[eval]'"


@dataclass(frozen=True)
class Network:
    """A published network.

    Attributes:
        title: for people.
        purpose: the columns it is for.
        package: whose constants and graph it is built from.
        url: the address of its weights, asked of that package.
        build: makes the network, without its weights.
    """

    title: str
    purpose: str
    package: str
    url: Callable[[], str]
    build: Callable[[], FrozenNetwork]

    @property
    def file(self) -> str:
        """Official name of the weights file."""
        return PurePosixPath(urlsplit(self.url()).path).name

    @property
    def hash_prefix(self) -> str:
        """First hex digits of the file's SHA-256, which its name carries."""
        found = re.search(r"-([0-9a-f]{8,})\.", self.file)
        assert found, f"{self.file} carries no hash"
        return found[1]


def _url_of(weights: str) -> Callable[[], str]:
    """The address of torchvision's first ImageNet weights of a network."""

    def url() -> str:
        import torchvision.models

        return torchvision.models.get_weight(f"{weights}.IMAGENET1K_V1").url

    return url


def _fid_url() -> str:
    from pytorch_fid.inception import FID_WEIGHTS_URL

    return FID_WEIGHTS_URL


NETWORKS: Mapping[str, Network] = {
    "lpips-alex": Network(
        "AlexNet of torchvision",
        "LPIPS Alex (protocols standard, mae-far)",
        "lpips",
        _url_of("AlexNet_Weights"),
        lambda: Lpips("alex"),
    ),
    "lpips-vgg": Network(
        "VGG-16 of torchvision",
        "LPIPS VGG (protocols standard, lama)",
        "lpips",
        _url_of("VGG16_Weights"),
        lambda: Lpips("vgg"),
    ),
    "inception-fid": Network(
        "Inception v3 of pytorch-fid",
        "FID, P-IDS, U-IDS (protocol standard), FID (lama)",
        "pytorch_fid",
        _fid_url,
        lambda: InceptionFeatures("fid"),
    ),
    "inception-torchvision": Network(
        "Inception v3 of torchvision",
        "FID (protocol mae-far)",
        "torchvision",
        _url_of("Inception_V3_Weights"),
        lambda: InceptionFeatures("mae-far"),
    ),
}


def hub_folder() -> Path:
    """Where torch.hub keeps weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_weights(network: Network, folder: Path | None) -> Path | None:
    """The network's weights file in ``folder`` or in torch.hub's; None if it is in neither."""
    folders = [*([] if folder is None else [folder]), hub_folder()]
    return next((path for place in folders if (path := place / network.file).is_file()), None)


def missing_package(network: Network) -> str | None:
    """What to install before a network can be built; None if nothing."""
    if importlib.util.find_spec(network.package) is None:
        return f"the package {network.package} is not installed; {_INSTALL}"
    return None


def why_absent(network: Network, folder: Path | None) -> str | None:
    """What it takes to have a network here; None if it is here."""
    if (need := missing_package(network)) is not None:
        return need
    if find_weights(network, folder) is None:
        where = "torch.hub's folder" if folder is None else f"{folder} or torch.hub's folder"
        to = "" if folder is None else f" --to {folder}"
        return f"{network.file} is not in {where}; get it with `{_FETCH}{to}`"
    return None


def check_published(network: Network, path: Path) -> None:
    """Pass if a file is the published one.

    Raises:
        CheckpointError: it is another.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(network.hash_prefix):
        raise CheckpointError(
            f"{path}: got a file whose SHA-256 begins with {digest[:8]}, expected {network.hash_prefix}; "
            f"delete it and run {_FETCH}"
        )


def load_network(network: Network, folder: Path | None, *, check_hash: bool = True) -> FrozenNetwork:
    """Build a network from its weights on this machine.

    Args:
        network: one of ``NETWORKS`` that ``why_absent`` has nothing against.
        folder: looked into before torch.hub's.
        check_hash: False takes any weights that fit, such as the random ones of a test.

    Raises:
        CheckpointError: the file is not the published one, unreadable, or does not fit.
    """
    path = find_weights(network, folder)
    if path is None:
        raise CheckpointError(f"{network.title}: {why_absent(network, folder)}")
    if check_hash:
        check_published(network, path)
    return network.build().load_weights(path)


def fetch_weights(network: Network, folder: Path) -> Path:
    """Download the published file with torch.hub: whole, checked and named, or not at all.

    Raises:
        InpaintError: it cannot be had or written, or is not the published file.
    """
    path = folder / network.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(network.url(), str(path), hash_prefix=network.hash_prefix)
    except (OSError, HTTPException, RuntimeError) as error:
        raise InpaintError(f"cannot fetch {network.file} to {folder}: {error}") from None
    return path
