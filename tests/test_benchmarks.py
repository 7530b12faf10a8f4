"""The benchmarks run: training speed at tiny size, and what a schedule costs by hand-made rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from benchmarks import inference, large_photos, scale, training
from inpaint.errors import DataError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DEVICE = torch.device("cpu")


@pytest.mark.slow
def test_training_speed_is_measured_on_cached_and_on_loaded_batches(tmp_path):
    paths = [str(CONFIGS / f"{name}.toml") for name in ("smoke_mae", "smoke_fcmae", "smoke_acr")]
    options = ["--batch", "2", "--seconds", "0.01", "--device", "cpu", "--out", str(tmp_path / "out.json")]
    result = CliRunner().invoke(training.main, [*paths, *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert "| config | precision | batch | images/s |" in result.stdout
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["peak_tflops"] > 0 and written["decode_per_core"] > 0
    assert [row["config"] for row in written["rows"]] == ["smoke_mae", "smoke_fcmae", "smoke_acr"]
    assert not any(row["compiled"] for row in written["rows"])
    for row in written["rows"]:
        assert min(row["cached"], row["loaded"], row["loader"], row["gflop_per_image"]) > 0
        expected = row["loaded"] * row["gflop_per_image"] / 1e3 / written["peak_tflops"]
        assert row["peak_share"] == pytest.approx(expected)
        assert row["memory_gb"] is None and 0 < sum(row["most_time_in"].values()) <= 1.001


def test_products_of_every_pass_are_counted():
    layer, image = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.rand(2, 3, 8, 8, requires_grad=True)
    forward = 2 * 2 * 8 * 8 * 5 * 3 * 9  # two a multiply-add; images, positions, outputs, inputs, kernel
    with training.ProductCounter() as counter:
        output = layer(image)
    assert counter.total == forward
    with training.ProductCounter() as counter:
        output.sum().backward()
    assert counter.total == 2 * forward  # gradients of weights and of pictures
    with training.ProductCounter() as counter:  # the gradient of a gradient, as in R1
        (gradient,) = torch.autograd.grad(layer(image).square().sum(), image, create_graph=True)
        gradient.square().sum().backward()
    assert counter.total > 3 * forward


def test_time_is_taken_over_many_steps():
    taken = []
    seconds = training.seconds_per_step(taken.append, 0.0, DEVICE)
    assert taken == list(range(training.WARM_UP_STEPS + 4)) and seconds > 0


ROWS: list[dict[str, Any]] = [
    {"config": "places2_mae", "preset": "mae-base", "size": 256, "loaded": 3600.0, "gflop_per_image": 50.0},
    {"config": "places2_acr", "preset": "acr-base", "size": 256, "loaded": 100.0, "gflop_per_image": 500.0},
    {"config": "places2_lama", "preset": "lama", "size": 256, "loaded": 200.0, "gflop_per_image": 250.0},
]


def test_hours_follow_from_the_schedules_and_the_rates():
    mae, acr, large, lama = scale.read_stages(ROWS, None)
    lines = {line[0]: line[1:] for line in scale.hours([mae, acr, large, lama])}
    assert lines["places2_mae"] == ("27.8", "3.48", "0.435")  # 360,692,000 / 3600 / 3600
    assert lines["places2_acr"] == ("75.6", "9.44", "1.18")
    # sides from 256 to 512 have 2.34375 times the pixels of 256 in the mean
    assert large.rate == pytest.approx(100 / 2.34375) and large.estimated and not acr.estimated
    assert lines["places2_acr_512"][0] == "~15.6"


def test_a_measured_fine_tuning_is_scaled_from_its_largest_size():
    own = ROWS[1] | {"config": "places2_acr_512", "size": 512, "loaded": 30.0}
    large = scale.read_stages([*ROWS, own], None)[2]
    assert large.rate == pytest.approx(30 * 4 / 2.34375) and large.estimated


def test_estimates_from_counted_products_are_marked():
    stages = scale.read_stages(ROWS, 100e12)
    assert [stage.rate for stage in stages[:2]] == pytest.approx([2000, 200])
    assert all(stage.estimated for stage in stages)


def test_the_networks_are_those_of_the_configs():
    mae, acr, _, lama = scale.read_stages(ROWS, None)
    assert mae.learning == pytest.approx(111.65e6, rel=1e-3) and mae.norm_messages == 0
    assert acr.learning == pytest.approx((27.05 + 13.93 + 6.96) * 1e6, rel=1e-3)  # the prior is frozen
    assert lama.learning == pytest.approx((27.05 + 6.96) * 1e6, rel=1e-3)
    assert mae.state_bytes == 4 * 4 * mae.learning
    assert acr.state_bytes == pytest.approx(4 * (2 * 152.6e6 + 6.96e6 + 2 * acr.learning), rel=1e-3)


def test_what_breaks_is_named():
    stages = scale.read_stages(ROWS, None)
    few_cores = scale.Assumptions(1000, {256: 13.3, 512: 58.0}, 100.0, 16, 200.0, 25.0, 1000.0)
    lines = {(line[0], line[1]): line[-1] for line in scale.demands(stages, few_cores)}
    assert lines["places2_mae", "1"] == "decoding"  # 36 cores of 16
    assert "reading" in lines["places2_mae", "64"]
    assert lines["places2_acr", "1"] == lines["places2_acr", "8"] == "-"
    assert "the batch: 32, 256 needed" in lines["places2_acr", "64"]


def test_the_tables_are_printed_and_a_missing_network_is_told(tmp_path):
    path = tmp_path / "training.json"
    path.write_text(json.dumps({"device": "a test", "decode_per_core": 500.0, "rows": ROWS}))
    result = CliRunner().invoke(scale.main, [str(path)], catch_exceptions=False)
    assert "measured on a test" in result.stdout
    for title in ("Schedules", "Hours of computing", "Each step", "Sizes"):
        assert f"### {title}\n" in result.stdout
    result = CliRunner().invoke(scale.main, [str(path), "--peak", "800"])
    assert result.exit_code == 2 and "--peak and --share belong together" in result.stderr
    with pytest.raises(DataError, match=r"places2_lama was not measured.*configs/places2_lama"):
        scale.read_stages(ROWS[:2], None)


def test_forms_of_a_network_are_timed_side_by_side_and_agree():
    options = ["compare", "acr-tiny", "--size", "256", "--repeats", "1"]
    result = CliRunner().invoke(inference.main, options, catch_exceptions=False)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[4:]]
    errors = {form: float(error.split()[2].rstrip(",")) for _, form, *_, error in rows if error}
    assert errors["plain"] == 0 and 0 < errors["fast"] < 1e-4 and 0 < errors["official"] < 1e-4
    assert 0 < errors["fast, holes alone"] < 1e-4 < errors["bfloat16"] < 0.05
    assert all(float(row[2]) > 0 for row in rows[:6])


def test_the_law_of_time_is_drawn_and_one_case_is_measured():
    result = CliRunner().invoke(
        inference.main, ["one", "lama-small", "96", "0.05", "1"], catch_exceptions=False
    )
    pixels, hole, seconds, megabytes = json.loads(result.stdout.splitlines()[-1])
    assert pixels == 96 * 54 / 1e6 and hole == pytest.approx(pixels * 0.05)
    assert seconds > 0 and megabytes > 50
    table = np.array([[s * s / 1e6, s * s * h / 1e6, 1 + s / 100, 500 + s] for s, h in inference.CASES])
    terms = np.stack([np.ones(len(table)), table[:, 0], table[:, 1]], axis=1)
    drawing = inference.draw(table, terms, [np.array([1.0, 0.5, 2.0])] * 2, "test")
    assert drawing.count("<circle") == 2 * len(inference.CASES) and drawing.endswith("</svg>\n")


@pytest.mark.slow
def test_reading_and_writing_of_a_command_are_told_from_the_rest():
    result = CliRunner().invoke(large_photos.main, ["--side", "320", "--times", "1"], catch_exceptions=False)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["png", "jpg"]
    assert all(0 < float(filling) < float(whole) < 100 for _, whole, filling, *_ in rows)
