"""Everything a run measures, behind one door: images in, numbers by column out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eval.measures.definitions import FORMULAS, Definition, definitions_of, extras_of
from eval.measures.distribution import discernibility_shares, frechet_shares, pair_up
from eval.measures.networks import NETWORKS, find_file, load_network, why_absent
from eval.measures.statistics import bootstrap_interval
from eval.results import Column, Unmeasured, Value
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.perceptual import SqueezeNetFeatures

SVM_COLUMNS = frozenset({"p_ids", "u_ids"})  # measured on the features of the column fid


@dataclass(frozen=True, eq=False)
class Measures:
    """The measures of one protocol that can be taken here; built once per run by :func:`build_measures`."""

    definitions: Sequence[Definition]  # of what is measured, in the table's order
    unmeasured: tuple[Unmeasured, ...]  # columns whose network's weights are absent, and how to get them
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
        """Measure each image against its truth.

        Args:
            composite: ``(B, 3, H, W)`` in [0, 1], whole 255ths.
            target: as ``composite``.
            mask: ``(B, 1, H, W)``, 1 = hole.

        Returns:
            ``(B,)`` float64 on the CPU by column key.
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
        """What the measures of sets need of each image; every network sees it once.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.

        Returns:
            ``(B, D)`` float32 on the CPU by the keys of ``feature_sizes``.
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
        self, composites: Mapping[str, ArrayLike], targets: Mapping[str, ArrayLike], seed: int = 0
    ) -> dict[str, Value]:
        """Measure all composites together against all originals.

        Args:
            composites: ``(N, D)`` by the keys of ``feature_sizes``.
            targets: as ``composites``, of the same images in the same order.
            seed: of the resampling behind the intervals.

        Returns:
            Values by column key, with intervals; NaN for fewer than two images.

        Raises:
            ShapeError, DataError: the two sides are unequal in shape, or a feature is not finite.
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
            values[key] = _value(frechet_shares(*pair), seed)
            if svm_columns:
                paired, unpaired = discernibility_shares(*pair)
                values |= {"p_ids": _value(paired, seed), "u_ids": _value(unpaired, seed)}
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

    Args:
        protocol: ``standard``, ``mae-far``, ``lama`` or ``validation``.
        weights: folders of weights, searched in order and before torch.hub's own.
        lpips: networks of the LPIPS columns (alex, vgg, squeeze) in place of the protocol's own.
        fid: features of the FID columns (64, 192, 768, 2048) in place of the protocol's own.
        device: where to compute.
        check_hash: False takes weights that are not the recorded ones, such as the random ones of a test.

    Raises:
        InpaintError: no such protocol.
        CheckpointError: a file is not what its name says.
    """
    own = definitions_of(protocol, lpips, fid)
    absent = {key: why_absent(network, weights) for key, network in NETWORKS.items()}
    measured, unmeasured = list[Definition](), list[Unmeasured]()
    users: dict[str, list[Definition]] = {}
    for each in (*own, *extras_of(protocol, lpips, fid)):
        here = next((key for key in each.networks if absent[key] is None), None)
        if here is not None:
            users.setdefault(here, []).append(each)
        if here is not None or not each.networks:
            measured.append(each)
        elif each in own:
            unmeasured.append(Unmeasured(each.column.title, absent[each.networks[0]] or ""))
    networks, files = {}, {}
    for key, definitions in users.items():
        found = find_file(NETWORKS[key], weights)
        assert found is not None
        digest = found.check() if check_hash else "not checked"
        dims = tuple(sorted({each.dims for each in definitions if each.dims}))
        networks[key] = load_network(key, found, dims).to(device)
        titles = ", ".join(each.column.title for each in definitions)
        files[titles] = f"{found.file.name} ({digest})"
    return Measures(measured, tuple(unmeasured), networks, files, device)


def _value(shares: NDArray, seed: int) -> Value:
    """The mean of the images' shares, which is negative by rounding only."""
    return Value(*np.clip([shares.mean(), *bootstrap_interval(shares, seed)], 0, None).tolist())
