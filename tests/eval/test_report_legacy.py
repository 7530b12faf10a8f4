"""Tables, intervals and comparisons with the floors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.protocol import Scores, ValidationSet
from eval.report.legacy import against_floors, bootstrap_interval, build_report, to_markdown, write_report
from inpaint.errors import InpaintError

VALIDATION = ValidationSet(
    ("a", "b", "c"), torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.ones(3, 1, 4, 4, dtype=torch.bool)
)


def make_scores(psnr: list[float], ssim: float = 0.8, sqd: float = 0.4, fmd: float = 100.0) -> Scores:
    values = {
        "psnr": torch.tensor(psnr).double(),
        "hole_psnr": torch.tensor(psnr).double() - 5,
        "ssim": torch.full((len(psnr),), ssim).double(),
        "sqd": torch.full((len(psnr),), sqd).double(),
    }
    return Scores(values, fmd, 0.25)


ROWS = {
    "push-pull pyramid": make_scores([20.0, 22.0, 24.0], ssim=0.8, sqd=0.5),
    "OpenCV Telea": make_scores([19.0, 21.0, 23.0], ssim=0.7, sqd=0.3),
    "acr-small": make_scores([21.0, 23.0, 25.0], ssim=0.85, sqd=0.35, fmd=90.0),
}


def test_interval_of_a_constant_is_the_constant() -> None:
    assert bootstrap_interval(np.full(10, 3.5)) == (3.5, 3.5)


def test_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values) == (low, high)  # seeded
    assert np.isnan(bootstrap_interval(np.array([20.0, np.inf]))).all()


def test_each_measure_is_compared_with_its_own_best_floor() -> None:
    comparison = against_floors(ROWS)
    assert list(comparison) == ["acr-small"]
    model = comparison["acr-small"]
    assert model["psnr"] == {
        "floor": "push-pull pyramid",
        "difference": pytest.approx(1.0),
        "interval": (pytest.approx(1.0), pytest.approx(1.0)),  # paired: the same gain on every picture
        "better": True,
    }
    assert model["sqd"]["floor"] == "OpenCV Telea"  # lower is better
    assert model["sqd"]["difference"] == pytest.approx(0.05) and not model["sqd"]["better"]
    assert model["fmd"]["better"] and "interval" not in model["fmd"]


def test_without_floors_there_is_no_comparison() -> None:
    assert against_floors({"acr-small": ROWS["acr-small"]}) == {}


def test_markdown_has_every_row_and_the_verdict() -> None:
    text = to_markdown(build_report(ROWS, VALIDATION, "Computed by hand."))
    lines = text.splitlines()
    assert lines[0].startswith("| fill | N | PSNR ↑ | hole PSNR ↑ | SSIM ↑ | sqd ↓ | fmd ↓ |")
    assert "| acr-small | 3 | 23.000 | 18.000 | 0.8500 | 0.3500 | 90.0 | 0.250 |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "better in PSNR, hole PSNR, SSIM, fmd." in text
    assert "sqd +0.0500 [+0.0500, +0.0500] (OpenCV Telea)" in text
    assert "Computed by hand." in text and VALIDATION.digest() in text


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    rows = ROWS | {"perfect": make_scores([float("inf")] * 3, fmd=float("nan"))}
    path = tmp_path / "new" / "report.json"
    write_report(build_report(rows, VALIDATION, ""), path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    report = json.loads(path.read_text(), parse_constant=refuse)
    assert report["n"] == 3 and report["names"] == ["a", "b", "c"] and report["hole_ratio"] == 1
    assert report["rows"]["acr-small"]["psnr"]["values"] == [21, 23, 25]
    assert report["rows"]["acr-small"]["psnr"]["mean"] == 23
    assert report["rows"]["perfect"]["psnr"]["mean"] is None
    assert report["rows"]["perfect"]["fmd"]["mean"] is None
    low, high = report["rows"]["acr-small"]["psnr"]["interval"]
    assert 21 <= low < 23 < high <= 25
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]  # no leftovers
    assert path.stat().st_mode & 0o044 == 0o044  # others may read it


def test_reports_go_where_they_can(tmp_path: Path) -> None:
    report = build_report(ROWS, VALIDATION, "")
    write_report(report, tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == to_markdown(report)
    with pytest.raises(InpaintError, match=r"r\.txt.*\.md or \.json"):
        write_report(report, tmp_path / "r.txt")
    with pytest.raises(InpaintError, match="cannot write"):
        write_report(report, tmp_path / "r.md" / "inside.md")
