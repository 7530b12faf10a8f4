"""Learning-rate factors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpaint.train.optimise import schedule_factor


def test_a_milestone_counts_once_it_is_passed():
    factors = [
        schedule_factor("milestones", step, 0, milestones=[10, 20]) for step in (0, 9, 10, 11, 20, 21, 1000)
    ]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_milestones_inside_the_warmup_wait_for_its_end():
    factors = [schedule_factor("milestones", step, 0, milestones=[5], warmup=10) for step in (0, 5, 9, 10)]
    assert factors == pytest.approx([0, 0.5, 0.9, 0.5])


def test_cosine_rises_falls_and_stays_down():
    factors = [schedule_factor("cosine", p, 110, warmup=10) for p in (0, 5, 10, 60, 110, 500)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0, 0])
    assert schedule_factor("cosine", 0, 100) == 1


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
