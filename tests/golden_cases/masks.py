"""Random masks, against the statistics of the published generators with the parameters of each case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from inpaint.random_masks.drawing import BoxRecipe, MaskRecipe, StrokeRecipe, draw_recipe
from tests.golden_cases.case import Case

FILE = "lama_masks.json"
COUNT = 2000
AT_ONCE = 250
# Coverage agrees within 2 % of the image; a number of separate holes is noisier.
COVERAGE_TOLERANCE = 0.02
COMPONENTS_TOLERANCE = 0.8


@dataclass(frozen=True)
class StatisticsCase(Case):
    """A case whose expected outputs are statistics, all in one file."""

    @property
    def statistics(self) -> dict[str, Any]:
        """Statistics by the names we give them."""
        stored = self.entry["stats"]
        return {
            "mean": stored["mean"],
            "std": stored["std"],
            "percentiles": stored["percentiles_5_25_50_75_95"],
            "share_above_half": stored["over_half_frac"],
            "mean_of_kept": stored["accepted"]["mean"],
            "std_of_kept": stored["accepted"]["std"],
            "components": stored["mean_components_first300"],
        }

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Expected outputs with their tolerances."""
        wide = {"components": COMPONENTS_TOLERANCE, "percentiles": 2 * COVERAGE_TOLERANCE}
        share, drawn = self.statistics["share_above_half"], self.entry["stats"]["n"]
        deviation = (share * (1 - share) * (1 / drawn + 1 / COUNT)) ** 0.5
        wide["share_above_half"] = max(COVERAGE_TOLERANCE, 4 * deviation)  # both are samples
        return {
            name: {"kind": "float", "suggested_atol": wide.get(name, COVERAGE_TOLERANCE)}
            for name in self.statistics
        }

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The statistics, as ``out.*``."""
        assert prefix == "out."
        return {name: np.asarray(value) for name, value in self.statistics.items()}


def mask_cases(folder: Path) -> list[Case]:
    """The cases of the folder's statistics file; none where there is no such file."""
    path = folder / FILE
    if not path.exists():
        return []
    configs = json.loads(path.read_text(encoding="utf-8"))["configs"]
    return [
        StatisticsCase(
            folder,
            {
                "name": f"lama_masks_{name}",
                "what": "random masks",
                "config": content["params"],
                "inputs": {},
                "stats": content["stats"],
            },
        )
        for name, content in configs.items()
        if "stats" in content  # of some, only the parameters are stored
    ]


def check_masks(case: Case) -> dict[str, Any]:
    """Statistics of masks drawn with the case's parameters, before any is refused."""
    recipe, size = _recipe(case.config.get("mask_generator_kwargs", case.config)), mask_size(case)
    generator, ratios, components = torch.Generator().manual_seed(0), np.zeros(0), []
    for first in range(0, COUNT, AT_ONCE):
        masks = np.zeros((AT_ONCE, *size), np.uint8)
        draw_recipe(masks, recipe, generator)
        ratios = np.append(ratios, masks.mean(axis=(1, 2)))
        if first < 750:
            components += [cv2.connectedComponents(mask)[0] - 1 for mask in masks]
    kept = ratios[(ratios > 0) & (ratios <= 0.5)]
    return {
        "mean": ratios.mean(),
        "std": ratios.std(),
        "percentiles": np.percentile(ratios, [5, 25, 50, 75, 95]),
        "share_above_half": (ratios > 0.5).mean(),
        "mean_of_kept": kept.mean(),
        "std_of_kept": kept.std(),
        "components": np.mean(components),
    }


def mask_size(case: Case) -> tuple[int, int]:
    """The (H, W) the statistics are of: stated with the case or with its cropping, else 256 pixels."""
    cropping = case.config.get("cropping", {}).get("out_min_size", 256)
    size = case.config.get("size", case.entry["stats"].get("size", cropping))
    return (size, size) if isinstance(size, int) else tuple(size)


def _recipe(numbers: Mapping[str, Any]) -> MaskRecipe:
    lines = numbers["irregular_kwargs"]
    names = ("min_times", "max_times", "max_width", "max_len", "max_angle")
    strokes = StrokeRecipe(*(lines[name] for name in names))
    if not numbers["box_proba"]:
        return MaskRecipe(strokes)
    boxes = numbers["box_kwargs"]
    names = ("min_times", "max_times", "bbox_min_size", "bbox_max_size", "margin")
    share = numbers["box_proba"] / (numbers["box_proba"] + numbers["irregular_proba"])
    return MaskRecipe(strokes, BoxRecipe(*(boxes[name] for name in names)), share)
