"""Test sets of masks on disk: seeded, with a manifest and a hash, so that two scores can be compared."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from inpaint.errors import DataError


def hash_masks(masks: Iterable[tuple[str, NDArray[np.bool_]]]) -> str:
    """Hash a set of masks, so that a report can say which holes it was measured on.

    It is the SHA-256 over the stems in sorted order, each followed by the SHA-256 of that mask's height,
    width and bits. So it depends neither on the order in which the masks come nor on how their files are
    encoded, and no more than one mask is held in memory.

    Args:
        masks: stem of the file and ``(H, W)`` pixels, True = hole.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: a stem comes twice.
    """
    digests: dict[str, bytes] = {}
    for name, hole in masks:
        stem = unicodedata.normalize("NFC", name)  # an accent may be one character or two, by file system
        if stem in digests:
            raise DataError(f"got two masks named {stem!r}; expected one a name: rename one")
        height, width = hole.shape
        digests[stem] = hashlib.sha256(f"{height} {width}\n".encode() + np.packbits(hole).tobytes()).digest()
    total = hashlib.sha256()
    for stem in sorted(digests):
        total.update(stem.encode() + b"\0" + digests[stem])
    return total.hexdigest()
