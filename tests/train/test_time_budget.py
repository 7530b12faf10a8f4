"""A run that fits the time at hand: by a clock that only steps move, and once for real."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaint.cli import main
from inpaint.errors import ConfigError, DataError
from inpaint.train import trial
from inpaint.train.distributed import Processes
from inpaint.train.recipes import build_recipe
from inpaint.train.trial import fit_to_time, with_length
from tests.train.tiny_runs import BATCH, acr_config, mae_config, write_config

ALONE = Processes(torch.device("cpu"))
NOWHERE = Path("nowhere")


class Clock:
    """Time that passes in steps alone: a second for 16 pixels a side, ten more with R1."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def tick(self) -> float:
        self.now += 0.25
        return self.now

    def build(self, config, _processes) -> Any:
        def step(batch) -> dict:
            self.now += batch.image.shape[-1] / 16
            if config.weights.r1 and batch.images_seen // config.batch_size % config.r1_every == 0:
                self.now += 10
            return {}

        return SimpleNamespace(step=step)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(trial, "build_recipe", clock.build)
    return clock


def test_the_length_follows_from_the_pace(photos, tmp_path, perceptual_weights, clock):
    """Half of the run at 32 pixels (2 s), half at 64 (4 s), R1 in every fifth step (10 s): 5 s a step."""
    config = acr_config(
        photos, tmp_path / "out", perceptual_weights, early_size=32, early_share=0.5, r1_every=5, images=400
    )
    fitted = fit_to_time(config, 60, ALONE)
    # Measured at either size: a step with R1 and one without, which the run pays again; then four without and
    # one with R1.
    assert clock.now == (7 * 2 + 20) + (7 * 4 + 20)
    assert fitted.images == BATCH * int(0.95 * (3600 - 82 - 14 - 18) / 5)


def test_without_r1_and_with_it_in_every_step(photos, tmp_path, perceptual_weights, clock):
    for every, seconds in ((1, 14), (10**6, 4)):
        clock.now = 0.0
        config = acr_config(photos, tmp_path / "out", perceptual_weights, r1_every=every)
        steps = fit_to_time(config, 600, ALONE).images / BATCH
        assert steps == pytest.approx(0.95 * 36000 / seconds, rel=0.01)


def test_too_little_time_is_told_with_how_much_it_takes(photos, tmp_path, perceptual_weights, clock):
    config = acr_config(photos, tmp_path / "out", perceptual_weights, r1_every=10**6)
    with pytest.raises(
        ConfigError, match=r"1 minutes are enough for .* expected at least 20: give \d+ minutes"
    ) as error:
        fit_to_time(config, 1, ALONE)
    needed = int(str(error.value).split("give ")[1].split()[0])
    clock.now = 0.0
    assert fit_to_time(config, needed, ALONE).images >= 20 * BATCH


@given(images=st.integers(20 * BATCH, 10**7))
def test_everything_that_is_counted_follows_the_length(images):
    config = acr_config(
        NOWHERE, NOWHERE, NOWHERE, images=10_000, schedule="milestones", milestones=(6_000, 8_000),
        warmup_images=1_000, ema_decay=0.999, adversarial_after_images=2_000,
    )  # fmt: skip
    fitted = with_length(config, images)
    scale = images / 10_000
    assert fitted.milestones == pytest.approx((6_000 * scale, 8_000 * scale), abs=0.5)
    assert fitted.adversarial_after_images == pytest.approx(2_000 * scale, abs=0.5)
    assert fitted.warmup_images == min(1_000, images // 10)
    remembered = 1 / (1 - fitted.ema_decay)  # steps
    assert remembered == pytest.approx(min(1_000, images / BATCH / 10))


def test_for_real_and_again(photos, tmp_path, capsys, clock, monkeypatch):
    """The same command goes on with the length the run has: it is measured once."""
    monkeypatch.setattr(clock, "monotonic", clock.tick)  # so that no machine is too slow
    monkeypatch.setattr(trial, "build_recipe", build_recipe)
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out", images=10**6))
    lengths = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["train", str(path), "--minutes", "0.07"])
        told = capsys.readouterr()
        assert ended.value.code in (0, None), told.err
        lengths.append(json.loads((tmp_path / "out" / "config.json").read_text())["images"])
        assert f"0.07 minutes: {lengths[0]:,} images" in told.err
    assert lengths[0] == lengths[1] and 20 * BATCH <= lengths[0] < 10**6
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"config\.json: cannot be read .* give --images N, or name a new folder"
    ):
        fit_to_time(mae_config(photos, tmp_path / "out"), 1, ALONE)  # type: ignore[arg-type]


def test_a_length_or_a_time_but_not_both(photos, tmp_path, capsys):
    path = write_config(tmp_path / "run.toml", mae_config(photos, tmp_path / "out"))
    with pytest.raises(SystemExit) as ended:
        main(["train", str(path), "--minutes", "5", "--images", "100"])
    assert ended.value.code == 2
    assert "got --images 100 and --minutes 5, expected one of them" in capsys.readouterr().err
