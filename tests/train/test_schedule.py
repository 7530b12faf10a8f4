"""Learning-rate factors and averaged weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaint.errors import CheckpointError
from inpaint.train.schedule import Ema, cosine_factor, milestone_factor, schedule_factor


def test_a_milestone_counts_once_it_is_passed():
    factors = [milestone_factor(step, [10, 20], gamma=0.5) for step in (0, 9, 10, 11, 20, 21, 1000)]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_milestones_inside_the_warmup_wait_for_its_end():
    factors = [milestone_factor(step, [5], warmup=10) for step in (0, 5, 9, 10)]
    assert factors == pytest.approx([0, 0.5, 0.9, 0.5])


def test_cosine_rises_falls_and_stays_down():
    factors = [cosine_factor(p, 110, warmup=10, floor=0.1) for p in (0, 5, 10, 60, 110, 500)]
    assert factors == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])
    assert cosine_factor(0, 100) == 1


@given(position=st.floats(0, 2000), warmup=st.floats(0, 500))
def test_factors_stay_between_zero_and_one(position, warmup):
    for name in ("constant", "cosine", "milestones"):
        factor = schedule_factor(name, position, 1000, warmup=warmup, milestones=[700])
        assert 0 <= factor <= 1
        if position < warmup:
            assert factor == pytest.approx(position / warmup)


def test_schedules_by_name():
    assert schedule_factor("constant", 900, 1000) == 1
    assert schedule_factor("cosine", 1000, 1000) == pytest.approx(0)
    assert schedule_factor("milestones", 900, 1000, milestones=[700]) == 0.5
    with pytest.raises(ValueError, match="expected constant, cosine or milestones"):
        schedule_factor("linear", 0, 1)


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


def test_average_approaches_the_trained_weights_and_copies_buffers():
    network = small_network()
    ema = Ema(network, decay=0.9)
    start = network[0].weight.detach().clone()  # type: ignore[union-attr]
    with torch.no_grad():
        network[0].weight.add_(1)  # type: ignore[union-attr]
    network(torch.randn(4, 3, 5, 5))
    for _ in range(3):
        ema.update(network)
    averaged = ema.state_dict()
    assert torch.allclose(averaged["0.weight"], start + (1 - 0.9**3), atol=1e-6)
    assert torch.equal(averaged["1.running_mean"], network.state_dict()["1.running_mean"])
    assert int(averaged["1.num_batches_tracked"]) == 1
    assert not ema.network.training and not any(p.requires_grad for p in ema.network.parameters())


def test_decay_zero_copies():
    network = small_network()
    ema = Ema(network, decay=0)
    with torch.no_grad():
        network[0].weight.mul_(3)  # type: ignore[union-attr]
    ema.update(network)
    assert torch.allclose(ema.state_dict()["0.weight"], network.state_dict()["0.weight"])


def test_state_round_trip_and_misfit():
    ema, other = Ema(small_network()), Ema(small_network())
    other.load_state_dict(ema.state_dict())
    with pytest.raises(CheckpointError, match="averaged weights do not fit"):
        other.load_state_dict({"0.weight": torch.zeros(1)})
