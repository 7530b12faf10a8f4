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

from inpaint.random_masks.painting import paint
from inpaint.random_masks.primitives import draw_recipe
from inpaint.random_masks.recipes import BoxRecipe, MaskRecipe, StrokeRecipe
from tests.golden_cases.case import Case

FILE = "lama_masks.json"
SIDE = 256
COUNT = 2000
# Coverage agrees within 2 % of the picture; a number of separate holes is noisier.
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
    recipe = _recipe(case.config.get("mask_generator_kwargs", case.config))
    parts = draw_recipe(recipe, COUNT, (SIDE, SIDE), torch.Generator().manual_seed(0))
    masks = paint(parts, COUNT, (SIDE, SIDE), None, torch.device("cpu")).numpy()
    ratios = masks.mean(axis=(1, 2))
    kept = ratios[(ratios > 0) & (ratios <= 0.5)]
    components = [cv2.connectedComponents(mask.view(np.uint8))[0] - 1 for mask in masks[:600]]
    return {
        "mean": ratios.mean(),
        "std": ratios.std(),
        "percentiles": np.percentile(ratios, [5, 25, 50, 75, 95]),
        "share_above_half": (ratios > 0.5).mean(),
        "mean_of_kept": kept.mean(),
        "std_of_kept": kept.std(),
        "components": np.mean(components),
    }


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
