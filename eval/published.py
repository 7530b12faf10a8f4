"""Published scores, as ``published.toml`` records them. Nothing of it was measured here."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from inpaint.strict import read_table

PUBLISHED = Path(__file__).with_name("published.toml")


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
    """A measure as a protocol defines it."""

    title: str
    higher_is_better: bool
    own_definition: bool  # the protocol's own: the standard one gives another number
    too_high_by: str | None = None  # what it adds to the textbook's value, where that is a constant


@dataclass(frozen=True)
class PublishedProtocol:
    """How a table's numbers came about: the protocol of ours that agrees, the columns, what to beware of."""

    scored_as: str
    columns: Mapping[str, PublishedColumn]
    traps: tuple[str, ...]


@dataclass(frozen=True)
class PublishedRow:
    """A method's scores by column key, with the digits of the print; what was not printed is not there."""

    label: str
    method: str
    scores: Mapping[str, str]


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper."""

    key: str
    title: str
    size: int
    protocol: PublishedProtocol
    images: str  # which they were, in words
    masks: str
    source: str
    traps: tuple[str, ...]  # of this table, beside those of its protocol
    rows: tuple[PublishedRow, ...]  # in the printed order
    methods: Mapping[str, PublishedMethod]
    n: int | None = None  # how many images, if known
    masks_hole_ratio: float | None = None

    def score(self, row: PublishedRow, key: str, *, textbook: bool = False) -> Decimal | None:
        """A printed value, or the textbook's; None if it was not printed or cannot be converted."""
        column = self.protocol.columns[key]
        if key not in row.scores or (textbook and column.own_definition and column.too_high_by is None):
            return None
        return Decimal(row.scores[key]) - Decimal(column.too_high_by or 0 if textbook else 0)


@cache
def read_published() -> Mapping[str, PublishedTable]:
    """Read the published tables by name."""
    content = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    tables = {}
    for key, table in content["tables"].items():
        rows = []
        for row in table["rows"]:
            label = row.get("label", content["methods"][row["method"]]["label"])
            scores = {name: text for name, text in row.items() if name not in ("method", "label")}
            rows.append({"label": label, "method": row["method"], "scores": scores})
        known = {"key": key, "rows": rows, "methods": content["methods"]}
        known["protocol"] = content["protocols"][table["protocol"]]
        tables[key] = read_table({**table, **known}, PublishedTable, PUBLISHED.parent, f"tables.{key}.")
    return tables
