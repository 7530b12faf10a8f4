"""What a scoring run measured, as plain data: the scorer writes it, every report reads it.

Nothing here computes. A report has every image's values, so that tables, intervals, bins and galleries can be
made again without scoring again.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cattrs

from inpaint.errors import DataError

FORMAT = 3
RowKind = Literal["baseline", "model", "files"]


@dataclass(frozen=True)
class Column:
    """One measure: a column of the table."""

    key: str  # in data files, such as hole_psnr
    title: str  # for people, such as hole PSNR
    digits: int  # after the decimal point
    higher_is_better: bool
    of_set: bool = False  # one number for all images together (FID), not a mean over images (PSNR)

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
    """What a method changed in the known region, before its prediction was composited."""

    pixels: float  # share of known pixels that differ from the truth in any channel, 0 to 1
    mean: float  # absolute difference in 8-bit levels
    worst: float


@dataclass(frozen=True)
class Row:
    """One method: a fill without a network, a model run here, or image files made elsewhere."""

    name: str
    kind: RowKind
    values: Mapping[str, Value]  # by column key
    bins: tuple[Bin, ...] = ()  # by hole ratio, rising
    images: tuple[ImageScores, ...] = ()  # sorted by stem
    known_change: KnownChange | None = None  # None where it cannot change the known region
    seconds_per_image: float | None = None  # of the fill alone; None for files
    folder: str | None = None  # where its images lie, for galleries, if they were kept
    missing: tuple[str, ...] = ()  # stems of images it has no prediction for


@dataclass(frozen=True)
class Report:
    """Everything a table, a file or a page says."""

    protocol: str
    definition: str  # what was measured and how, in sentences for the reader
    n: int  # images scored
    size: str  # H x W, or mixed
    hole_ratio: float  # mean over images
    images_hash: str  # of the ground truth pixels; equal hashes, equal task
    masks_hash: str  # as `inpaint masks` prints it
    columns: tuple[Column, ...]  # in the table's order
    unmeasured: Mapping[str, str] = field(default_factory=dict)  # titles of what was not measured, and why
    rows: tuple[Row, ...] = ()  # in the order they were given
    warnings: tuple[str, ...] = ()  # what a reader must know before trusting a number
    notes: Mapping[str, str] = field(default_factory=dict)  # models, device, versions: how to repeat it
    images: str | None = None  # folder of the ground truth, for galleries
    masks: str | None = None  # folder or zip of the masks, for galleries
    resized_to: int | None = None  # side of the square everything was brought to, if it was
    cycled_masks: bool = False  # masks belong to images by order, not by name

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


def to_plain(report: Report) -> dict[str, Any]:
    """A report as plain values for JSON."""
    return {"format": FORMAT, **plain(report)}


def plain(value: Any) -> Any:
    """Values as JSON has them, which knows neither infinity nor NaN: they become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # "inf", "-inf", "nan": float() reads them back
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def from_plain(values: Mapping[str, Any]) -> Report:
    """The inverse of :func:`to_plain`; DataError if it is no report, or one of another format."""
    if values.get("format") != FORMAT:
        raise DataError(f"got a report of format {values.get('format')!r}; expected {FORMAT}")
    try:
        return _CONVERTER.structure({k: v for k, v in values.items() if k != "format"}, Report)
    except Exception as error:  # cattrs passes on whatever a value of another kind raises
        raise DataError(f"this is no whole report ({error}); write it again with --out NAME.json") from None


def read_report(path: Path | str) -> Report:
    """Read the JSON form; DataError if the file is missing or is no report."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a report ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: got no report; expected the JSON that --out NAME.json writes")
    return from_plain(values)


_CONVERTER = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
