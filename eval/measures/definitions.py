"""What each protocol measures, and by which definition, as ``measures.toml`` records it.

The formulas are in ``inpaint.metrics`` (textbook) and ``inpaint.published_metrics`` (published scripts), the
networks in ``inpaint.features``, the measures of sets in ``eval.measures.distribution``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from eval.results import Column
from inpaint import metrics, published_metrics
from inpaint.errors import InpaintError
from inpaint.strict import read_table

Family = Literal["pixels", "lpips", "fid", "look-alikes"]  # in the order of the columns
FORMULAS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "psnr": lambda composite, target, mask: metrics.psnr_db(composite, target),
    "psnr-mae-far": lambda composite, target, mask: published_metrics.mae_far_psnr_db(composite, target),
    "ssim": lambda composite, target, mask: metrics.ssim(composite, target),
    "ssim-mae-far": lambda composite, target, mask: published_metrics.mae_far_ssim(composite, target),
    "ssim-lama": lambda composite, target, mask: published_metrics.lama_ssim(composite, target),
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
    networks: tuple[
        str, ...
    ] = ()  # keys in NETWORKS, for a measure of features; the first one that is here is used
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
_EXTRAS = tuple(_FILE.measures[name] for name in _FILE.extras)
PROTOCOLS: Mapping[str, tuple[Definition, ...]] = {
    protocol: tuple(_FILE.measures[name] for name in names) for protocol, names in _FILE.protocols.items()
}


def definitions_of(
    protocol: str, lpips: Sequence[str] = (), fid: Sequence[str] = ()
) -> tuple[Definition, ...]:
    """The measures of a protocol, in the order of its table.

    Args:
        protocol: its name.
        lpips: networks of the LPIPS columns, in place of the protocol's own.
        fid: features of the FID columns, in place of the protocol's own; P-IDS and U-IDS go with 2048.

    Raises:
        InpaintError: no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise InpaintError(f"got protocol {protocol!r}; expected {', '.join(PROTOCOLS)}")
    choices = {"lpips": lpips, "fid": fid}
    found = [
        each
        for each in PROTOCOLS[protocol]
        if not choices.get(each.family) or each.choice in choices[each.family]
    ]
    keys = {each.column.key for each in found}
    asked = [f"lpips_{net}" for net in lpips] + ["fid" if dims == "2048" else f"fid_{dims}" for dims in fid]
    found += [_FILE.measures[key] for key in asked if key not in keys]
    return tuple(sorted(found, key=lambda each: get_args(Family).index(each.family)))


def extras_of(protocol: str, lpips: Sequence[str] = (), fid: Sequence[str] = ()) -> tuple[Definition, ...]:
    """Columns beyond the protocol's that are measured where their weights are; a choice leaves out others."""
    keys = {each.column.key for each in definitions_of(protocol, lpips, fid)}
    chosen = {family for family, choice in (("lpips", lpips), ("fid", fid)) if choice}
    return tuple(each for each in _EXTRAS if each.column.key not in keys and each.family not in chosen)


def columns_of(network: str) -> list[str]:
    """Titles of the columns that a network is for."""
    found = {name: each.column.title for name, each in _FILE.measures.items() if network in each.networks}
    return [
        f"{title} (protocol mae-far)" if name == "fid-mae-far" else title for name, title in found.items()
    ]
