"""What a scoring run measured, as plain data: the scorer writes it, every report reads it.

Nothing here computes. A report has every image's values, so that whoever reads its JSON can make tables,
intervals and bins of their own.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    images: str  # folder of the ground truth, for galleries
    masks: str  # folder or zip of the masks, for galleries
    unmeasured: Mapping[str, str] = field(default_factory=dict)  # titles of what was not measured, and why
    rows: tuple[Row, ...] = ()  # in the order they were given
    warnings: tuple[str, ...] = ()  # what a reader must know before trusting a number
    notes: Mapping[str, str] = field(default_factory=dict)  # models, device, versions: how to repeat it
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
        return str(value)  # "inf", "-inf", "nan"
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
