"""Sides of training crops that change from batch to batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inpaint.train.sizes import cycling_sizes, size_after


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


def test_every_size_has_its_share_of_an_epoch():
    seen = [size_after(8 * batch, 8 * 1000, 8, 10, 256, 512) for batch in range(1000)]
    sizes, counts = np.unique(seen, return_counts=True)
    assert list(sizes) == list(range(256, 513, 16))
    assert counts[1:].max() - counts[1:].min() <= 10 and counts[0] > counts[1:].max()
    assert (np.abs(np.diff(seen)) <= 16).all()


def test_an_epoch_of_few_batches_still_visits_every_size():
    seen = {size_after(4 * batch, 4 * 40, 4, 64, 256, 512) for batch in range(40)}
    assert seen == set(range(256, 513, 16))
    assert size_after(0, 3, 8, 64, 256, 512) in range(256, 513)  # less than a batch of photos


def test_sizes_begin_anew_with_every_epoch_and_follow_from_the_images_seen():
    first = [size_after(8 * batch, 803, 8, 2, 64, 128) for batch in range(100)]
    second = [size_after(8 * (100 + batch), 803, 8, 2, 64, 128) for batch in range(100)]
    assert first == second and first[0] == 128
    assert size_after(48, 803, 8, 2, None, 128) == 128
