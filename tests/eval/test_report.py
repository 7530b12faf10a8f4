"""Reports as Markdown, CSV and JSON: every number, nothing that breaks a table, and files written whole."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import pytest

from eval.report.files import to_csv, write_document
from eval.report.sections import report_document
from eval.report.sections import to_markdown as document_to_markdown
from eval.report.tables import score_lines
from eval.results import Bin, KnownChange, Report, Value
from inpaint.errors import InpaintError
from tests.eval.make_reports import COLUMNS, make_report, make_row, read_report

SMOOTH = make_row(
    "push-pull", [20.0, 22.0, 24.0], l1=0.1, kind="baseline", bins=(Bin(0.2, 0.3, 3, {"psnr": 22.0}),)
)
SHARP = make_row("Telea", [19.0, 21.0, 23.0], l1=0.05, fid=80, kind="baseline")
OURS = make_row("acr", [21.0, 23.0, 25.0], l1=0.2, fid=40)
REPORT = make_report(SMOOTH, SHARP, OURS)


def to_markdown(report: Report) -> str:
    return document_to_markdown(report_document(report))


def write_report(report: Report, path: Path) -> None:
    write_document(report_document(report), path)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_has_a_row_for_each_method_with_its_interval_below() -> None:
    title, _, heading, _, *lines = to_markdown(REPORT).splitlines()
    assert (title, heading) == ("# Scores by the standard protocol", "### Scores")
    assert cells(lines[0]) == ["method", "N", "PSNR ↑", "hole PSNR ↑", "L1 ↓", "FID ↓"]
    row = next(i for i, line in enumerate(lines) if line.startswith("| acr "))
    assert cells(lines[row]) == ["acr", "3", "**23.000**", "**18.000**", "0.2000", "**40.00 (N 3)**"]
    interval = cells(lines[row + 1])
    assert interval[0] == "95 %" and interval[-1] == "[30.00, 50.00]"
    assert interval[2] == "[21.000, 25.000]" and interval[4] == "[0.2000, 0.2000]"
    assert cells(lines[row - 4])[0] == "push-pull (baseline)"


def test_markdown_compares_each_method_with_the_best_baseline() -> None:
    text = to_markdown(REPORT)
    assert "Better in PSNR, hole PSNR, FID; worse in L1." in text
    assert "- PSNR: +1.000 [+1.000, +1.000] (push-pull)" in text  # paired: the same gain on every image
    assert "- L1: +0.1500 [+0.1500, +0.1500] (Telea)" in text
    assert "- FID: -10.00 (push-pull)" in text
    assert "best baseline" not in to_markdown(make_report(OURS))


def test_a_difference_within_its_interval_is_called_so() -> None:
    unsure = make_row("unsure", [21.0, 23.0, 23.5])
    text = to_markdown(make_report(SMOOTH, unsure))
    assert "PSNR: +0.500 [-0.500, +1.000]" in text
    assert (
        "Within sampling error in PSNR, hole PSNR, L1, FID." in text
    )  # equal L1 and FID decide nothing either


def test_markdown_says_what_a_reader_needs() -> None:
    text = to_markdown(REPORT)
    for part in (
        "FID of 3 images is biased upward.",
        "LPIPS: weights are missing; get them with python -m eval weights",
        "standard, 8 x 8, N = 3, mean hole ratio 25.0 %",
        "PSNR: as in the textbook.",
        "1" * 64,
        "2" * 64,
        "device: by hand",
        "percentile bootstrap over images",
        "| push-pull (baseline) | 20-30 % | 3 | 22.000 | - | - |",
    ):
        assert part in text, part


def test_what_a_method_known_change_is_told() -> None:
    known_change = dataclasses.replace(OURS, known_change=KnownChange(0.125, 1.5, 40))
    assert "| acr | 12.5 % | 1.50 | 40 |" in to_markdown(make_report(known_change))
    assert "Outside the hole" not in to_markdown(REPORT)


def test_rows_of_fewer_pictures_say_so() -> None:
    fewer = dataclasses.replace(OURS, missing=("c",))
    line = next(line for line in to_markdown(make_report(fewer)).splitlines() if line.startswith("| acr"))
    assert cells(line)[1] == "2" and cells(line)[-1] == "40.00 (N 2)"


def test_a_row_of_fewer_images_is_never_the_best() -> None:
    easy = dataclasses.replace(make_row("easy", [31.0, 33.0], kind="files"), missing=("2",))
    text = to_markdown(make_report(SMOOTH, OURS, easy))
    assert "| acr | 3 | **23.000**" in text and "| easy | 2 | 32.000 |" in text


def test_names_do_not_break_the_table() -> None:
    hostile = dataclasses.replace(OURS, name="a|b\n<script>`*")
    lines = to_markdown(make_report(SMOOTH, hostile)).splitlines()
    assert "| a\\|b \\<script>\\`\\* | 3 |" in " ".join(lines)
    assert len({line.replace("\\|", "").count("|") for line in lines[4:10]}) == 1


def test_a_cell_without_a_value_is_a_dash() -> None:
    empty = dataclasses.replace(OURS, values={"psnr": Value(math.inf), "l1": Value(math.nan)})
    line = next(line for line in to_markdown(make_report(empty)).splitlines() if line.startswith("| acr"))
    assert cells(line) == ["acr", "3", "inf", "-", "-", "-"]


def test_csv_gives_every_number_back_exactly() -> None:
    third = dataclasses.replace(
        OURS, values={"psnr": Value(math.inf), "l1": Value(1 / 3, 0.1, 0.7)}, name='a,"b"\n'
    )
    report = make_report(SMOOTH, third)
    first, second = csv.DictReader(io.StringIO(to_csv(score_lines(report))))
    assert second["method"] == 'a,"b"\n' and second["kind"] == "model" and second["n"] == "3"
    assert [float(second[key]) for key in ("psnr", "l1", "l1_low", "l1_high")] == [math.inf, 1 / 3, 0.1, 0.7]
    assert (
        second["psnr_low"]
        == second["fid"]
        == second["known_pixels_changed"]
        == second["seconds_per_image"]
        == ""
    )
    assert first["kind"] == "baseline" and float(first["fid"]) == 50 and first["masks_hash"] == "2" * 64
    for column in COLUMNS:
        assert float(first[column.key]) == SMOOTH.values[column.key].value


def test_the_suffix_chooses_the_form(tmp_path: Path) -> None:
    for name in ("r.md", "new/folder/r.json", "r.csv", "r.html"):
        write_report(REPORT, tmp_path / name)
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == to_markdown(REPORT)
    assert read_report(tmp_path / "new/folder/r.json") == REPORT
    assert (tmp_path / "r.csv").read_text().count("\n") == 4
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(file.name for file in tmp_path.glob("*.*")) == ["r.csv", "r.html", "r.md"]
    assert (tmp_path / "r.md").stat().st_mode & 0o044 == 0o044  # others may read it


def test_a_report_that_cannot_be_written_costs_one_line(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path / "r.md")
    with pytest.raises(InpaintError, match="cannot write"):
        write_report(REPORT, tmp_path / "r.md" / "inside.md")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InpaintError, match=r"cannot write the report to .*folder\.csv"):
        write_report(REPORT, tmp_path / "folder.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.csv", "r.md"]  # no leftovers


def test_a_name_that_is_no_unicode_is_still_written(tmp_path: Path) -> None:
    broken = make_report(
        dataclasses.replace(OURS, name="caf\udce9")
    )  # a Latin-1 file name, as Python reads it
    for suffix in ("md", "json", "csv", "html"):
        write_report(broken, tmp_path / f"r.{suffix}")
    assert read_report(tmp_path / "r.json").rows[0].name == "caf\udce9"
