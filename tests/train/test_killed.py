"""A run that is killed, or asked to stop, goes on with the same curve when it is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from inpaint.checkpoint import load_checkpoint
from inpaint.train.config import RunConfig
from inpaint.train.fit import fit
from inpaint.train.state import list_states, load_latest_state
from tests.train.tiny_runs import BATCH, acr_config, curve, mae_config, write_config

PATIENCE_S = 120
STEPS = 24
# States as often as can be, so that the kill may hit one being written; log windows that states cut in two.
SETTINGS = {"images": STEPS * BATCH, "log_every": 7, "save_every_s": 0.05, "threads": 1}


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def start(kind: str, config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inpaint", "train", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_state(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Until there is a state of this step or a later one."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(path.name >= f"state-{step * BATCH:09d}.pt" for path in list_states(folder)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no state was saved"
        time.sleep(0.005)


def kill(kind: str, config: RunConfig, path: Path) -> None:
    """Start a run and kill it a quarter through."""
    victim = start(kind, path)
    wait_for_state(victim, config.out, STEPS // 4)
    victim.kill()
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL


def stop(kind: str, config: RunConfig, path: Path) -> None:
    """Go on, and ask politely to stop half through: one line, and a state of the very last step."""
    stopped = start(kind, path)
    wait_for_state(stopped, config.out, STEPS // 2)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate(timeout=PATIENCE_S)
    assert stopped.returncode == 128 + signal.SIGTERM
    latest = load_latest_state(config.out)
    assert latest is not None and 0 < latest["images_seen"] < config.images
    assert f"stopped at {latest['images_seen']} of {config.images} images; the same command resumes" in said
    assert "Traceback" not in said


def finish(kind: str, path: Path) -> Path:
    """Go on to the end; gives the checkpoint."""
    finished = start(kind, path)
    told, said = finished.communicate(timeout=PATIENCE_S)
    assert finished.returncode == 0, said
    return Path(told.removeprefix("trained: ").strip())


def assert_same_run(one: Path, two: Path) -> None:
    assert curve(one.parent) == curve(two.parent)
    ours, theirs = load_checkpoint(one).state_dict(), load_checkpoint(two).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_mae_goes_on_after_a_kill(photos, tmp_path):
    config = mae_config(photos, tmp_path / "killed", **SETTINGS)
    path = write_config(tmp_path / "run.toml", config)
    kill("mae", config, path)
    straight = fit(mae_config(photos, tmp_path / "straight", **SETTINGS))
    assert_same_run(straight, finish("mae", path))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_acr_goes_on_after_a_kill_and_a_stop_with_every_loss(photos, tmp_path, perceptual_weights):
    config = acr_config(photos, tmp_path / "killed", perceptual_weights, **SETTINGS)
    path = write_config(tmp_path / "run.toml", config)
    kill("acr", config, path)
    stop("acr", config, path)
    straight = fit(acr_config(photos, tmp_path / "straight", perceptual_weights, **SETTINGS))
    assert_same_run(straight, finish("acr", path))
    assert {"r1", "adversarial", "feature_matching", "perceptual"} <= curve(config.out)[-1].keys()
