"""Two processes that share a run give the curve of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from inpaint.checkpoint import load_checkpoint, read_notes
from inpaint.errors import ConfigError
from inpaint.train.config import RunConfig
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.fit import fit
from tests.train.tiny_runs import STEPS, acr_config, curve, mae_config, write_config

CPU = torch.device("cpu")


ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")


def train_in_two_processes(launcher: tuple[str, ...], config: RunConfig, folder: Path, *options: str) -> Path:
    path = write_config(folder / "run.toml", config)
    command = [sys.executable, "-m", *launcher, "-m", "inpaint", "train", str(path), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("trained: ")]
    checkpoint = Path(told.removeprefix("trained: "))
    assert read_notes(checkpoint)["processes"] == "2"
    return checkpoint


def assert_same_run(one: Path, two: Path) -> None:
    """Equal up to the order of sums in float32; 2e-5 was measured, and 1e-2 without shared statistics."""
    ours, theirs = curve(one.parent), curve(two.parent)
    assert len(ours) == len(theirs) == STEPS
    for here, there in zip(ours, theirs, strict=True):
        assert there == pytest.approx(here, rel=1e-4)
    assert load_checkpoint(one).state_dict().keys() == load_checkpoint(two).state_dict().keys()
    assert sorted(p.name for p in one.parent.iterdir()) == sorted(p.name for p in two.parent.iterdir())


@pytest.mark.slow
def test_mae_in_two_processes(photos, tmp_path):
    one = fit(mae_config(photos, tmp_path / "one"))
    two = train_in_two_processes(TORCHRUN, mae_config(photos, tmp_path / "two"), tmp_path)
    assert_same_run(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("places", ["everywhere", "holes"])
def test_acr_in_two_processes_with_every_loss(photos, tmp_path, perceptual_weights, places):
    # At a small rate: Adam turns a tiny difference in a tiny gradient into a step of full size.
    changes = {"learning_rate": 1e-4, "adversarial_at": places}
    first, second = (
        acr_config(photos, tmp_path / name, perceptual_weights, **changes) for name in ("one", "two")
    )
    one = fit(first)
    two = train_in_two_processes(ACCELERATE, second, tmp_path)
    assert_same_run(one, two)
    assert {"r1", "perceptual", "adversarial", "feature_matching"} <= curve(second.out)[2].keys()


@pytest.mark.slow
def test_two_processes_agree_on_the_length_that_fits_a_time(photos, tmp_path):
    config = mae_config(photos, tmp_path / "two", images=10**6, log_every=1000)
    checkpoint = train_in_two_processes(TORCHRUN, config, tmp_path, "--minutes", "0.3")
    images = json.loads((tmp_path / "two" / "config.json").read_text())["images"]
    assert int(read_notes(checkpoint)["images_seen"]) == images and 80 <= images < 10**6


def test_processes_take_rows_that_make_up_the_batch():
    shares = [Processes(CPU, index, 3).rows(12, accumulate=2) for index in range(3)]
    assert [number for share in shares for number in range(12)[share]] == list(range(12))
    with pytest.raises(ConfigError, match=r"batch_size is 10, expected a multiple of 6 \(3 processes x acc"):
        Processes(CPU, 0, 3).rows(10, accumulate=2)


def test_one_process_needs_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = join_processes("cpu")
    assert alone.is_main and alone.count == 1 and alone.any_raised([True, False]) == [True, False]
    network = nn.Sequential(nn.BatchNorm2d(2))
    alone.share_statistics(network)
    assert type(network[0]) is nn.BatchNorm2d
    alone.leave()


def test_one_named_device_is_not_for_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="device is 'cuda:1' with 2 processes, expected auto, cpu or cuda"):
        join_processes("cuda:1")
