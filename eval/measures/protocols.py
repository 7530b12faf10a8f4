"""What each protocol measures, by which definition, and with what: images in, numbers by column out.

``measures.toml`` records the definitions. Formulas are in ``inpaint.metrics``, networks in
``inpaint.features``, measures of sets in ``eval.measures.distribution``.
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eval.measures.distribution import discernibility_shares, frechet_shares, pair_up
from eval.measures.networks import NETWORKS, find_file, load_network, why_absent
from eval.measures.statistics import bootstrap_interval
from eval.results import Column, Value
from inpaint import metrics
from inpaint.errors import InpaintError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.perceptual import SqueezeNetFeatures
from inpaint.strict import read_table

SVM_COLUMNS = frozenset({"p_ids", "u_ids"})  # measured on the features of the column fid
Family = Literal["pixels", "lpips", "fid", "look-alikes"]  # in the order of the columns
FORMULAS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "psnr": lambda composite, target, mask: metrics.psnr_db(composite, target),
    "psnr-mae-far": lambda composite, target, mask: metrics.mae_far_psnr_db(composite, target),
    "ssim": lambda composite, target, mask: metrics.ssim(composite, target),
    "ssim-mae-far": lambda composite, target, mask: metrics.mae_far_ssim(composite, target),
    "ssim-lama": lambda composite, target, mask: metrics.lama_ssim(composite, target),
    "l1": lambda composite, target, mask: metrics.l1(composite, target),
    "hole_psnr": metrics.hole_psnr_db,
    "hole_l1": metrics.hole_l1,
}
"""``(composite, target, mask)`` to ``(B,)``."""


@dataclass(frozen=True)
class Definition:
    """One measure of a protocol: its column, how it is defined there, and what computes it."""

    column: Column
    how: str  # a sentence for the reader
    formula: str = ""  # key in FORMULAS, for a measure of pixels
    networks: tuple[str, ...] = ()  # keys in NETWORKS, for a measure of features; the first one here is used
    family: Family = "pixels"  # which columns an option replaces together
    choice: str = ""  # within a family: network of an LPIPS (squeeze), features of an FID (768)
    dims: int = 0  # length of the feature vectors of a measure of sets


@dataclass(frozen=True)
class _File:
    extras: tuple[str, ...]
    protocols: Mapping[str, tuple[str, ...]]
    measures: Mapping[str, Definition]


_PATH = Path(__file__).with_name("measures.toml")
_FILE: _File = read_table(tomllib.loads(_PATH.read_text(encoding="utf-8")), _File, _PATH.parent)
PROTOCOLS: Mapping[str, tuple[Definition, ...]] = {
    protocol: tuple(_FILE.measures[name] for name in names) for protocol, names in _FILE.protocols.items()
}


def definitions_of(
    protocol: str, lpips: Sequence[str] = (), fid: Sequence[str] = ()
) -> tuple[tuple[Definition, ...], tuple[Definition, ...]]:
    """The measures of a protocol in the order of its table, and more that are taken where their weights are.

    Networks of LPIPS and features of FID are in place of the protocol's own; P-IDS and U-IDS go with 2048.
    InpaintError if there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise InpaintError(f"got protocol {protocol!r}; expected {', '.join(PROTOCOLS)}")
    choices = {"lpips": lpips, "fid": fid}
    own = [m for m in PROTOCOLS[protocol] if not choices.get(m.family) or m.choice in choices[m.family]]
    keys = {m.column.key for m in own}
    asked = [f"lpips_{net}" for net in lpips] + ["fid" if dims == "2048" else f"fid_{dims}" for dims in fid]
    own += [_FILE.measures[key] for key in asked if key not in keys]
    own.sort(key=lambda each: get_args(Family).index(each.family))
    more = [_FILE.measures[name] for name in _FILE.extras if name not in keys]
    return tuple(own), tuple(each for each in more if not choices.get(each.family))


def columns_of(network: str) -> list[str]:
    """Titles of the columns that a network is for."""
    found = {name: each.column.title for name, each in _FILE.measures.items() if network in each.networks}
    return [f"{title} (protocol mae-far)" if key == "fid-mae-far" else title for key, title in found.items()]


