"""Everything a run measures, behind one door: pictures in, numbers by column out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eval.definitions import EXTRAS, Definition, definitions_of
from eval.features import FeatureMeasures
from eval.results import Column, Unmeasured, Value
from inpaint.errors import DataError
from inpaint.metrics import frechet_distance


class Measures:
    """The measures of one protocol that can be taken here; built once per run by :func:`build_measures`.

    Attributes:
        columns: what is measured, in the table's order.
        unmeasured: columns of the protocol whose network's weights are absent: why, and how to get them.
        definition: how each column is defined here, in sentences for the reader.
        feature_sizes: length of each kind of feature vector, such as ``{"fmd": 1280}``.
    """

    def __init__(
        self,
        definitions: tuple[Definition, ...],
        unmeasured: tuple[Unmeasured, ...],
        small_networks: FeatureMeasures | None,
    ) -> None:
        self.columns: tuple[Column, ...] = tuple(definition.column for definition in definitions)
        self.unmeasured = unmeasured
        self.definition = " ".join(definition.how for definition in definitions)
        self.feature_sizes: Mapping[str, int] = {} if small_networks is None else {"fmd": 1280}
        self._definitions = definitions
        self._small_networks = small_networks

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
        values = {
            definition.column.key: definition.formula(composite, target, mask)
            for definition in self._definitions
            if definition.formula is not None
        }
        if self._small_networks is not None:
            values["sqd"] = self._small_networks.squeezenet_distance(composite, target)
        return {key: value.double().cpu() for key, value in values.items()}

    @torch.inference_mode()
    def features(self, image: Tensor) -> dict[str, Tensor]:
        """What the measures of sets need of each picture.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1].

        Returns:
            ``(B, D)`` float32 on the CPU by the keys of ``feature_sizes``.
        """
        if self._small_networks is None:
            return {}
        return {"fmd": self._small_networks.mobilenet_features(image).cpu()}

    def of_sets(
        self, composites: Mapping[str, ArrayLike], targets: Mapping[str, ArrayLike], seed: int = 0
    ) -> dict[str, Value]:
        """Measure all composites together against all originals.

        Args:
            composites: ``(N, D)`` by the keys of ``feature_sizes``.
            targets: as ``composites``, of the same pictures in the same order.
            seed: of the resampling behind the intervals.

        Returns:
            Values by column key; NaN for fewer than two pictures.
        """
        values = {}
        for key in self.feature_sizes:
            first, second = (torch.from_numpy(np.asarray(side[key])) for side in (composites, targets))
            enough = min(len(first), len(second)) > 1
            values[key] = Value(frechet_distance(first, second).item() if enough else float("nan"))
        return values


def build_measures(
    protocol: str,
    *,
    weights: Path | None = None,
    feature_networks: Path | None = None,
    device: torch.device | str = "cpu",
) -> Measures:
    """The measures of a protocol, with the networks whose weights are at hand.

    Args:
        protocol: ``standard``, ``mae-far``, ``lama`` or ``validation``.
        weights: folder of published weights, searched before torch.hub's own.
        feature_networks: folder of the networks behind the columns sqd and fmd (``DATA/metrics``).
        device: where to compute.

    Raises:
        InpaintError: no such protocol.
        DataError: ``validation`` without ``feature_networks``, or a file of theirs is missing.
        CheckpointError: a file is not what its name says.
    """
    definitions = definitions_of(protocol)
    if protocol == "validation" and feature_networks is None:
        raise DataError("the protocol validation needs --feature-networks: the data folder's metrics/")
    networks = None
    if feature_networks is not None:
        networks = FeatureMeasures.from_folder(feature_networks).to(device)
        definitions += EXTRAS
    return Measures(definitions, (), networks)
