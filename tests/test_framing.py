"""Boxes around holes, working sizes and padding: closed forms and properties."""

from __future__ import annotations

import time
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inpaint.framing import Box, hole_windows, pad_to_multiple, surround, thick_holes


def with_holes(height: int, width: int, *holes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for top, left, bottom, right in holes:
        mask[top:bottom, left:right] = True
    return mask


masks = st.tuples(st.integers(1, 200), st.integers(1, 200)).flatmap(
    lambda shape: st.one_of(
        arrays.arrays(bool, shape, fill=st.just(False)),
        st.just(np.ones(shape, bool)),
    )
)


@settings(max_examples=100)
@given(masks, st.integers(1, 20), st.sampled_from([4, 16, 40]), st.sampled_from([32, 100]))
def test_windows_cover_every_hole(mask: np.ndarray, margin: int, more: int, near: int) -> None:
    largest = 2 * margin + more
    left = mask.copy()
    windows = hole_windows(mask, margin=margin, largest=largest, near=near)
    for window in windows:
        core, box = window.core, window.box
        left[core.slices] = False
        assert mask[core.slices].any()
        assert max(box.shape) <= largest and 0 <= window.wave < 4
        for low, high, inner_low, inner_high, end in (
            (box.top, box.bottom, core.top, core.bottom, mask.shape[0]),
            (box.left, box.right, core.left, core.right, mask.shape[1]),
        ):
            assert 0 <= low <= inner_low < inner_high <= high <= end
            if largest <= end:  # the margin is kept, or the image ends
                assert min(inner_low - low, margin) == min(inner_low, margin)
                assert min(high - inner_high, margin) == min(end - inner_high, margin)
    assert not left.any()
    assert [w.wave for w in windows] == sorted(w.wave for w in windows)


def test_far_specks_have_their_own_windows_and_near_ones_share() -> None:
    far = with_holes(500, 500, (10, 10, 14, 14), (300, 300, 304, 304))
    near = with_holes(500, 500, (100, 100, 104, 104), (100, 110, 104, 114))
    windows = hole_windows(far, margin=12, largest=128)
    assert [window.box for window in windows] == [Box(0, 0, 32, 32), Box(286, 286, 318, 318)]
    assert [window.core for window in hole_windows(near, margin=12, largest=128)] == [Box(100, 100, 104, 114)]
    assert len(hole_windows(far, margin=12, largest=512, near=500)) == 1


def test_neighbouring_cores_of_a_long_scratch_differ_in_wave() -> None:
    windows = hole_windows(with_holes(64, 1000, (30, 20, 34, 980)), margin=12, largest=128)
    by_place = sorted(windows, key=lambda window: window.core.left)
    assert [window.wave for window in by_place] == [0, 1] * 5
    assert all(a.core.right == b.core.left for a, b in pairwise(by_place))
    assert {window.box.shape for window in windows} == {(64, 128)}


def test_a_disc_is_as_thick_as_its_diameter_and_a_scratch_is_left_out() -> None:
    mask = np.zeros((400, 500), np.uint8)
    cv2.circle(mask, (200, 200), 60, 1, -1)
    disc = mask > 0
    cv2.line(mask, (200, 200), (490, 20), 1, 4)
    (thick,) = thick_holes(mask > 0, 50)
    assert thick.thickness == pytest.approx(121, abs=3)
    found = np.zeros_like(disc)
    found[thick.box.slices] = thick.mask
    assert found[disc].all()
    assert not found[:80].any()  # where only the line is
    assert thick_holes(mask > 0, 130) == []


def test_the_corners_of_a_thick_square_belong_to_it_and_the_border_is_no_evidence() -> None:
    (thick,) = thick_holes(with_holes(200, 200, (0, 0, 80, 80)), 60)
    assert thick.box == Box(0, 0, 80, 80) and thick.mask.all()
    assert thick.thickness == pytest.approx(160, abs=2)  # a quarter of a disc of radius 80
    (whole,) = thick_holes(np.ones((30, 50), bool), 20)
    assert whole.mask.all() and whole.thickness == 100  # nothing known: twice the longer side


def test_thick_holes_apart_are_apart_and_the_largest_comes_first() -> None:
    mask = with_holes(600, 600, (50, 50, 150, 150), (300, 300, 500, 500), (10, 500, 14, 504))
    found = thick_holes(mask, 48)
    assert [thick.box for thick in found] == [Box(300, 300, 500, 500), Box(50, 50, 150, 150)]


def test_ten_thousand_specks_are_quick() -> None:
    generator = np.random.default_rng(0)
    mask = np.zeros((3000, 4000), bool)
    mask[generator.integers(0, 3000, 10_000), generator.integers(0, 4000, 10_000)] = True
    start = time.process_time()
    windows = hole_windows(mask, margin=12, largest=128)
    assert time.process_time() - start < 10
    assert sum(int(mask[w.core.slices].sum()) for w in windows) >= mask.sum()


def test_a_square_about_a_box_moves_inside_the_image() -> None:
    assert surround(Box(0, 90, 4, 98), 20, (100, 100)) == Box(0, 80, 20, 100)
    assert surround(Box(40, 40, 60, 90), 20, (100, 100)) == Box(40, 40, 60, 90)
    assert surround(Box(3, 3, 4, 4), 64, (10, 200)) == Box(0, 0, 10, 64)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 8, 16]))
def test_padding_is_undone_by_a_cut(height: int, width: int, multiple: int) -> None:
    tensor = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(tensor, multiple)
    assert padded.shape[-2] % multiple == 0 and padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple and padded.shape[-1] - width < multiple
    assert torch.equal(padded[..., :height, :width], tensor)
