"""Everything a run measures, behind one door: pictures in, numbers by column out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eval.definitions import EXTRAS, Definition, definitions_of
from eval.distribution import discernibility_shares, frechet_shares, pair_up
from eval.features import FeatureMeasures
from eval.results import Column, Unmeasured, Value
from eval.statistics import bootstrap_interval
from eval.weights import NETWORKS, load_network, why_absent
from inpaint.errors import DataError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.mobilenet import MobileNetV2Features


@dataclass(frozen=True)
class FeatureKind:
    """Features that measures of sets compare.

    Attributes:
        size: length of a vector.
        extract: ``(B, 3, H, W)`` in [0, 1] to ``(B, size)``.
    """

    size: int
    extract: Callable[[Tensor], Tensor]


class Measures:
    """The measures of one protocol that can be taken here; built once per run by :func:`build_measures`.

    Args:
        definitions: what is measured, in the table's order.
        unmeasured: what is not.
        distances: networks that compare two pictures, by column key.
        kinds: networks that describe one picture, by the key of the Frechet distance's column.
        device: where the measures of sets are computed; on the CPU where it has no double precision.

    Attributes:
        columns: what is measured, in the table's order.
        unmeasured: columns of the protocol whose network's weights are absent: why, and how to get them.
        definition: how each column is defined here, in sentences for the reader.
        feature_sizes: length of each kind of feature vector, such as ``{"fid": 2048, "fmd": 1280}``.
    """

    def __init__(
        self,
        definitions: tuple[Definition, ...],
        unmeasured: tuple[Unmeasured, ...],
        distances: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
        kinds: Mapping[str, FeatureKind],
        device: torch.device | str,
    ) -> None:
        self.columns: tuple[Column, ...] = tuple(definition.column for definition in definitions)
        self.unmeasured = unmeasured
        self.definition = " ".join(definition.how for definition in definitions)
        self.feature_sizes: Mapping[str, int] = {key: kind.size for key, kind in kinds.items()}
        self._definitions = definitions
        self._distances = distances
        self._kinds = kinds
        self._device = torch.device("cpu") if torch.device(device).type == "mps" else torch.device(device)

    @torch.inference_mode()
    def per_picture(self, composite: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Measure each picture against its truth.

        Args:
            composite: ``(B, 3, H, W)`` in [0, 1], whole 255ths.
            target: as ``composite``.
            mask: ``(B, 1, H, W)``, 1 = hole.

        Returns:
            ``(B,)`` float64 on the CPU by column key.
        """
        values = {}
        for definition in self._definitions:
            key = definition.column.key
            if definition.formula is not None:
                values[key] = definition.formula(composite, target, mask)
            elif key in self._distances:
                values[key] = self._distances[key](composite, target)
        return {key: value.cpu().double() for key, value in values.items()}

    @torch.inference_mode()
    def features(self, image: Tensor) -> dict[str, Tensor]:
        """What the measures of sets need of each picture.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.

        Returns:
            ``(B, D)`` float32 on the CPU by the keys of ``feature_sizes``.
        """
        return {key: kind.extract(image).cpu() for key, kind in self._kinds.items()}

    def of_sets(
        self, composites: Mapping[str, ArrayLike], targets: Mapping[str, ArrayLike], seed: int = 0
    ) -> dict[str, Value]:
        """Measure all composites together against all originals.

        Args:
            composites: ``(N, D)`` by the keys of ``feature_sizes``; arrays in files are read in chunks.
            targets: as ``composites``, of the same pictures in the same order.
            seed: of the resampling behind the intervals.

        Returns:
            Values by column key, with intervals; NaN for fewer than two pictures.

        Raises:
            ShapeError: the two sides are unequal in shape.
            DataError: a feature is not finite.
        """
        wanted = {column.key for column in self.columns if column.of_set}
        values = {}
        for key in self.feature_sizes:
            pair = pair_up(composites[key], targets[key], self._device)
            riders = wanted & {"p_ids", "u_ids"} if key == "fid" else set()
            if len(pair[0]) < 2:
                values |= dict.fromkeys({key} | riders, Value(math.nan))
                continue
            values[key] = _value(frechet_shares(*pair), seed)
            if riders:
                paired, unpaired = discernibility_shares(*pair)
                values |= {"p_ids": _value(paired, seed), "u_ids": _value(unpaired, seed)}
        return values


def build_measures(
    protocol: str,
    *,
    weights: Path | None = None,
    feature_networks: Path | None = None,
    device: torch.device | str = "cpu",
    check_hash: bool = True,
) -> Measures:
    """The measures of a protocol, with the networks whose weights are at hand.

    Args:
        protocol: ``standard``, ``mae-far``, ``lama`` or ``validation``.
        weights: folder of published weights, searched before torch.hub's own.
        feature_networks: folder of the networks behind the columns sqd and fmd (``DATA/metrics``), which are
            the protocol's own in ``validation`` and extra columns elsewhere.
        device: where to compute.
        check_hash: False takes weights that are not the published ones, such as the random ones of a test.

    Raises:
        InpaintError: no such protocol.
        DataError: ``validation`` without ``feature_networks``, or a file of theirs is missing.
        CheckpointError: a file is not what its name says.
    """
    definitions = definitions_of(protocol)
    if protocol == "validation" and feature_networks is None:
        raise DataError("the protocol validation needs --feature-networks DIR: the data folder's metrics/")
    needed = dict.fromkeys(definition.network for definition in definitions if definition.network)
    absent = {key: why for key in needed if (why := why_absent(NETWORKS[key], weights))}
    loaded = {
        key: load_network(NETWORKS[key], weights, check_hash=check_hash).to(device)
        for key in needed
        if key not in absent
    }
    measured = tuple(definition for definition in definitions if definition.network not in absent)
    distances, kinds = {}, {}
    for column, network in ((d.column, loaded[d.network]) for d in measured if d.network):
        if not column.of_set:
            distances[column.key] = network
        elif column.key == "fid":  # P-IDS and U-IDS ride on its features
            kinds["fid"] = FeatureKind(2048, _pooled(network))
    if feature_networks is not None:
        small = FeatureMeasures.from_folder(feature_networks).to(device)
        measured += EXTRAS
        distances["sqd"] = small.squeezenet_distance
        kinds["fmd"] = FeatureKind(MobileNetV2Features.FEATURES, small.mobilenet_features)
    unmeasured = tuple(
        Unmeasured(definition.column.title, absent[definition.network])
        for definition in definitions
        if definition.network in absent
    )
    return Measures(measured, unmeasured, distances, kinds, device)


def _pooled(inception: FrozenNetwork) -> Callable[[Tensor], Tensor]:
    return lambda image: inception(image)[2048]


def _value(shares: NDArray, seed: int) -> Value:
    """The mean of the pictures' shares, which is negative by rounding only."""
    return Value(*np.clip([shares.mean(), *bootstrap_interval(shares, seed)], 0, None).tolist())
