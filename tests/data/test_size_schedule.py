"""Sides of training crops that change from batch to batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inpaint.data.config import DataConfig
from inpaint.data.crops import cycling_sizes, size_at


@given(
    batches=st.integers(1, 3000),
    rounds=st.integers(1, 64),
    steps=st.integers(1, 20),
    smallest=st.sampled_from([64, 256]),
)
def test_sizes_are_whole_tokens_between_the_ends_and_outlast_the_epoch(batches, rounds, steps, smallest):
    largest = smallest + 16 * steps
    sizes = cycling_sizes(batches * 8, 8, rounds, smallest, largest)
    assert ((sizes % 16 == 0) & (sizes >= smallest) & (sizes <= largest)).all()
    assert len(sizes) >= batches
    assert np.array_equal(sizes, sizes[::-1])  # what falls rises again


def settings(batch_size: int, rounds: int, smallest_size: int | None = 256) -> DataConfig:
    return DataConfig(
        photos=(Path("photos"),), out=Path("run"), batch_size=batch_size, images=1,
        size=512, smallest_size=smallest_size, size_rounds=rounds,
    )  # fmt: skip


def sizes_of(batches: range, photos: int, config: DataConfig) -> list[int]:
    return [size_at(config, config.batch_size * batch, photos) for batch in batches]


def test_every_size_has_its_share_of_an_epoch():
    seen = sizes_of(range(1000), 8000, settings(8, rounds=10))
    sizes, counts = np.unique(seen, return_counts=True)
    assert list(sizes) == list(range(256, 513, 16))
    assert counts[1:].max() - counts[1:].min() <= 10 and counts[0] > counts[1:].max()
    assert (np.abs(np.diff(seen)) <= 16).all()


def test_an_epoch_of_few_batches_still_visits_every_size():
    assert set(sizes_of(range(40), 160, settings(4, rounds=64))) == set(range(256, 513, 16))
    assert size_at(settings(8, rounds=64), 0, photos=3) in range(256, 513)  # less than a batch of photos


def test_sizes_begin_anew_with_every_epoch():
    config = settings(8, rounds=2)
    first, second = sizes_of(range(100), 803, config), sizes_of(range(100, 200), 803, config)
    assert first == second and first[0] == 512 and min(first) == 256


def test_without_a_smallest_size_it_never_changes():
    assert size_at(settings(8, rounds=2, smallest_size=None), 48, photos=803) == 512


def test_the_first_part_of_a_run_may_be_small():
    config = DataConfig(
        photos=(Path("photos"),), out=Path("run"), batch_size=4, images=40, size=64, early_size=32,
        early_share=0.5,
    )  # fmt: skip
    assert [size_at(config, seen, photos=8) for seen in range(0, 40, 4)] == [32] * 5 + [64] * 5
