"""The small reference cases kept beside the tests, through the same runner as the large set.

The full set: ``python tests/run_goldens.py DIR``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.golden_cases.case import Case
from tests.golden_cases.masks import StatisticsCase, mask_size
from tests.golden_cases.registry import find_checker
from tests.run_goldens import compare, find_cases, main, run_case

FOLDER = Path(__file__).parent / "goldens"
CASES = find_cases(FOLDER)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_case(case):
    checker = find_checker(case)
    assert checker is not None
    output, error, tolerance = run_case(case, checker)
    assert error <= tolerance, f"{output}: error {error:.3g}, tolerance {tolerance:.3g}"


def test_the_runner_notices_a_wrong_number():
    case = next(case for case in CASES if case.name == "ema_step")
    values = case.arrays("out.")
    assert compare(case, values)[1] == 0
    output, error, tolerance = compare(case, {"out": values["out"] + 1e-3})
    assert output == "out" and error > tolerance
    assert compare(case, {})[1] == float("inf")


def test_the_runner_exits_1_when_nothing_ran(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["run_goldens.py", str(FOLDER), "--only", "no such case"])
    assert main() == 1
    monkeypatch.setattr("sys.argv", ["run_goldens.py", str(FOLDER), "--only", "ema_step"])
    assert main() == 0
    assert "1 passed, 0 failed" in capsys.readouterr().out


def test_a_spectral_transform_of_stride_two_is_taken(tmp_path: Path) -> None:
    """Made of the case of stride 1: each input pixel becomes a block of four with that mean."""
    case = next(case for case in CASES if case.name == "spectral_transform_lfu")
    large = np.kron(case.inputs["x0"], np.ones((2, 2))) + np.tile([[1, -1], [2, -2]], (16, 16))
    np.savez(tmp_path / case.entry["file"], **{"in.x0": large, "out.y0": case.arrays("out.")["y0"]})
    (tmp_path / "keys").symlink_to(FOLDER / "keys")
    halved = Case(tmp_path, case.entry)
    checker = find_checker(halved)
    assert checker is not None
    output, error, tolerance = run_case(halved, checker)
    assert 0 < error <= tolerance, output


@pytest.mark.parametrize(
    ("config", "size"),
    [({}, (256, 256)), ({"cropping": {"out_min_size": 512}}, (512, 512)), ({"size": [64, 96]}, (64, 96))],
)
def test_masks_are_drawn_at_the_size_of_their_statistics(config: dict, size: tuple[int, int]) -> None:
    assert mask_size(StatisticsCase(FOLDER, {"config": config, "stats": {}})) == size