@dataclass(frozen=True, eq=False)
class Measures:
    """The measures of one protocol that can be taken here; built once per run by :func:`build_measures`."""

    definitions: Sequence[Definition]  # of what is measured, in the table's order
    unmeasured: Mapping[str, str]  # titles of columns whose network's weights are absent, and how to get them
    networks: Mapping[str, FrozenNetwork]  # of the definitions, by key
    files: Mapping[str, str]  # name and SHA-256 of each network's weights, by column titles
    device: torch.device | str

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What is measured, in the table's order."""
        return tuple(each.column for each in self.definitions)

    @cached_property
    def definition(self) -> str:
        """How each column is defined here, in sentences for the reader."""
        return " ".join(each.how for each in self.definitions)

    @cached_property
    def feature_sizes(self) -> Mapping[str, int]:
        """Length of each kind of feature vector by column key, such as ``{"fid_768": 768}``."""
        sized = {each.column.key: each.dims for each in self.definitions if each.dims}
        return {key: dims for key, dims in sized.items() if key not in SVM_COLUMNS}

    @torch.inference_mode()
    def per_image(self, composite: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Measure images ``(B, 3, H, W)`` in [0, 1], whole 255ths, against their truth.

        In the mask ``(B, 1, H, W)`` 1 = hole. The results are ``(B,)`` float64 on the CPU by column key.
        """
        values = {}
        for each in self.definitions:
            if each.formula:
                value = FORMULAS[each.formula](composite, target, mask)
            elif not each.column.of_set:
                network = self._network(each)
                own = isinstance(network, SqueezeNetFeatures)
                value = (network.feature_distance if own else network)(composite, target)
            else:
                continue
            values[each.column.key] = value.cpu().double()
        return values

    @torch.inference_mode()
    def features(self, image: Tensor) -> dict[str, Tensor]:
        """What the measures of sets need of images ``(B, 3, H, W)`` in [0, 1]; every network sees them once.

        The results are ``(B, D)`` float32 on the CPU by the keys of ``feature_sizes``.
        """
        seen: dict[int, Tensor | dict[int, Tensor]] = {}
        found = {}
        for each in self.definitions:
            if each.column.key in self.feature_sizes:
                network = self._network(each)
                if id(network) not in seen:
                    seen[id(network)] = network(image)
                features = seen[id(network)]
                found[each.column.key] = features[each.dims] if isinstance(features, dict) else features
        return {key: features.cpu() for key, features in found.items()}

    def of_sets(
        self, composites: Mapping[str, ArrayLike], targets: Mapping[str, ArrayLike]
    ) -> dict[str, Value]:
        """Measure all composites against all originals, by their features ``(N, D)``, see ``feature_sizes``.

        Both sides are of the same images in the same order; values are NaN for fewer than two. ShapeError or
        DataError if the sides are unequal in shape, or a feature is not finite.
        """
        wanted = {column.key for column in self.columns if column.of_set}
        has_doubles = torch.device(self.device).type != "mps"
        values = {}
        for key in self.feature_sizes:
            pair = pair_up(composites[key], targets[key], self.device if has_doubles else "cpu")
            svm_columns = wanted & SVM_COLUMNS if key == "fid" else set()
            if len(pair[0]) < 2:
                values |= dict.fromkeys({key} | svm_columns, Value(math.nan))
                continue
            values[key] = _value(frechet_shares(*pair))
            if svm_columns:
                paired, unpaired = discernibility_shares(*pair)
                values |= {"p_ids": _value(paired), "u_ids": _value(unpaired)}
        return values

    def _network(self, definition: Definition) -> FrozenNetwork:
        return next(self.networks[key] for key in definition.networks if key in self.networks)


def build_measures(
    protocol: str,
    *,
    weights: Sequence[Path] = (),
    lpips: Sequence[str] = (),
    fid: Sequence[str] = (),
    device: torch.device | str = "cpu",
    check_hash: bool = True,
) -> Measures:
    """The measures of a protocol, with the networks whose weights are at hand.

    Folders of ``weights`` are searched in order and before torch.hub's own. Networks of ``lpips`` (alex, vgg,
    squeeze) and features of ``fid`` (64, 192, 768, 2048) take the place of the protocol's own columns.
    Without ``check_hash`` weights may be others than the recorded ones, such as the random ones of a test.

    Raises:
        InpaintError: no such protocol, or no such folder of ``weights``.
        CheckpointError: a file is not what its name says.
    """
    if lost := [str(folder) for folder in weights if not folder.is_dir()]:
        raise InpaintError(f"no folder of feature networks at {', '.join(lost)}; check --weights")
    own, more = definitions_of(protocol, lpips, fid)
    absent = {key: why_absent(network, weights) for key, network in NETWORKS.items()}
    measured, unmeasured = list[Definition](), dict[str, str]()
    users: dict[str, list[Definition]] = {}
    for each in (*own, *more):
        here = next((key for key in each.networks if absent[key] is None), None)
        if here is not None:
            users.setdefault(here, []).append(each)
        if here is not None or not each.networks:
            measured.append(each)
        elif each in own:
            unmeasured[each.column.title] = absent[each.networks[0]] or ""
    networks, files = {}, {}
    for key, definitions in users.items():
        found = find_file(NETWORKS[key], weights)
        assert found is not None
        digest = found.check() if check_hash else "not checked"
        dims = tuple(sorted({each.dims for each in definitions if each.dims}))
        networks[key] = load_network(key, found, dims).to(device)
        titles = ", ".join(each.column.title for each in definitions)
        files[titles] = f"{found.name} ({digest})"
    return Measures(measured, unmeasured, networks, files, device)


def _value(shares: NDArray) -> Value:
    """The mean of the images' shares, which is negative by rounding only."""
    return Value(*np.clip([shares.mean(), *bootstrap_interval(shares)], 0, None).tolist())
