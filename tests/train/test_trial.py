"""What does not fit is told before the first step, and what fits is estimated."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inpaint.errors import ConfigError, InpaintError
from inpaint.models.presets import build_mae
from inpaint.train import trial
from inpaint.train.distributed import Processes
from inpaint.train.optimise import explain_step_memory
from inpaint.train.recipes.prior import PriorRecipe
from inpaint.train.trial import trial_step
from tests.train.tiny_runs import acr_config, mae_config

ALONE = Processes(torch.device("cpu"))


def test_a_trial_step_counts_the_network_and_its_memory(tmp_path):
    found = trial_step(mae_config(tmp_path, tmp_path, batch_size=16, accumulate=2), ALONE)
    size = sum(p.numel() for p in build_mae("mae-tiny").parameters())
    assert found.parameters == found.trained == size
    assert found.images == 2 and found.seconds > 0 and found.values["loss"] > 0
    # Weights, average, gradient and AdamW's two, 4 bytes each, in a process that has loaded torch.
    assert found.peak_bytes is not None and 20 * size < found.peak_bytes < 2**40


def test_a_trial_step_of_acr_has_every_loss_from_the_start(tmp_path, perceptual_weights):
    config = acr_config(tmp_path, tmp_path, perceptual_weights, adversarial_after_images=10**6, r1_every=7)
    found = trial_step(config, ALONE)
    assert {"r1", "adversarial", "feature_matching", "perceptual"} <= found.values.keys()
    assert found.trained < found.parameters  # the prior is frozen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_takes_the_whole_batch(tmp_path):
    found = trial_step(mae_config(tmp_path, tmp_path, batch_size=16), Processes(torch.device("cuda")))
    assert found.images == 16


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("[...] DefaultCPUAllocator: can't")]
)
def test_no_memory_left_is_one_line_that_says_what_to_change(tmp_path, error, monkeypatch):
    config = mae_config(tmp_path, tmp_path)

    def build(*_) -> Any:
        raise error

    monkeypatch.setattr(trial, "build_recipe", build)
    with pytest.raises(
        InpaintError, match=r"out of memory on cpu: batch_size 4, accumulate 1, size 64; .*raise"
    ):
        trial_step(config, ALONE)


def test_other_errors_stay_what_they_are(tmp_path):
    with (
        pytest.raises(RuntimeError, match="a mistake of ours"),
        explain_step_memory(ALONE.device, mae_config(tmp_path, tmp_path)),
    ):
        raise RuntimeError("a mistake of ours")


def test_pictures_that_do_not_fit_the_preset_are_told_before_any_is_read(tmp_path):
    with pytest.raises(ConfigError, match="size is 128, expected 64 throughout, the side of mae-tiny"):
        PriorRecipe(mae_config(tmp_path, tmp_path, size=128), ALONE)
    with pytest.raises(ConfigError, match="and neither smallest_size nor early_size"):
        PriorRecipe(mae_config(tmp_path, tmp_path, early_size=32, early_share=0.5), ALONE)
