"""What does not fit is told before the first step, and what fits is estimated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from inpaint.errors import ConfigError, InpaintError
from inpaint.train import trial
from inpaint.train.compute import explain_step_memory
from inpaint.train.distributed import Processes
from inpaint.train.recipes import build_recipe
from inpaint.train.recipes.prior import PriorRecipe
from inpaint.train.trial import dry_run, probe_memory, saved_for_backward
from tests.train.tiny_runs import acr_config, mae_config

ALONE = Processes(torch.device("cpu"))


class OneLayer:
    """A network whose memory can be counted by hand."""

    def __init__(self) -> None:
        self.layer = nn.Linear(100, 100, bias=False)

    ema = None

    def stateful(self):
        return {"layer": self.layer}


def test_what_is_kept_for_the_backward_pass_is_counted_while_it_is_kept():
    parts, value = OneLayer(), torch.ones(50, 100)
    with saved_for_backward(parts) as saved:
        for _ in range(3):  # one after the other: never more than one at a time
            parts.layer(value).sigmoid().sum().backward()
    assert saved.peak == 2 * value.nbytes  # the layer's input and the sigmoid's output; not the weights
    with saved_for_backward(parts) as saved:
        together = [parts.layer(value).sigmoid().sum() for _ in range(3)]
    assert saved.peak == 4 * value.nbytes  # the input is shared
    del together


def test_a_dry_run_counts_the_network_and_its_memory(tmp_path):
    config = mae_config(tmp_path, tmp_path, batch_size=16, accumulate=2)
    found = dry_run(config, ALONE)
    model = PriorRecipe(config, ALONE).network
    size = sum(p.numel() for p in model.parameters())
    assert found.parameters == found.trained == size
    # Weights, average, gradient and AdamW's two, 4 bytes each, and a few small buffers.
    assert 20 * size <= found.fixed_bytes < 24 * size + 200_000
    assert found.images_at_once == 8
    assert found.bytes == found.fixed_bytes + 8 * found.bytes_per_image
    # At least every block's input, of every token that it sees, is kept for an image.
    tokens = (model.preset.depth * 64 + model.preset.decoder_depth * 256) * 16 * 4
    assert found.bytes_per_image > tokens
    assert found.values["loss"] > 0


def test_a_dry_run_of_acr_has_every_loss_from_the_start(tmp_path, perceptual_weights):
    config = acr_config(tmp_path, tmp_path, perceptual_weights, adversarial_after_images=10**6, r1_every=7)
    found = dry_run(config, ALONE)
    assert {"r1", "adversarial", "feature_matching", "perceptual"} <= found.values.keys()
    assert found.trained < found.parameters  # the prior is frozen


def test_the_memory_probe_takes_the_whole_batch_with_every_loss(tmp_path, perceptual_weights, monkeypatch):
    config = acr_config(tmp_path, tmp_path, perceptual_weights, adversarial_after_images=10**6)
    steps = []

    def build(tried, processes) -> Any:
        recipe = build_recipe(tried, processes)
        return SimpleNamespace(step=lambda batch: steps.append((batch.image.shape, recipe.step(batch))))

    monkeypatch.setattr(trial, "build_recipe", build)
    probe_memory(config, ALONE)
    ((shape, values),) = steps
    assert shape == (4, 3, 64, 64) and "r1" in values


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
        probe_memory(config, ALONE)


def test_other_errors_stay_what_they_are(tmp_path):
    with (
        pytest.raises(RuntimeError, match="a mistake of ours"),
        explain_step_memory(ALONE.device, mae_config(tmp_path, tmp_path).step_numbers),
    ):
        raise RuntimeError("a mistake of ours")


def test_pictures_that_do_not_fit_the_preset_are_told_before_any_is_read(tmp_path):
    with pytest.raises(ConfigError, match="size is 128, expected 64 throughout, the side of mae-tiny"):
        PriorRecipe(mae_config(tmp_path, tmp_path, size=128), ALONE)
    with pytest.raises(ConfigError, match="and neither smallest_size nor early_size"):
        PriorRecipe(mae_config(tmp_path, tmp_path, early_size=32, early_share=0.5), ALONE)
