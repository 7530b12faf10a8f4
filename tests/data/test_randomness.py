"""Everything random follows from the seed and a picture's number."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaint.data.randomness import epoch_order, image_seed, indices_at, make_generator, random_rows


@given(
    first=st.integers(0, 10**10), count=st.integers(1, 9), inner=st.integers(0, 8), columns=st.integers(1, 9)
)
def test_the_rows_of_a_picture_do_not_depend_on_what_is_drawn_with_it(first, count, inner, columns):
    rows = random_rows(3, "crops", first, count, columns)
    assert rows.shape == (count, columns) and ((rows >= 0) & (rows < 1)).all()
    number = inner % count
    assert np.array_equal(random_rows(3, "crops", first + number, 1, columns)[0], rows[number])


def test_seeds_and_purposes_have_streams_of_their_own():
    streams = [
        random_rows(seed, purpose, 0, 2000, 2).ravel() for seed in (0, 1) for purpose in ("crops", "colours")
    ]
    assert np.abs(np.corrcoef(streams) - np.eye(4)).max() < 0.06
    assert all(abs(stream.mean() - 0.5) < 0.02 for stream in streams)


def test_generators_and_seeds_differ_by_seed_purpose_and_position():
    places = [(0, "masks", 0), (1, "masks", 0), (0, "tokens", 0), (0, "masks", 1)]
    assert len({image_seed(*place) for place in places}) == 4
    assert len({torch.rand((), generator=make_generator(*place)).item() for place in places}) == 4
    assert image_seed(*places[0]) == image_seed(*places[0])


@given(count=st.integers(1, 40), batch_size=st.integers(1, 60), seed=st.integers(0, 5))
def test_every_epoch_visits_every_photo_once_whatever_the_batch(count, batch_size, seed):
    seen = [
        indices_at(count, batch_size, seed=seed, images_seen=start)
        for start in range(0, 3 * count, batch_size)
    ]
    order = torch.cat(seen)[: 3 * count].reshape(3, count)
    for epoch in range(3):
        assert torch.equal(order[epoch], epoch_order(count, seed, epoch))
        assert torch.equal(order[epoch].sort().values, torch.arange(count))


def test_epochs_and_seeds_differ():
    assert not torch.equal(epoch_order(100, 0, 0), epoch_order(100, 0, 1))
    assert not torch.equal(epoch_order(100, 0, 0), epoch_order(100, 1, 0))
