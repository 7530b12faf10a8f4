"""Learning-rate factors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpaint.train.schedule import cosine_factor, milestone_factor, schedule_factor


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
