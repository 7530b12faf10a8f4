"""Test sets of masks on disk: seeded, with a manifest and a hash, so that two scores can be compared.

A set is a folder of 8-bit PNGs, white = hole, beside ``manifest.json``. Each mask follows from the seed, its
name and its size alone, so an interrupted set goes on where it stopped.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inpaint.atomic import atomic_write
from inpaint.errors import ConfigError, DataError, few
from inpaint.images import hole_from_mask, read_mask, write_image
from inpaint.random_masks import DRAWING_VERSION, ObjectShapes, default_limit, draw_candidates
from inpaint.strict import read_table

MANIFEST = "manifest.json"
BINS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
"""The usual groups of hole ratios."""

_FORMAT = "inpaint-masks-1"
_MOST_TRIES = 2000
_TRIES_AT_ONCE = 4
Size = tuple[int, int]  # (H, W)
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
    """What a set of masks is, and how it was made."""

    # of the drawing (`inpaint.random_masks.DRAWING_VERSION`): another draws other masks from a seed
    version: int
    kind: str  # one of `inpaint.random_masks.MASK_KINDS`
    seed: int  # of the set
    # allowed ranges, `low <= hole ratio < high`; mask i is in range i modulo their number
    hole_ratios: tuple[Range, ...]
    shapes: str | None  # hash of the object shapes, or None
    masks: tuple[MaskRecord, ...]  # the masks in the order of their making
    hash: str | None = None  # `hash_masks` of the set, or None while it is being made

    @property
    def mean_hole_ratio(self) -> float:
        """Over the masks of a finished set."""
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
        stem = _normal_name(name)
        if stem in digests:
            raise DataError(f"got two masks named {stem!r}; expected one a name: rename one")
        height, width = hole.shape
        digests[stem] = hashlib.sha256(f"{height} {width}\n".encode() + np.packbits(hole).tobytes()).digest()
    total = hashlib.sha256()
    for stem in sorted(digests):
        total.update(stem.encode() + b"\0" + digests[stem])
    return total.hexdigest()


def make_mask_set(
    folder: Path,
    kind: str,
    names: Sequence[tuple[str, Size]],
    *,
    seed: int = 0,
    hole_ratios: Sequence[Range] = (),
    shapes: ObjectShapes | None = None,
    on_mask: Callable[[], None] = lambda: None,
) -> Manifest:
    """Make a set of masks, or finish one that was interrupted; a finished one is only checked.

    Args:
        folder: where the set goes; new, empty, or holding the same set.
        kind: one of ``inpaint.random_masks.MASK_KINDS``.
        names: stem and (H, W) of every mask.
        seed: of the set.
        hole_ratios: allowed ranges ``low <= hole ratio < high``, for the masks in turn; by default up to what
            the kind allows (``inpaint.random_masks.default_limit``).
        shapes: object shapes for the kinds that use them.
        on_mask: called after each mask.

    Returns:
        The manifest of the finished set.

    Raises:
        ConfigError: an unknown kind, no masks, an impossible range, or one that this kind does not reach.
        DataError: the folder holds something else, or two names are equal.
    """
    ranges = tuple(hole_ratios) or ((0.0, default_limit(kind)),)
    for low, high in ranges:
        if not 0 <= low < high <= 1:
            raise ConfigError(f"got the hole ratios {low:g} to {high:g}; expected 0 <= low < high <= 1")
    records = tuple(MaskRecord(_normal_name(name), *size) for name, size in names)
    if not records or len({record.name for record in records}) < len(records):
        raise DataError(f"got {len(names)} masks to make; expected one or more, each with a name of its own")
    bits = np.unpackbits(shapes.bits.numpy(), axis=2).astype(np.bool_) if shapes else None
    shapes_hash = None if bits is None else hash_masks((f"{n}", shape) for n, shape in enumerate(bits))
    plan = Manifest(DRAWING_VERSION, kind, seed, ranges, shapes_hash, records)
    if _is_there(folder, plan):
        return verify(folder)

    for number in range(min(len(ranges), len(records))):
        _draw(plan, number, shapes)  # before anything is written: a range out of reach shows at once
    folder.mkdir(parents=True, exist_ok=True)
    _write_manifest(folder, plan)
    done = []

    def make_all() -> Iterator[tuple[str, NDArray[np.bool_]]]:
        for number, record in enumerate(records):
            path = folder / f"{record.name}.png"
            if path.exists():  # files are written whole or not at all
                hole = hole_from_mask(read_mask(path))
            else:
                hole = _draw(plan, number, shapes)
                write_image(Image.fromarray(hole), path)
            done.append(replace(record, hole_ratio=float(hole.mean())))
            yield record.name, hole
            on_mask()

    digest = hash_masks(make_all())
    manifest = replace(plan, masks=tuple(done), hash=digest)
    _write_manifest(folder, manifest)
    return manifest


def verify(folder: Path) -> Manifest:
    """Check that a folder holds exactly the masks of its manifest.

    DataError if there is no manifest, the set is unfinished, or a mask is missing, changed or one too many.
    """
    manifest = read_manifest(folder)
    if manifest.hash is None:
        raise DataError(f"the set of masks in {folder} is unfinished; make it again with the same options")
    expected = {f"{mask.name}.png": mask for mask in manifest.masks}
    found = _files(folder)
    if missing := sorted(expected.keys() - found):
        raise DataError(f"{folder} misses {few(missing)} of its {MANIFEST}; restore them")
    if foreign := sorted(found - expected.keys()):
        raise DataError(f"{folder} holds {few(foreign)} besides the masks of its {MANIFEST}; move it away")
    changed = []

    def read_all() -> Iterator[tuple[str, NDArray[np.bool_]]]:
        for name, mask in expected.items():
            hole = hole_from_mask(read_mask(folder / name))
            if hole.shape != (mask.height, mask.width) or hole.mean() != mask.hole_ratio:
                changed.append(name)
            yield mask.name, hole

    if hash_masks(read_all()) != manifest.hash:
        which = few(changed) if changed else "some mask, whose number of hole pixels is the same"
        raise DataError(f"the masks in {folder} do not have the hash of its {MANIFEST}: {which} changed")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a set of masks. DataError if there is none, or it is not one of ours."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no {MANIFEST} in {folder}; expected a folder made by `inpaint masks`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); expected what `inpaint masks` wrote") from error
    try:
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        count, _ = content.pop("count"), content.pop("size")
        manifest = read_table(content, Manifest, Path())
        if count != len(manifest.masks):
            raise ValueError(f"{count} masks announced, {len(manifest.masks)} listed")
        if odd := [mask.name for mask in manifest.masks if Path(mask.name).name != mask.name]:
            raise ValueError(f"{odd[0]!r} is not a file name")
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is not a manifest of masks ({error}); expected {_FORMAT!r}") from error
    return manifest


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into the folder of its set, whole or not at all."""
    sizes = {(mask.height, mask.width) for mask in manifest.masks}
    content = {
        "format": _FORMAT,
        "count": len(manifest.masks),
        "size": min(sizes) if len(sizes) == 1 else "various",
        **asdict(manifest),
    }
    with atomic_write(folder / MANIFEST) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def _draw(plan: Manifest, number: int, shapes: ObjectShapes | None) -> NDArray[np.bool_]:
    """Draw masks until one has the hole ratio."""
    record, (low, high) = plan.masks[number], plan.hole_ratios[number % len(plan.hole_ratios)]
    digest = hashlib.blake2b(f"{plan.seed}/{record.name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    height, width = record.height, record.width
    seen = []
    while len(seen) < _MOST_TRIES:
        drawn = draw_candidates(plan.kind, _TRIES_AT_ONCE, height, width, generator, shapes=shapes)
        for hole in drawn.view(np.bool_):
            seen.append(float(hole.mean()))
            if low <= seen[-1] < high and 0 < seen[-1] < 1:
                return hole
    raise ConfigError(
        f"no {plan.kind} mask of {height} x {width} has {100 * low:g} to {100 * high:g} % holes: "
        f"none of {len(seen):,} tries, which gave {100 * min(seen):.1f} to {100 * max(seen):.1f} %; "
        "choose another range or kind"
    )


def _is_there(folder: Path, plan: Manifest) -> bool:
    """Is the planned set there already, finished? DataError if something else is."""
    if not (folder / MANIFEST).exists():
        if not folder.exists() or not _files(folder):
            return False
        raise DataError(f"{folder} holds other files; expected a new or empty folder: name another")
    found = read_manifest(folder)
    planned = replace(found, masks=tuple(replace(mask, hole_ratio=None) for mask in found.masks), hash=None)
    for field, asked in vars(plan).items():
        if (here := getattr(planned, field)) != asked:
            told = "other names or sizes" if field == "masks" else f"{field} {here}, not {asked}"
            raise DataError(f"{folder} holds another set of masks ({told}); name another folder")
    return found.hash is not None


def _files(folder: Path) -> set[str]:
    names = {_normal_name(path.name) for path in folder.iterdir()}
    return {name for name in names if name != MANIFEST and not name.startswith(".")}


def _normal_name(name: str) -> str:
    """An accent may be one character or two, depending on the file system."""
    return unicodedata.normalize("NFC", name)
