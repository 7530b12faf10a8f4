"""The books of a run: when it logs, saves and stops, and what it refuses to save."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import torch
from torch import nn

from inpaint.errors import CheckpointError, InpaintError
from inpaint.models.presets import build_mae
from inpaint.train.distributed import Processes
from inpaint.train.fit import fit
from inpaint.train.monitor import Monitor, Progress, Stopped
from inpaint.train.state import find_not_finite, list_states, load_latest_state
from tests.train.tiny_runs import BATCH, STEPS, curve, mae_config

ALONE = Processes(torch.device("cpu"))


def one(value: float) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(value)}


def test_means_are_over_the_steps_that_have_the_value(photos, tmp_path):
    monitor = Monitor(mae_config(photos, tmp_path, log_every=3), ALONE)
    with monitor.running(0):
        monitor.step(BATCH, one(1.0) | {"r1": torch.tensor(5.0)})
        monitor.step(2 * BATCH, one(2.0))
        monitor.step(3 * BATCH, one(6.0))
        monitor.step(4 * BATCH, one(7.0))
    (record,) = curve(tmp_path)
    assert record == {"images_seen": 3 * BATCH, "loss": 3.0, "r1": 5.0}


def test_a_half_filled_window_goes_on_after_a_resume(photos, tmp_path):
    config = mae_config(photos, tmp_path, log_every=3)
    monitor, network = Monitor(config, ALONE), build_mae("mae-tiny")
    parts = {"model": network}
    with monitor.running(0):
        for step, value in enumerate((1.0, 2.0, 3.0, 10.0), start=1):
            monitor.step(step * BATCH, one(value))
        monitor.save(parts, network)
        monitor.step(5 * BATCH, one(1e9))  # taken after the state, so it never was
    again = Monitor(config, ALONE)
    images_seen = again.resume(parts)
    assert images_seen == 4 * BATCH
    with again.running(images_seen):
        again.step(5 * BATCH, one(20.0))
        again.step(6 * BATCH, one(30.0))
    assert [record["loss"] for record in curve(tmp_path)] == [2.0, 20.0]


def test_nothing_is_saved_after_a_bad_step_between_two_log_lines(photos, tmp_path):
    monitor, network = Monitor(mae_config(photos, tmp_path, log_every=100), ALONE), build_mae("mae-tiny")
    parts = {"model": network}
    with monitor.running(0):
        monitor.step(BATCH, one(1.0))
        monitor.save(parts, network)
        monitor.step(2 * BATCH, one(float("inf")))
        with pytest.raises(InpaintError, match=r"diverged at 8 images: loss is not finite; state-000000004"):
            monitor.save(parts, network)
    assert [path.name for path in list_states(tmp_path)] == ["state-000000004.pt"]


def test_weights_that_are_not_finite_are_never_saved(photos, tmp_path):
    """A bad gradient shows in the loss one step later only; the weights tell at once."""
    monitor, network = Monitor(mae_config(photos, tmp_path, log_every=100), ALONE), build_mae("mae-tiny")
    with torch.no_grad():
        network.mask_token[0, 0, 0] = float("nan")
    with monitor.running(0):
        monitor.step(BATCH, one(1.0))
        with pytest.raises(InpaintError, match=r"model\.mask_token is not finite; no state was saved yet"):
            monitor.save({"model": network}, network)
    assert not list_states(tmp_path) and not list(tmp_path.glob("*.safetensors"))


def test_what_is_not_finite_is_named():
    good = {"a": [torch.ones(2), 1.0, "inf"], "b": {"c": (torch.arange(3), None)}}
    assert find_not_finite(good) is None
    assert find_not_finite(good | {"b": {"c": (1, torch.tensor([1.0, float("nan")]))}}) == "b.c.1"
    assert find_not_finite({"x": float("-inf")}) == "x"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_with_a_state(photos, tmp_path, number):
    def at_the_third_step(progress: Progress) -> None:
        if progress.images_seen == 3 * BATCH:
            os.kill(os.getpid(), number)

    config = mae_config(photos, tmp_path)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match="stopped at 12 of 24 images; the same command resumes") as stopped:
        fit(config, at_the_third_step)
    assert stopped.value.exit_code == 128 + number
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    state = load_latest_state(tmp_path)
    assert state is not None and state["images_seen"] == 3 * BATCH
    fit(config)
    assert len(curve(tmp_path)) == STEPS


def test_a_signal_in_the_last_step_is_no_stop(photos, tmp_path):
    def at_the_end(progress: Progress) -> None:
        if progress.images_seen == progress.images:
            os.kill(os.getpid(), signal.SIGTERM)

    assert fit(mae_config(photos, tmp_path), at_the_end).exists()


def test_only_the_main_process_writes(photos, tmp_path):
    second = Processes(torch.device("cpu"), index=1, count=1)
    told = []
    monitor = Monitor(mae_config(photos, tmp_path / "run"), second, told.append)
    monitor.report_problem("a broken photo")
    with monitor.running(0):
        monitor.step(BATCH, one(1.0))
        monitor.sample(lambda: pytest.fail("drawn for nobody"))
        monitor.save({}, nn.Identity())
    assert not (tmp_path / "run").exists() and not told


def test_a_problem_is_told_once_even_after_a_resume(photos, tmp_path):
    for _ in range(2):
        monitor = Monitor(mae_config(photos, tmp_path), ALONE)
        for _ in range(2):
            monitor.report_problem("a broken photo")
    assert len((tmp_path / "problems.jsonl").read_text().splitlines()) == 1


def test_a_state_of_another_network_is_refused_in_words(photos, tmp_path):
    fit(mae_config(photos, tmp_path, images=BATCH))
    monitor = Monitor(mae_config(photos, tmp_path), ALONE)
    with pytest.raises(
        CheckpointError, match=r"states in .* do not fit this config: model .* new out folder"
    ):
        monitor.resume({"model": nn.Linear(2, 2)})


def test_tensorboard_gets_curves_and_sheets(photos, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(mae_config(photos, tmp_path, tensorboard=True, sample_every_s=0.0))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "gradient_norm", "images_per_second"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [BATCH * (n + 1) for n in range(STEPS)]
    written = [record["loss"] for record in curve(tmp_path)]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(written)
    assert len(events.Images("samples")) > 0


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InpaintError, match="tensorboard = true needs tensorboard, which is not installed"):
        fit(mae_config(tmp_path / "no photos", tmp_path, tensorboard=True))
