"""Published scores: one data file, read strictly. Nothing of it was measured here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TypeVar

from inpaint.errors import ConfigError, DataError
from inpaint.strict import read_table

PUBLISHED = Path(__file__).with_name("published.toml")
_T = TypeVar("_T")
_NUMBER = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class PublishedMethod:
    """A method of a paper: its label in tables, full name, paper, and code and page of these docs, if any."""

    label: str
    name: str
    paper: str
    code: str = ""
    page: str = ""


@dataclass(frozen=True)
class PublishedColumn:
    """A measure as a protocol defines it.

    Attributes:
        title: for people.
        higher_is_better: the direction of the arrow.
        own_definition: the protocol's own, so that the standard one gives another number.
        too_high_by: what the definition adds to the textbook's value, where that is a constant.
    """

    title: str
    higher_is_better: bool
    own_definition: bool
    too_high_by: str | None = None


@dataclass(frozen=True)
class PublishedProtocol:
    """How a table's numbers came about: the protocol of ours that agrees, the columns, what to beware of."""

    scored_as: str
    columns: Mapping[str, PublishedColumn]
    traps: tuple[str, ...]


@dataclass(frozen=True)
class PublishedRow:
    """A method's printed scores by column key; what was not printed is not there."""

    label: str
    method: str
    scores: Mapping[str, Decimal]


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        key: its name on the command line.
        title: for people.
        size: side of the images in pixels.
        protocol: the definitions behind its numbers.
        images: which images, in words.
        masks: which masks, in words.
        source: where the numbers were read.
        traps: of this table, beside those of its protocol.
        rows: in the printed order.
        methods: of the rows, by key.
        n: how many images; None where that is not known.
        masks_hole_ratio: mean of the masks; None where it is not known.
    """

    key: str
    title: str
    size: int
    protocol: PublishedProtocol
    images: str
    masks: str
    source: str
    traps: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    methods: Mapping[str, PublishedMethod]
    n: int | None
    masks_hole_ratio: float | None


@dataclass(frozen=True)
class _Table:
    """A table as the file has it."""

    title: str
    size: int
    protocol: str
    images: str
    masks: str
    source: str
    traps: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    n: int | None = None
    masks_hole_ratio: float | None = None


@dataclass(frozen=True)
class _File:
    methods: Mapping[str, PublishedMethod]
    protocols: Mapping[str, PublishedProtocol]
    tables: Mapping[str, _Table]


def corrected(value: Decimal, column: PublishedColumn) -> Decimal:
    """A printed value as the textbook defines it, with the printed digits; as it is without an offset."""
    return value - Decimal(column.too_high_by or 0)


@cache
def read_published(path: Path = PUBLISHED) -> Mapping[str, PublishedTable]:
    """Read the published tables by name.

    Raises:
        DataError: the file is missing, or anything in it is unknown, missing or of the wrong kind.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        file = read_table(content, _File, path.parent)
        for key, protocol in file.protocols.items():
            for name, column in protocol.columns.items():
                if column.too_high_by is not None:
                    _number(column.too_high_by, f"protocols.{key}.columns.{name}.too_high_by")
        return {key: _table(key, table, file) for key, table in file.tables.items()}
    except (OSError, ValueError, ConfigError) as error:
        raise DataError(f"{path}: {error}") from None


def _table(key: str, table: _Table, file: _File) -> PublishedTable:
    protocol = _one_of(table.protocol, file.protocols, f"tables.{key}.protocol")
    rows = []
    for number, row in enumerate(table.rows, start=1):
        where = f"tables.{key}, row {number}"
        method = row.get("method", "")
        label = row.get("label", _one_of(method, file.methods, f"{where}: method").label)
        scores = {
            name: _number(text, f"{where}: {name}")
            for name, text in row.items()
            if name not in ("method", "label") and _one_of(name, protocol.columns, f"{where}: column")
        }
        if not scores:
            raise ConfigError(f"{where}: got no score; expected some of {', '.join(protocol.columns)}")
        rows.append(PublishedRow(label, method, scores))
    known = {**vars(table), "key": key, "protocol": protocol, "rows": tuple(rows), "methods": file.methods}
    return PublishedTable(**known)


def _one_of(name: str, known: Mapping[str, _T], where: str) -> _T:
    if name not in known:
        raise ConfigError(f"{where} is {name!r}; expected one of {', '.join(known)}")
    return known[name]


def _number(text: str, where: str) -> Decimal:
    """A number written as text, so that it keeps its digits."""
    if not _NUMBER.fullmatch(text):
        raise ConfigError(f'{where} is {text!r}; expected a number as printed, such as "25.30"')
    return Decimal(text)
