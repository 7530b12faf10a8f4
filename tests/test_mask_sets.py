"""Mask sets on disk: what a seed draws, what a manifest promises, and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from inpaint.errors import DataError
from inpaint.mask_sets import hash_masks

HALF = np.array([[True, False], [True, False], [True, False]])


def test_the_hash_is_the_documented_one() -> None:
    inner = hashlib.sha256(b"3 2\n" + bytes([0b10101000])).digest()
    assert hash_masks([("a", HALF)]) == hashlib.sha256(b"a\0" + inner).hexdigest()


def test_the_hash_sees_names_pixels_and_shapes_but_no_order() -> None:
    masks = [("a", HALF), ("b", ~HALF)]
    assert hash_masks(masks) == hash_masks(reversed(masks))
    assert hash_masks([("e\u0301", HALF)]) == hash_masks([("\u00e9", HALF)])
    others = [
        [("a", HALF)],
        [("a", ~HALF), ("b", HALF)],
        [("a", HALF), ("c", ~HALF)],
        [("a", HALF.reshape(2, 3)), ("b", ~HALF)],
        [],
    ]
    assert len({hash_masks(masks), *(hash_masks(other) for other in others)}) == 1 + len(others)
    with pytest.raises(DataError, match="two masks named 'a'"):
        hash_masks([("a", HALF), ("a", HALF)])
