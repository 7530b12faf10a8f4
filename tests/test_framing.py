"""Boxes around holes, working sizes and padding: closed forms and properties."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inpaint.errors import ShapeError
from inpaint.framing import MOST_ENLARGED, Box, hole_boxes, pad_to_multiple, working_shape


def with_holes(height: int, width: int, *holes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for top, left, bottom, right in holes:
        mask[top:bottom, left:right] = True
    return mask


def check_boxes(mask: np.ndarray, boxes: list[Box]) -> None:
    """Inside the picture, no overlap, every hole pixel in exactly one box, no box without a hole."""
    cover = np.zeros(mask.shape, np.uint8)
    for box in boxes:
        assert 0 <= box.top < box.bottom <= mask.shape[0]
        assert 0 <= box.left < box.right <= mask.shape[1]
        assert mask[box.slices].any()
        cover[box.slices] += 1
    assert cover.max(initial=0) <= 1
    assert (cover[mask] == 1).all()


masks = st.tuples(st.integers(1, 70), st.integers(1, 70)).flatmap(
    lambda shape: st.one_of(
        arrays.arrays(bool, shape, fill=st.just(False)),
        arrays.arrays(bool, shape),
        st.just(np.ones(shape, bool)),
    )
)


@settings(deadline=None, max_examples=150)
@given(masks, st.sampled_from([0.0, 0.3, 0.5, 2.0]), st.integers(0, 90))
def test_boxes_partition_the_holes(mask: np.ndarray, context: float, smallest: int) -> None:
    boxes = hole_boxes(mask, context=context, smallest=smallest)
    check_boxes(mask, boxes)
    assert boxes == sorted(boxes)
    for box in boxes:
        assert box.shape[0] >= min(smallest, mask.shape[0])
        assert box.shape[1] >= min(smallest, mask.shape[1])


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_lone_hole_gets_its_context_unless_the_picture_ends(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 120))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    (box,) = hole_boxes(with_holes(height, width, (top, left, bottom, right)), context=0.5, smallest=1)
    assert box.top <= max(0, top - (bottom - top) // 2) and box.left <= max(0, left - (right - left) // 2)
    assert box.bottom >= min(height, bottom + (bottom - top) // 2)
    assert box.right >= min(width, right + (right - left) // 2)
    side = max(box.shape)
    assert box.shape == (min(side, height), min(side, width))  # square wherever the picture allows it


def test_closed_form_of_one_hole() -> None:
    mask = with_holes(400, 400, (100, 180, 140, 200))
    assert hole_boxes(mask, context=0.5, smallest=10) == [Box(80, 150, 160, 230)]


def test_a_box_at_the_edge_moves_inward() -> None:
    mask = with_holes(300, 500, (0, 490, 10, 500))
    assert hole_boxes(mask, smallest=64) == [Box(0, 436, 64, 500)]


def test_far_holes_stay_apart_and_near_holes_share_a_box() -> None:
    far = with_holes(400, 400, (10, 10, 20, 20), (370, 370, 380, 380))
    near = with_holes(400, 400, (10, 10, 20, 20), (60, 60, 70, 70))
    assert len(hole_boxes(far, smallest=64)) == 2
    assert len(hole_boxes(near, smallest=64)) == 1


def test_a_merged_strip_is_widened() -> None:
    mask = np.zeros((1000, 1000), bool)
    mask[500, 100:900:40] = True
    (box,) = hole_boxes(mask, smallest=64)
    assert max(box.shape) <= 2 * min(box.shape)


def test_no_hole_one_pixel_and_everything() -> None:
    assert hole_boxes(np.zeros((7, 9), bool)) == []
    assert hole_boxes(np.ones((1, 1), bool)) == [Box(0, 0, 1, 1)]
    assert hole_boxes(np.ones((7, 9), bool)) == [Box(0, 0, 7, 9)]


@pytest.mark.parametrize("smallest", [1, 16, 256])
def test_ten_thousand_specks_are_quick(smallest: int) -> None:
    generator = np.random.default_rng(0)
    mask = np.zeros((3000, 4000), bool)
    mask[generator.integers(0, 3000, 10_000), generator.integers(0, 4000, 10_000)] = True
    start = time.process_time()
    boxes = hole_boxes(mask, smallest=smallest)
    assert time.process_time() - start < 15  # about half a second; a quadratic way takes minutes
    check_boxes(mask, boxes)


@pytest.mark.parametrize("mask", [np.ones((3, 3), np.uint8), np.ones((1, 3, 3), bool)])
def test_other_arrays_are_refused(mask: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"expected \(H, W\) bool"):
        hole_boxes(mask)


def test_boxes_of_the_working_size_or_less_keep_their_size() -> None:
    for shape in [(1, 1), (256, 256), (100, 256), (7, 3)]:
        assert working_shape(np.ones(shape, bool), 256) == shape


def test_thick_holes_are_filled_at_the_working_size() -> None:
    assert working_shape(with_holes(1000, 500, (100, 100, 900, 400)), 256) == (256, 128)
    assert working_shape(np.ones((1000, 1000), bool), 256) == (256, 256)


def test_thin_holes_keep_the_detail_of_the_picture() -> None:
    scratch = with_holes(800, 800, (400, 0, 406, 800))
    assert working_shape(scratch, 256) == (800, 800)
    assert working_shape(with_holes(4000, 2000, (2000, 0, 2006, 2000)), 256) == (256 * MOST_ENLARGED, 512)


@settings(deadline=None, max_examples=60)
@given(masks, st.integers(1, 64))
def test_the_working_shape_never_exceeds_the_box(mask: np.ndarray, working_size: int) -> None:
    height, width = working_shape(mask, working_size)
    assert 1 <= height <= mask.shape[0] and 1 <= width <= mask.shape[1]
    assert max(height, width) <= MOST_ENLARGED * working_size
    assert max(height, width) >= min(working_size, *sorted(mask.shape)[1:])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 8, 16]))
def test_padding_is_undone_by_a_cut(height: int, width: int, multiple: int) -> None:
    tensor = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(tensor, multiple)
    assert padded.shape[-2] % multiple == 0 and padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple and padded.shape[-1] - width < multiple
    assert torch.equal(padded[..., :height, :width], tensor)
