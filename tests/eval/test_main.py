"""``python -m eval validate`` from its face: a table, files, and one line for every mistake."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from eval.__main__ import main
from eval.tasks.methods import BASELINES
from eval.validation import find_validation_task
from tests.eval.make_reports import read_report

pytestmark = pytest.mark.usefixtures("any_weights")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


def test_baselines_and_a_model(data: Path, tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    result = run(
        "--data", data, "--baselines", "--model", tiny_checkpoint("small"), "--device", "cpu",
        "--out", tmp_path / "r.json", "--out", tmp_path / "r.md", "--save", tmp_path / "images",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "r.md").read_text(encoding="utf-8")
    report = read_report(tmp_path / "r.json")
    assert [row.name for row in report.rows] == [*BASELINES, "small"]
    assert [column.key for column in report.columns] == ["psnr", "hole_psnr", "ssim", "sqd", "fmd"]
    assert (report.protocol, report.n, report.size) == ("validation", 3, "256 x 256")
    # What was measured is what was saved: known pixels are the image's own.
    task = find_validation_task(data)
    for pair, picture in zip(task.pairs, report.row("small").images, strict=True):
        target, hole = task.read(pair)
        saved = np.array(Image.open(tmp_path / f"images/small/{pair.stem}.png"))
        assert np.array_equal(saved[~hole], target[~hole])
        error = np.square(saved[hole].astype(float) - target[hole]).mean()
        assert picture.values["hole_psnr"] == pytest.approx(10 * np.log10(255**2 / error), rel=1e-6)


@pytest.mark.parametrize("kind", ["mae", "fcmae"])
def test_a_masked_autoencoder_alone_can_be_scored(kind: str, data: Path, tmp_path: Path) -> None:
    from inpaint.checkpoint import save_checkpoint
    from inpaint.models.presets import build_fcmae, build_mae

    model = build_mae("mae-tiny") if kind == "mae" else build_fcmae("fcmae-tiny")
    save_checkpoint(tmp_path / "mae.safetensors", model, {})
    result = run("--data", data, "--model", tmp_path / "mae.safetensors", "--limit", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "| mae | 2 |" in result.stdout


def test_models_of_one_name_keep_their_paths(
    data: Path, tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    one = tiny_checkpoint("small")
    other = Path(shutil.copy(one, tmp_path / one.name))
    result = run("--data", data, "--model", one, "--model", other, "--limit", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert f"| {one} | 2 |" in result.stdout and f"| {other} | 2 |" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--baselines", "--data", "gone"], "ground truth: 'gone/val/images'"),
        (["--data", "DATA"], "nothing to score"),
        (["--data", "DATA", "--model", "no-such-model"], "no-such-model"),
        (["--data", "DATA", "--model", "DATA/metrics/mobilenet_v2_dequant_fp16.safetensors"], "safetensors"),
        (["--data", "DATA", "--baselines", "--out", "report.txt"], "report.txt"),
        (
            ["--data", "DATA", "--baselines", "--weights", "nets"],
            "no folder of feature networks at nets; check --weights",
        ),
        (["--data", "DATA", "--baselines", "--limit", "0"], "0 is not in the range x>=1; see: "),
        (["--data", "DATA", "--baselines", "--fit", "192"], "No such option"),
    ],
)
def test_mistakes_cost_one_line(data: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    out = tmp_path / "r.md"
    result = run(*(argument.replace("DATA", str(data)) for argument in arguments), "--out", out)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and told in lines[0]
    assert not out.exists()


def test_an_absent_device_is_named(data: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    result = run("--data", data, "--baselines", "--device", "cuda")
    assert result.exit_code == 2 and "'cuda' is not available" in result.stderr


def test_a_missing_package_is_named(
    data: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)  # as if it were not installed
    options = ("--weights", random_weights, "--lpips", "alex", "--device", "cpu")
    result = run("--data", data, "--baselines", *options)
    assert result.exit_code == 2
    assert result.stderr == "error: the package lpips is not installed; pip install -e '.[eval]'\n"
