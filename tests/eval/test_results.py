"""The plain data of a report: all of it is in its JSON."""

from __future__ import annotations

import dataclasses
import json
import math

from eval.results import Bin, Column, KnownChange, Value, to_plain
from tests.eval.make_reports import from_plain, make_report, make_row

ROW = make_row("acr", [21.0, math.inf, 25.0], bins=(Bin(0.2, 0.3, 3, {"psnr": math.inf}),))
FULL = make_report(
    dataclasses.replace(
        ROW,
        known_change=KnownChange(0.1, 0.5, 3.0),
        seconds_per_image=0.25,
        missing=("d",),
        folder="some/where",
    ),
    make_row("perfect", [math.inf] * 3, fid=-0.0),
)


def through_json(values: dict) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(values, allow_nan=False), parse_constant=refuse)


def test_a_report_comes_back_from_strict_json() -> None:
    back = from_plain(through_json(to_plain(FULL)))
    assert back == FULL


def test_not_a_number_stays_one() -> None:
    row = dataclasses.replace(ROW, values={"psnr": Value(math.nan, -math.inf, math.inf)})
    value = from_plain(through_json(to_plain(make_report(row)))).rows[0].values["psnr"]
    assert math.isnan(value.value) and (value.low, value.high) == (-math.inf, math.inf)


def test_a_missing_interval_stays_missing() -> None:
    row = dataclasses.replace(ROW, values={"psnr": Value(3)})
    assert from_plain(through_json(to_plain(make_report(row)))).rows[0].values["psnr"] == Value(3)


def test_a_cell_has_the_digits_and_the_sign_of_its_column() -> None:
    column = Column("psnr", "PSNR", 2, True)
    assert column.format(20.126) == "20.13" and column.format(0.5, signed=True) == "+0.50"
    assert column.format(None) == column.format(math.nan) == "-" and column.format(math.inf) == "inf"
    assert column.heading == "PSNR ↑" and Column("l1", "L1", 2, False).heading == "L1 ↓"


def test_a_row_is_found_by_name() -> None:
    assert FULL.row("perfect").values["fid"].value == 0
