"""A reference case: its inputs and expected outputs, and rebuilding the weights it ran with."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One reference case: inputs, expected outputs, and how to rebuild its weights."""

    folder: Path
    entry: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the case; recipes for random inputs are seeded with it."""
        return self.entry["name"]

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the reference run."""
        return self.entry["config"]

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Expected outputs: dtype, shape, kind (float, int, exact) and tolerance."""
        return self.entry["outputs"]

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays ``in.*`` or ``out.*`` of the case's file."""
        with np.load(self.folder / self.entry["file"]) as file:
            return {key[len(prefix) :]: file[key] for key in file.files if key.startswith(prefix)}

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs by name."""
        return self.arrays("in.")

    def weights(self, model: str | None = None, salt: str | None = None) -> dict[str, Tensor]:
        """The reference's state dict, rebuilt from its recipe, under the official names."""
        return rebuild_weights(self.folder, model or self.entry["model"], salt or self.entry["salt"])

    def random(self, suffix: str) -> np.random.RandomState:
        """The generator a recipe names as ``RandomState(crc32(name + suffix))``."""
        return np.random.RandomState(zlib.crc32(f"{self.name}{suffix}".encode()) & 0xFFFFFFFF)

    def image(self, key: str = "img_u8") -> Tensor:
        """A picture input as ``(B, 3, H, W)`` in [0, 1], float64 made from float32."""
        array = self.inputs[key].astype(np.float32) / np.float32(255)
        return torch.from_numpy(array).permute(0, 3, 1, 2).double()

    def mask(self, key: str = "mask_u8") -> Tensor:
        """A mask input as ``(B, 1, H, W)`` of 0 and 1 (1 = hole), float64."""
        return torch.from_numpy(self.inputs[key]).double()[:, None] / 255


Checker = Callable[[Case], dict[str, Any]]
"""Runs a case and returns our values under the names of the reference's outputs.

It reads what to do from the case's config and inputs, never from its full name, so that further cases in the
same format run unchanged.
"""


def rebuild_weights(folder: Path, model: str, salt: str) -> dict[str, Tensor]:
    """Every tensor of an official state dict, from the recipe in ``keys/<model>.json``."""
    entries = json.loads((folder / "keys" / f"{model}.json").read_text())["entries"]
    return {key: _rebuild(f"{salt}/{key}", shape, fill) for key, shape, fill in entries}


def _rebuild(text: str, shape: list[int], fill: list[Any]) -> Tensor:
    kind, *numbers = fill
    random = np.random.RandomState(zlib.crc32(text.encode()) & 0xFFFFFFFF)
    if kind == "n":
        values = numbers[0] + numbers[1] * random.standard_normal(shape)
    elif kind == "u":
        values = random.uniform(numbers[0], numbers[1], shape)
    elif kind == "c":
        values = np.full(shape, numbers[0], dtype=np.float64)
    elif kind == "i0":
        return torch.zeros(shape, dtype=torch.int64)
    elif kind == "sincos2d":
        values = _sincos_table(*numbers).reshape(shape)
    elif kind == "sinusoid":
        values = _sinusoid_table(*numbers).reshape(shape)
    else:
        raise ValueError(f"unknown fill {fill}")
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _sincos_table(channels: int, grid: int, class_token: int) -> np.ndarray:
    """Table A of the reference: x first."""
    frequency = 10000.0 ** -(np.arange(channels // 4) / (channels / 4))
    rows, columns = np.mgrid[:grid, :grid].reshape(2, -1, 1)
    table = np.hstack([f(a * frequency) for a in (columns, rows) for f in (np.sin, np.cos)])
    return np.vstack([np.zeros((class_token, channels)), table])


def _sinusoid_table(positions: int, channels: int) -> np.ndarray:
    """Table B of the reference: sines, then cosines."""
    angle = np.arange(positions)[:, None] / 10000.0 ** (np.arange(0, channels, 2) / channels)
    return np.hstack([np.sin(angle), np.cos(angle)])


def gradient_norms(named: dict[str, torch.nn.Parameter], order: list[str]) -> np.ndarray:
    """L2 norms of the gradients, in the order of the official names given."""
    return np.array([float(named[key].grad.norm()) for key in order])  # type: ignore[union-attr]
