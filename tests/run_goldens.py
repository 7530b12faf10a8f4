"""Check this implementation against numeric references: ``python tests/run_goldens.py DIR``.

DIR holds ``index.json``, one ``.npz`` a case and ``keys/``; statistics of random masks, if there are any, lie
in a file of their own. Every case that belongs to a part that exists here is run in float64 and compared
within the case's stated tolerance; the others are listed as skipped.
Prints case, worst output, error and tolerance; exits 1 if any fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.golden_cases.case import Case, Checker
from tests.golden_cases.masks import mask_cases
from tests.golden_cases.registry import find_checker


def compare(case: Case, ours: dict[str, np.ndarray]) -> tuple[str, float, float]:
    """The output furthest beyond its tolerance: name, error, tolerance.

    Integer pictures may be one level off on 0.2 % of their elements; their "error" is that share, or
    infinity if any element is further off.
    """
    worst = ("", 0.0, 0.0)
    worst_share = -1.0
    expected = case.arrays("out.")
    for name, rule in case.outputs.items():
        if name not in ours:
            return name, float("inf"), 0.0
        want, got = expected[name].astype(np.float64), np.asarray(ours[name], dtype=np.float64)
        if want.shape != got.shape:
            return f"{name} {got.shape} != {want.shape}", float("inf"), 0.0
        difference = np.abs(want - got)
        if rule["kind"] == "int":
            error = float("inf") if difference.max(initial=0) > 1 else float((difference > 0).mean())
            tolerance = 0.002
        else:
            error = float("inf") if np.isnan(got).any() else float(difference.max(initial=0))
            tolerance = 0.0 if rule["kind"] == "exact" else float(rule["suggested_atol"])
        share = 0.0 if error == 0 else float("inf") if tolerance == 0 else error / tolerance
        if share > worst_share:
            worst, worst_share = (name, error, tolerance), share
    return worst


def run_case(case: Case, checker: Checker) -> tuple[str, float, float]:
    """Run one case; an exception counts as an infinite error."""
    try:
        values = checker(case)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}", float("inf"), 0.0
    ours = {key: v.detach().numpy() if torch.is_tensor(v) else np.asarray(v) for key, v in values.items()}
    return compare(case, ours)


def find_cases(folder: Path) -> list[Case]:
    """All cases of a folder."""
    index = json.loads((folder / "index.json").read_text())
    return [Case(folder, entry) for entry in index["cases"]] + mask_cases(folder)


def main() -> int:
    """Run every case of a folder; the exit code is 1 if one fails or none ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="run cases whose name contains this text")
    arguments = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in find_cases(arguments.folder):
        if arguments.only not in case.name:
            continue
        checker = find_checker(case)
        if checker is None:
            counts["skipped"] += 1
            print(f"skip  {case.name:32} no such part here")
            continue
        output, error, tolerance = run_case(case, checker)
        passed = error <= tolerance
        counts["passed" if passed else "failed"] += 1
        verdict = "ok  " if passed else "FAIL"
        print(f"{verdict}  {case.name:32} error {error:.2e}  tolerance {tolerance:.2e}  {output}")
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    return int(counts["failed"] > 0 or counts["passed"] == 0)


if __name__ == "__main__":
    sys.exit(main())
