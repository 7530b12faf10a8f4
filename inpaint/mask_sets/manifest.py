"""What is written beside a set of masks: how it was made, every mask, and the hash of them all."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inpaint.atomic import atomic_write
from inpaint.errors import ConfigError, DataError
from inpaint.strict import read_table

MANIFEST = "manifest.json"
FORMAT = "inpaint-masks-1"

Range = tuple[float, float]  # low <= hole ratio < high


@dataclass(frozen=True)
class MaskRecord:
    """One mask of a set; its file is ``<name>.png``. The hole ratio is None until the set is finished."""

    name: str
    height: int
    width: int
    hole_ratio: float | None = None


@dataclass(frozen=True)
class Manifest:
    """What a set of masks is, and how it was made.

    Attributes:
        version: of the drawing (``inpaint.random_masks.DRAWING_VERSION``): another draws other masks
            from a seed.
        kind: one of ``inpaint.random_masks.MASK_KINDS``.
        seed: of the set.
        hole_ratios: allowed ranges, ``low <= hole ratio < high``; mask i is in range i modulo their number.
        shapes: hash of the object shapes, or None.
        masks: the masks in the order of their making.
        hash: ``hash_masks`` of the set, or None while it is being made.
    """

    version: int
    kind: str
    seed: int
    hole_ratios: tuple[Range, ...]
    shapes: str | None
    masks: tuple[MaskRecord, ...]
    hash: str | None = None

    @property
    def mean_hole_ratio(self) -> float:
        """Mean over the masks of a finished set."""
        return float(np.mean([mask.hole_ratio or 0.0 for mask in self.masks]))


def hash_masks(masks: Iterable[tuple[str, NDArray[np.bool_]]]) -> str:
    """Hash a set of masks, so that a report can say which holes it was measured on: 64 hexadecimal digits.

    It is the SHA-256 over the stems in sorted order, each followed by the SHA-256 of that mask's height,
    width and bits: neither the order of the masks nor how their files are encoded matters.

    Args:
        masks: stem of the file and ``(H, W)`` pixels, True = hole.

    Raises:
        DataError: a stem comes twice.
    """
    digests: dict[str, bytes] = {}
    for name, hole in masks:
        stem = normal_name(name)
        if stem in digests:
            raise DataError(f"got two masks named {stem!r}; expected one a name: rename one")
        height, width = hole.shape
        digests[stem] = hashlib.sha256(f"{height} {width}\n".encode() + np.packbits(hole).tobytes()).digest()
    total = hashlib.sha256()
    for stem in sorted(digests):
        total.update(stem.encode() + b"\0" + digests[stem])
    return total.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a set of masks.

    Raises:
        DataError: there is none, or it is not one of ours.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no {MANIFEST} in {folder}; expected a folder made by `inpaint masks`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); expected what `inpaint masks` wrote") from error
    try:
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        count, _ = content.pop("count"), content.pop("size")
        manifest = read_table(content, Manifest, Path())
        if count != len(manifest.masks):
            raise ValueError(f"{count} masks announced, {len(manifest.masks)} listed")
        if odd := [mask.name for mask in manifest.masks if Path(mask.name).name != mask.name]:
            raise ValueError(f"{odd[0]!r} is not a file name")
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is not a manifest of masks ({error}); expected format {FORMAT!r}") from error
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into the folder of its set, whole or not at all."""
    sizes = {(mask.height, mask.width) for mask in manifest.masks}
    content = {
        "format": FORMAT,
        "count": len(manifest.masks),
        "size": min(sizes) if len(sizes) == 1 else "various",
        **asdict(manifest),
    }
    with atomic_write(folder / MANIFEST) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def normal_name(name: str) -> str:
    """An accent may be one character or two, depending on the file system."""
    return unicodedata.normalize("NFC", name)
