"""The plain data of a report: through JSON and back, and nothing else taken for a report."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from eval.results import Bin, Column, KnownChange, Value, from_plain, read_report, to_plain
from inpaint.errors import DataError
from tests.eval.make_reports import make_report, make_row

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


def test_a_value_is_read_by_its_names_not_by_their_order() -> None:
    plain = to_plain(make_report(dataclasses.replace(ROW, values={"psnr": Value(20.0, 19.0, 22.0)})))
    plain["rows"][0]["values"]["psnr"] = {"high": 22.0, "low": 19.0, "value": 20.0}
    assert from_plain(plain).rows[0].values["psnr"] == Value(20.0, 19.0, 22.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.update(format=7), "format 7; expected 3"),
        (lambda plain: plain.pop("columns"), "columns"),
        (lambda plain: plain.update(extra=1), "extra"),
        (lambda plain: plain["rows"][0].pop("kind"), "kind"),
        (lambda plain: plain["columns"][0].update(colour="red"), "colour"),
        (lambda plain: plain["rows"][0]["values"]["psnr"].update(mean=1.0), "mean"),
        (lambda plain: plain["rows"][0]["images"][0]["values"].update(psnr="high"), "high"),
        (lambda plain: plain["rows"].append("acr"), "no whole report"),
        (lambda plain: plain.update(warnings=None), "no whole report"),
    ],
)
def test_what_is_no_report_is_refused(change, message: str) -> None:
    plain = to_plain(FULL)
    change(plain)
    with pytest.raises(DataError, match=message):
        from_plain(plain)


def test_a_file_that_is_no_report_costs_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_report(tmp_path / "none.json")
    for text in ("{", "[]", "3", '{"format": 3}', "\x80"):
        (tmp_path / "r.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError):
            read_report(tmp_path / "r.json")


def test_a_cell_has_the_digits_and_the_sign_of_its_column() -> None:
    column = Column("psnr", "PSNR", 2, True)
    assert column.format(20.126) == "20.13" and column.format(0.5, signed=True) == "+0.50"
    assert column.format(None) == column.format(math.nan) == "-" and column.format(math.inf) == "inf"
    assert column.heading == "PSNR ↑" and Column("l1", "L1", 2, False).heading == "L1 ↓"


def test_a_row_is_found_by_name() -> None:
    assert FULL.row("perfect").values["fid"].value == 0
