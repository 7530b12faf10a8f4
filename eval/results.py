"""What a scoring run measured, as plain data: the scorer writes it, every report reads it.

Nothing here computes. A report has every image's values, so that tables, intervals, bins and galleries can be
made again without scoring again.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cattrs

from inpaint.errors import DataError

FORMAT = 2
RowKind = Literal["baseline", "model", "files"]


@dataclass(frozen=True)
class Column:
    """One measure: a column of the table.

    Attributes:
        key: name in data files, such as ``hole_psnr``.
        title: name for people, such as ``hole PSNR``.
        digits: after the decimal point.
        higher_is_better: the direction of the arrow.
        of_set: one number for all images together (FID), not a mean over images (PSNR).
    """

    key: str
    title: str
    digits: int
    higher_is_better: bool
    of_set: bool = False

    def format(self, value: float | None, *, signed: bool = False) -> str:
        """A cell's text; a dash where there is no value."""
        if value is None or math.isnan(value):
            return "-"
        return f"{value:{'+' if signed else ''}.{self.digits}f}"

    @property
    def heading(self) -> str:
        """Title and arrow."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True)
class Unmeasured:
    """A measure of the protocol that is left out, with what it would take."""

    title: str
    why: str


@dataclass(frozen=True)
class Value:
    """A number and its 95 % bootstrap interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ImageScores:
    """One image's values by column key; columns of the whole set are not among them."""

    stem: str
    hole_ratio: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Bin:
    """Means over the images whose hole ratio lies in ``low <= ratio < high``."""

    low: float
    high: float
    n: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class KnownChange:
    """What a method changed in the known region, before its prediction was composited.

    ``pixels`` is the share of known pixels that differ from the truth in any channel, 0 to 1; ``mean`` and
    ``worst`` are absolute differences in 8-bit levels.
    """

    pixels: float
    mean: float
    worst: float


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        name: as the tables print it.
        kind: a fill without a network, a model run here, or image files made elsewhere.
        values: by column key.
        bins: by hole ratio, rising.
        images: their scores, sorted by stem.
        known_change: None where the method cannot change the known region.
        seconds_per_image: of the fill alone; None for files.
        folder: where its images lie, for galleries; None if they were not kept.
        missing: stems of images it has no prediction for.
    """

    name: str
    kind: RowKind
    values: Mapping[str, Value]
    bins: tuple[Bin, ...] = ()
    images: tuple[ImageScores, ...] = ()
    known_change: KnownChange | None = None
    seconds_per_image: float | None = None
    folder: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything a table, a file or a page says.

    Attributes:
        protocol: ``standard``, ``mae-far``, ``lama`` or ``validation``.
        definition: what was measured and how, in sentences for the reader.
        n: images scored.
        size: ``H x W``, or ``mixed``.
        hole_ratio: mean over images.
        images_hash: of the ground truth pixels; equal hashes, equal task.
        masks_hash: of the masks, as ``inpaint masks`` prints it.
        columns: what was measured, in the table's order.
        unmeasured: what was not, and why.
        rows: the methods, in the order they were given.
        warnings: what a reader must know before trusting a number.
        notes: origin of models, device, versions, command: what it takes to repeat it.
        images: folder of the ground truth, for galleries.
        masks: folder or zip of the masks, for galleries.
    """

    protocol: str
    definition: str
    n: int
    size: str
    hole_ratio: float
    images_hash: str
    masks_hash: str
    columns: tuple[Column, ...]
    unmeasured: tuple[Unmeasured, ...] = ()
    rows: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    images: str | None = None
    masks: str | None = None

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


def to_plain(report: Report) -> dict[str, Any]:
    """A report as plain values for JSON, which knows neither infinity nor NaN: they become text."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # "inf", "-inf", "nan": float() reads them back
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value

    return {"format": FORMAT, **plain(dataclasses.asdict(report))}


def from_plain(values: Mapping[str, Any]) -> Report:
    """The inverse of :func:`to_plain`.

    Raises:
        DataError: not a report, or one of another format.
    """
    if values.get("format") != FORMAT:
        raise DataError(f"got a report of format {values.get('format')!r}; expected {FORMAT}")
    content = {key: value for key, value in values.items() if key != "format"}
    try:
        return _CONVERTER.structure(content, Report)
    except Exception as error:  # cattrs passes on whatever a value of another kind raises
        raise DataError(f"this is no whole report ({error}); write it again with --out NAME.json") from None


def read_report(path: Path | str) -> Report:
    """Read the JSON form.

    Raises:
        DataError: the file is missing or is no report.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a report ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: got no report; expected the JSON that --out NAME.json writes")
    return from_plain(values)


_CONVERTER = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
