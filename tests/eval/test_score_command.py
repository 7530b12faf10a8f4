"""``python -m eval score`` and ``run`` from their face: tables, files, resuming, a line for every mistake."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from eval.__main__ import main
from eval.commands import options
from eval.tasks.methods import BASELINES
from inpaint.mask_sets import hash_masks
from tests.eval.make_reports import read_report

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--device", "cpu"])


def inputs(pictures: Any) -> list[object]:
    return ["--images", pictures.gt, "--masks", pictures.masks]


def brighter(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return np.where(hole, image + np.where(image < 128, 10, -10), image)


@pytest.fixture
def pictures(make_set: Callable) -> Any:
    return make_set(6)


def test_predictions_and_baselines_make_a_table_and_files(pictures: Any, tmp_path: Path) -> None:
    pictures.predict("mine", brighter)
    pictures.predict("worse", lambda image, hole: np.where(hole, 255 - image, image))
    result = call(
        "score", *inputs(pictures), "--pred", f"mine={tmp_path / 'mine'}", "--baselines",
        "--pred", f"the other={tmp_path / 'worse'}", "--out", tmp_path / "r.json", "--out", tmp_path / "r.md",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "r.md").read_text(encoding="utf-8")
    report = read_report(tmp_path / "r.json")
    assert [row.name for row in report.rows] == [*BASELINES, "mine", "the other"]
    assert [row.kind for row in report.rows] == ["baseline"] * 4 + ["files"] * 2
    # An error of 10 levels everywhere in the hole.
    assert report.row("mine").values["hole_psnr"].value == pytest.approx(10 * np.log10(255**2 / 100))
    assert report.protocol == "standard" and report.images == str(pictures.gt)
    masks = ((path.stem, np.array(Image.open(path)) > 0) for path in pictures.masks.iterdir())
    assert report.masks_hash == hash_masks(masks)
    assert "mine: 0 of 6 images" in result.stderr
    assert (tmp_path / "r.cache/method-the-other.sqlite").is_file()  # beside the first report


def test_a_model_runs_and_is_scored_and_its_files_score_the_same(
    pictures: Any, tmp_path: Path, tiny_checkpoint: Callable[[str], Path]
) -> None:
    model = tiny_checkpoint("small")
    result = call(
        "run", *inputs(pictures), "--model", model, "--save", tmp_path / "saved", "--out", tmp_path / "r.json"
    )
    assert result.exit_code == 0, result.output
    made = read_report(tmp_path / "r.json").row("small")
    assert made.kind == "model" and made.seconds_per_image and made.folder == str(tmp_path / "saved/small")
    result = call(
        "score", *inputs(pictures), "--pred", f"small={made.folder}", "--out", tmp_path / "again.json"
    )
    assert result.exit_code == 0, result.output
    assert read_report(tmp_path / "again.json").row("small").values == made.values


def test_a_protocol_is_chosen(pictures: Any, tmp_path: Path) -> None:
    psnr = {}
    for protocol in ("standard", "mae-far", "lama"):
        out = tmp_path / f"{protocol}.json"
        result = call("run", *inputs(pictures), "--baselines", "--protocol", protocol, "--out", out)
        assert result.exit_code == 0, result.output
        report = read_report(out)
        assert report.protocol == protocol
        if "psnr" in report.rows[0].values:
            psnr[protocol] = report.rows[0].values["psnr"].value
    assert psnr["mae-far"] - psnr["standard"] == pytest.approx(1, abs=0.01)  # the script's PSNR


def test_the_small_networks_are_extra_columns(
    pictures: Any, data: Path, tmp_path: Path, any_weights: None
) -> None:
    result = call(
        "run", *inputs(pictures), "--baselines", "--limit", 3, "--weights", data / "metrics",
        "--weights", tmp_path, "--out", tmp_path / "r.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "r.json")
    assert {"sqd", "fmd"} <= set(report.rows[0].values) and report.n == 3
    assert "LPIPS" in " ".join(report.unmeasured)  # no weights in that folder


def test_masks_may_be_cycled_and_pictures_cropped(make_set: Callable, tmp_path: Path) -> None:
    pictures = make_set(5, shapes=((24, 40), (36, 20)))
    for path in sorted(pictures.masks.iterdir())[2:]:
        path.unlink()
    result = call(
        "run", *inputs(pictures), "--baselines", "--cycle-masks", "--size", 16, "--out", tmp_path / "r.json"
    )
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "r.json")
    assert report.size == "16 x 16" and report.n == 5
    ratios = [picture.hole_ratio for picture in report.rows[0].images]
    assert ratios[0] == ratios[2] == ratios[4] != ratios[1] == ratios[3]
    assert "in turn" in report.notes["masks"] and "16 x 16" in report.notes["images"]


def test_missing_files_stop_or_are_counted(pictures: Any, tmp_path: Path) -> None:
    folder = pictures.predict("mine", brighter)
    (folder / "p02.png").unlink()
    (pictures.masks / "p04.png").unlink()
    arguments = ["score", *inputs(pictures), "--pred", f"mine={folder}", "--out", tmp_path / "r.json"]
    result = call(*arguments)
    assert result.exit_code == 2 and "1 of 6 images have no mask" in result.stderr
    result = call(*arguments, "--allow-missing")
    assert result.exit_code == 0, result.output
    report = read_report(tmp_path / "r.json")
    assert report.n == 5 and report.row("mine").missing == ("p02",)
    assert len(report.row("mine").images) == 4 and len(report.warnings) == 2


def test_without_a_report_nothing_is_kept(pictures: Any, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call("run", *inputs(pictures), "--baselines")
    assert result.exit_code == 0 and "push-pull" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == before


MISTAKES = [
    (["score", *"--images gt --masks masks".split()], "nothing to score"),
    (["run", *"--images gt --masks masks".split()], "nothing to score"),
    (
        ["score", *"--images gone --masks masks --baselines".split()],
        "no such folder for the ground truth: 'gone'",
    ),
    (["score", *"--images gt --masks gone --baselines".split()], "no such folder for the masks: 'gone'"),
    (["score", *"--images gt --masks masks --pred gt".split()], "expected NAME=DIR"),
    (["score", *"--images gt --masks masks --pred =gt".split()], "expected NAME=DIR"),
    (["score", *"--images gt --masks masks --pred a=gone".split()], "no such folder for the predictions"),
    (["score", *"--images gt --masks masks --pred a=gt".split()], "the ground truth itself"),
    (["score", *"--images gt --masks masks --pred a=masks --pred a=masks".split()], "two methods named 'a'"),
    (["run", *"--images gt --masks masks --model no-such-model".split()], "no-such-model"),
    (["run", *"--images gt --masks masks --baselines --out r.txt".split()], "r.txt"),
    (
        ["run", *"--images gt --masks masks --baselines --cache-dir gt/p00.png".split()],
        "cannot keep the results",
    ),
    (["run", *"--images gt --masks masks --baselines --size 8".split()], "at least 11 x 11"),
]


@pytest.mark.parametrize(("arguments", "told"), MISTAKES)
def test_mistakes_cost_one_line(
    pictures: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(pictures.root)
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ") and told in line
    assert "Traceback" not in result.stderr


def test_an_unknown_device_is_named(pictures: Any) -> None:
    result = CliRunner().invoke(main, ["run", *map(str, inputs(pictures)), "--baselines", "--device", "tpu9"])
    assert result.exit_code == 2 and "'tpu9'" in result.stderr


def test_a_stop_by_hand_says_how_to_go_on(
    pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(BASELINES, "OpenCV Telea", stop)
        result = call("run", *inputs(pictures), "--baselines", "--out", tmp_path / "r.json")
    assert result.exit_code == 2 and "stopped; the same command resumes" in result.stderr
    assert not (tmp_path / "r.json").exists()
    result = call("run", *inputs(pictures), "--baselines", "--out", tmp_path / "r.json")
    assert result.exit_code == 0 and "push-pull pyramid: 6 of 6 images" in result.stderr


def test_lines_of_progress_are_few(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with options.shown_progress() as show:
        for done in range(100):
            show("a", done, 100)
        show("b", 0, 100)
    assert capsys.readouterr().err.splitlines() == ["a: 0 of 100 images", "b: 0 of 100 images"]
    monkeypatch.setattr(options, "SECONDS_BETWEEN_LINES", 0)
    with options.shown_progress() as show:
        show("a", 0, 100)
        show("a", 50, 100)
    assert capsys.readouterr().err.splitlines()[-1] == "a: 50 of 100 images"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with options.shown_progress() as show:
        show("a [name]", 30, 100)
    assert "30/100" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_report(make_set: Callable, tmp_path: Path) -> None:
    pictures = make_set(10, shapes=((256, 240),))
    command = ["run", *inputs(pictures), "--baselines", "--out"]
    database = tmp_path / "killed.cache/method-mean-colour.sqlite"

    def kept() -> list[object]:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as opened:
            return opened.execute("SELECT * FROM images ORDER BY rowid").fetchall()
        return []

    process = subprocess.Popen(
        [sys.executable, "-m", "eval", *map(str, command), tmp_path / "killed.json", "--device", "cpu"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (database.is_file() and kept()):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it was not done yet
    before = kept()
    assert before and not (tmp_path / "killed.json").exists()

    result = call(*command, tmp_path / "killed.json")  # the same command goes on
    assert result.exit_code == 0, result.output
    assert "ground truth: 10 of 10 images" in result.stderr
    assert kept()[: len(before)] == before and len(kept()) == 10  # nothing was measured twice
    result = call(*command, tmp_path / "whole.json")
    assert result.exit_code == 0, result.output
    resumed, whole = (read_report(tmp_path / f"{name}.json") for name in ("killed", "whole"))
    assert [row.name for row in resumed.rows] == [row.name for row in whole.rows] == list(BASELINES)
    for row, other in zip(resumed.rows, whole.rows, strict=True):
        for picture, twin in zip(row.images, other.images, strict=True):
            assert picture.stem == twin.stem and picture.values == pytest.approx(dict(twin.values), rel=1e-5)
        for key, value in row.values.items():
            assert value.value == pytest.approx(other.values[key].value, rel=1e-5)
    unlike = {"rows": (), "notes": {}}
    assert dataclasses.replace(resumed, **unlike) == dataclasses.replace(whole, **unlike)
