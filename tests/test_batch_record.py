"""The record of a batch: a row for every picture, in two formats, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from inpaint.batch import BatchReport, FileResult, Job, write_record
from inpaint.errors import DataError

JOBS = [Job(Path(f"in/{name}.jpg"), Path("m.png"), Path(f"out/{name}.jpg")) for name in "abcd"]
REPORT = BatchReport(
    (
        JOBS[0].result("done", seconds=1.23456),
        JOBS[1].result("skipped"),
        JOBS[2].result("failed", seconds=0.5, reason='the mask is empty, "white", they said'),
        JOBS[3].result("unfinished"),
        FileResult(Path("in/e.heic"), reason=".heic pictures cannot be read"),
    )
)


def test_both_formats_hold_the_same_rows(tmp_path: Path) -> None:
    write_record(REPORT, tmp_path / "r.json")
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [(row["image"], row["status"]) for row in rows] == [
        ("in/a.jpg", "done"),
        ("in/b.jpg", "skipped"),
        ("in/c.jpg", "failed"),
        ("in/d.jpg", "unfinished"),
        ("in/e.heic", "failed"),
    ]
    assert rows[0]["seconds"] == 1.235 and rows[0]["output"] == "out/a.jpg" and rows[4]["mask"] == ""
    assert rows[2]["reason"] == 'the mask is empty, "white", they said'
    write_record(REPORT, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{key: str(value) for key, value in row.items()} for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.json"]


def test_a_name_that_is_no_text_does_not_cost_the_record(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(b"in/\xff.jpg"))
    write_record(BatchReport((FileResult(odd, reason="no mask"),)), tmp_path / "r.csv")
    assert "no mask" in (tmp_path / "r.csv").read_text()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got 'r\.txt' for the record, expected \.csv or \.json"):
        write_record(REPORT, tmp_path / "r.txt")
    with pytest.raises(DataError, match=r"cannot write .*No such file"):
        write_record(REPORT, tmp_path / "none" / "r.csv")
