"""Published scores: one data file, read strictly. Nothing of it was measured here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from inpaint.errors import DataError

PUBLISHED = Path(__file__).with_name("published.toml")
_T = TypeVar("_T")
_NUMBER = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class PublishedMethod:
    """A method of a paper.

    Attributes:
        key: name in the data file.
        label: as tables print it.
        name: in full.
        paper: authors, title, venue.
        code: ``owner/name`` of its public code; empty where it has no page here.
        page: of these docs, on how to produce its outputs; empty for none.
    """

    key: str
    label: str
    name: str
    paper: str
    code: str = ""
    page: str = ""


@dataclass(frozen=True)
class PublishedColumn:
    """A measure as a protocol defines it.

    Attributes:
        key: as in ``eval.results.Column``.
        title: for people.
        higher_is_better: the direction of the arrow.
        own_definition: the protocol's own, so that the standard one gives another number.
        too_high_by: what the definition adds to the textbook's value, where that is a constant.
    """

    key: str
    title: str
    higher_is_better: bool
    own_definition: bool
    too_high_by: Decimal | None = None


@dataclass(frozen=True)
class PublishedProtocol:
    """How a table's numbers came about.

    Attributes:
        key: name in the data file.
        scored_as: the protocol of ours that has the same definitions.
        columns: in the table's order.
        traps: what a reader must know.
    """

    key: str
    scored_as: str
    columns: tuple[PublishedColumn, ...]
    traps: tuple[str, ...]


@dataclass(frozen=True)
class PublishedRow:
    """A method's printed scores by column key; what was not printed is not there."""

    label: str
    method: PublishedMethod
    scores: Mapping[str, Decimal]


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        key: its name on the command line.
        title: for people.
        size: side of the pictures in pixels.
        protocol: the definitions behind its numbers.
        n: how many pictures, where it is known.
        pictures: which pictures, in words.
        masks: which masks, in words.
        masks_hole_ratio: their mean hole ratio, where it is known.
        source: where the numbers were read.
        traps: of this table, beside those of its protocol.
        rows: in the printed order.
    """

    key: str
    title: str
    size: int
    protocol: PublishedProtocol
    n: int | None
    pictures: str
    masks: str
    masks_hole_ratio: float | None
    source: str
    traps: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


def corrected(value: Decimal, column: PublishedColumn) -> Decimal:
    """A printed value as the textbook defines it, with the printed digits; as it is without an offset."""
    return value - (column.too_high_by or 0)


@cache
def read_published(path: Path = PUBLISHED) -> Mapping[str, PublishedTable]:
    """Read the published tables by name.

    Raises:
        DataError: the file is missing, or anything in it is unknown, missing or of the wrong kind.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    try:
        _Part(content, "the file").only("methods", "protocols", "tables")
        methods = {key: _method(key, part) for key, part in _parts(content, "methods")}
        protocols = {key: _protocol(key, part) for key, part in _parts(content, "protocols")}
        return {key: _table(key, part, methods, protocols) for key, part in _parts(content, "tables")}
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


class _Part:
    """A table of the file; every access says where it stands and what was expected."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise DataError(f"{where} is {values!r}; expected a table")
        self.values = values
        self.where = where

    def only(self, *keys: str) -> None:
        """Refuse keys that nobody reads."""
        if unknown := sorted(set(self.values) - set(keys)):
            raise DataError(f"{self.where} has unknown keys {unknown}; expected {', '.join(keys)}")

    def take(self, key: str, kind: type[_T]) -> _T:
        """A required value of a kind."""
        value = self.values.get(key)
        if type(value) is not kind or value == "":
            raise DataError(f"{self.where}: {key} is {value!r}; expected {kind.__name__}")
        return value

    def take_or_none(self, key: str, kind: type[_T]) -> _T | None:
        """A value of a kind, or None where there is none."""
        return self.take(key, kind) if key in self.values else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A required list of texts."""
        values = self.take(key, list)
        if not all(isinstance(value, str) and value for value in values):
            raise DataError(f"{self.where}: {key} is {values!r}; expected a list of texts")
        return tuple(values)

    def number(self, key: str) -> Decimal:
        """A number written as text, so that it keeps its digits."""
        text = self.take(key, str)
        if not _NUMBER.fullmatch(text):
            raise DataError(f'{self.where}: {key} is {text!r}; expected a number as printed, such as "25.30"')
        return Decimal(text)

    def one_of(self, key: str, known: Mapping[str, _T]) -> _T:
        """What a required name stands for."""
        name = self.take(key, str)
        if name not in known:
            raise DataError(f"{self.where}: {key} is {name!r}; expected one of {', '.join(known)}")
        return known[name]


def _parts(values: Mapping[str, Any], key: str) -> list[tuple[str, _Part]]:
    part = _Part(values.get(key), key)
    return [(name, _Part(entry, f"{key}.{name}")) for name, entry in part.values.items()]


def _method(key: str, part: _Part) -> PublishedMethod:
    part.only("label", "name", "paper", "code", "page")
    required = (part.take(name, str) for name in ("label", "name", "paper"))
    return PublishedMethod(key, *required, *(part.take_or_none(name, str) or "" for name in ("code", "page")))


def _protocol(key: str, part: _Part) -> PublishedProtocol:
    part.only("scored_as", "traps", "columns")
    columns = tuple(_column(name, column) for name, column in _parts(part.values, "columns"))
    return PublishedProtocol(key, part.take("scored_as", str), columns, part.texts("traps"))


def _column(key: str, part: _Part) -> PublishedColumn:
    part.only("title", "higher_is_better", "own_definition", "too_high_by")
    return PublishedColumn(
        key,
        title=part.take("title", str),
        higher_is_better=part.take("higher_is_better", bool),
        own_definition=part.take("own_definition", bool),
        too_high_by=part.number("too_high_by") if "too_high_by" in part.values else None,
    )


def _table(
    key: str,
    part: _Part,
    methods: Mapping[str, PublishedMethod],
    protocols: Mapping[str, PublishedProtocol],
) -> PublishedTable:
    part.only(*(name for name in PublishedTable.__dataclass_fields__ if name != "key"))
    protocol = part.one_of("protocol", protocols)
    rows = part.take("rows", list)
    return PublishedTable(
        key=key,
        title=part.take("title", str),
        size=part.take("size", int),
        protocol=protocol,
        n=part.take_or_none("n", int),
        pictures=part.take("pictures", str),
        masks=part.take("masks", str),
        masks_hole_ratio=part.take_or_none("masks_hole_ratio", float),
        source=part.take("source", str),
        traps=part.texts("traps"),
        rows=tuple(
            _row(_Part(row, f"tables.{key}, row {number}"), methods, protocol)
            for number, row in enumerate(rows, start=1)
        ),
    )


def _row(part: _Part, methods: Mapping[str, PublishedMethod], protocol: PublishedProtocol) -> PublishedRow:
    keys = [column.key for column in protocol.columns]
    part.only("method", "label", *keys)
    method = part.one_of("method", methods)
    scores = {key: part.number(key) for key in keys if key in part.values}
    if not scores:
        raise DataError(f"{part.where}: got no score; expected some of {', '.join(keys)}")
    return PublishedRow(part.take_or_none("label", str) or method.label, method, scores)
