"""Losses, schedule and averaged weights against the small reference cases kept beside the tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.golden_cases.case import Case
from tests.golden_cases.losses import find_checker

FOLDER = Path(__file__).parent.parent / "goldens"
ENTRIES = {entry["name"]: entry for entry in json.loads((FOLDER / "index.json").read_text())["cases"]}


@pytest.mark.parametrize("name", ["losses_feature_matching", "ema_step", "lr_milestones"])
def test_published_numbers(name):
    case = Case(FOLDER, ENTRIES[name])
    checker = find_checker(case)
    assert checker is not None
    ours, expected = checker(case), case.arrays("out.")
    assert set(ours) == set(expected)
    for output, values in expected.items():
        np.testing.assert_allclose(ours[output], values, atol=case.outputs[output]["suggested_atol"], rtol=0)
