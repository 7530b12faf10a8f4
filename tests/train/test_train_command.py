"""`inpaint train` as a person meets it: the dry run, and one line for each mistake."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from inpaint.cli import main
from inpaint.train.monitor import Progress
from tests.train.tiny_runs import acr_config, mae_config, write_config


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_a_dry_run_tells_what_a_run_needs_and_leaves_nothing(photos, tmp_path, capsys):
    config = mae_config(photos, tmp_path / "out", images=1000, batch_size=8, accumulate=2)
    assert run(write_config(tmp_path / "run.toml", config), "--dry-run") == 0
    said = capsys.readouterr().out
    for part in ("parameters", "5 of 64 pixels; problems: 1", "broken.png", "1,000 images, 125 steps of 8",
                 "200.0 epochs", "one step  2 images, ", "GiB", "a new run", "loss"):  # fmt: skip
        assert part in said, said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_acr(photos, tmp_path, perceptual_weights, capsys):
    config = acr_config(photos, tmp_path / "out", perceptual_weights)
    assert run(write_config(tmp_path / "run.toml", config), "--dry-run") == 0
    assert "r1" in capsys.readouterr().out


def test_a_finished_run_and_what_a_dry_run_says_then(photos, tmp_path, capsys):
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out"))
    assert run(path) == 0
    told = capsys.readouterr()
    assert told.out == f"trained: {tmp_path / 'out' / 'tiny.safetensors'}\n"
    assert "24 of 24" in told.err and "images/s" in told.err and "0:00:00 left" in told.err
    assert (
        "1 in problems.jsonl" in told.err and "resumes" not in told.err
    )  # a broken photo does not go unseen
    assert run(path, "--dry-run") == 0
    assert "resumes from state-000000024.pt" in capsys.readouterr().out
    assert run(path) == 0
    assert capsys.readouterr().err == f"resumes from state-000000024.pt in {tmp_path / 'out'}\n"


def test_another_length_has_a_schedule_that_fits(photos, tmp_path):
    """Else a short run would never leave its warm-up, and its average would be of the first weights."""
    config = mae_config(
        photos, tmp_path / "out", images=4000, warmup_images=400, schedule="milestones",
        milestones=[1000, 1001, 2000],
    )  # fmt: skip
    assert run(write_config(tmp_path / "run.toml", config), "--images", "40") == 0
    recorded = json.loads((tmp_path / "out" / "config.json").read_text())
    assert recorded["warmup_images"] == 4 and recorded["milestones"] == [10, 20]
    assert recorded["images"] == 40 and recorded["ema_decay"] < 0.5  # ten steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 3}, "batch_size is 4, expected a multiple of 3 (1 processes x accumulate 3)"),
        ({"size": 128}, "size is 128, expected 64 throughout, the side of mae-tiny"),
        ({"name": "a/b"}, "name is 'a/b', expected the name of a file: no folder in it"),
        ({"preset": "mae-huge"}, "unknown preset 'mae-huge'"),
        ({"photos": (Path("/no/such/folder"),)}, "/no/such/folder does not exist"),
    ],
)
def test_a_mistake_costs_one_line_before_the_first_step(photos, tmp_path, capsys, changes, message):
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out"))
    for key, value in changes.items():  # in the text: such a config cannot always be made
        value = json.dumps([str(v) for v in value] if isinstance(value, tuple) else value)
        path.write_text(re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", path.read_text()))
    assert run(path) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_an_unknown_key_is_one_line(photos, tmp_path, capsys):
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out"))
    path.write_text("acumulate = 2\n" + path.read_text())
    assert run(path) == 2
    assert "unknown key acumulate; did you mean accumulate?" in capsys.readouterr().err


def test_a_config_without_a_kind_is_told_what_to_add(photos, tmp_path, capsys):
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out", images=8))
    path.write_text(path.read_text().replace('kind = "mae"\n', "", 1))
    assert run(path) == 2
    assert 'kind is missing, expected "mae" or "fcmae" or "acr"; add: kind = "mae"' in capsys.readouterr().err


def test_precision_that_is_chosen_here_is_printed_and_recorded(photos, tmp_path, capsys):
    config = mae_config(photos, tmp_path / "out", images=8, precision="auto")
    assert run(write_config(tmp_path / "run.toml", config)) == 0
    told = capsys.readouterr().err.splitlines()[0]
    recorded = json.loads((tmp_path / "out" / "config.json").read_text())["precision"]
    assert recorded in ("float32", "bf16")
    assert re.fullmatch(rf"precision {recorded}: bf16 is [\d.]+ times as fast on cpu", told), told


def test_progress_says_speed_and_time_left(photos, tmp_path, capsys):
    from inpaint.cli.train import _describe

    said = _describe("run", Progress(400, 4000, 10.0, {"loss": 0.12345}))
    assert said == "run  10.0 images/s  0:06:00 left  loss 0.1235"


def test_the_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["inpaint", "train", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("inpaint", run_name="__main__")
    assert ended.value.code == 0
    assert "accelerate launch" in capsys.readouterr().out
