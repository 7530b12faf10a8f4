"""The HTML report: one whole file that asks for nothing, with the worst images first."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from eval.report import gallery
from eval.report.files import to_html as document_to_html
from eval.report.gallery import build_gallery, difference_map, image_uri, worst_first
from eval.report.sections import report_document
from eval.results import Bin, Report
from tests.eval.make_reports import make_report, make_row, write_pictures

HOSTILE = "</td><script>alert('1')</script>\"&\x07"


def to_html(report: Report) -> str:
    return document_to_html(report_document(report))


def parse(page: str) -> ElementTree.Element:
    """The page as a tree: it is written so that an XML parser, which forgives nothing, can read it."""
    assert page.startswith("<!doctype html>\n")
    return ElementTree.fromstring(page.split("\n", 1)[1])


def words(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def pixels(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """A baseline, and a method that lies behind it by 1 dB on image a, 9 on b and not at all on c."""
    write_pictures(tmp_path, {"baseline": 104, "ours": 132})
    bins = tuple(Bin(low, low + 0.1, 1, {"psnr": 20 - 40 * low, "l1": low}) for low in (0.1, 0.2, 0.3))
    baseline = make_row(
        "baseline", [22, 30, 24], kind="baseline", folder=tmp_path / "pred" / "baseline", bins=bins
    )
    ours = make_row("ours", [21, 21, 25], folder=tmp_path / "pred" / "ours", bins=bins)
    return make_report(baseline, ours, folder=tmp_path)


def test_the_page_is_one_well_formed_file_that_asks_for_nothing(report: Report) -> None:
    page = to_html(report)
    root = parse(page)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in ("src", "href", "action", "data", "srcset"):
                assert value.startswith(("data:image/webp;base64,", "#")), (element.tag, value[:60])
    assert not re.search(r"https?:|url\(|@import|<link|<script|<iframe|javascript:", page)
    assert {"viewport", "color-scheme"} <= {meta.get("name") for meta in root.iter("meta")}
    assert "prefers-color-scheme: dark" in page
    anchors = {element.get("id") for element in root.iter() if element.get("id")}
    assert {link.attrib["href"].removeprefix("#") for link in root.iter("a")} <= anchors


def test_the_page_holds_the_numbers_the_facts_and_the_pictures(report: Report) -> None:
    root = parse(to_html(report))
    table = next(root.iter("table"))
    rows = [[words(cell) for cell in row] for row in table.iter("tr")]
    assert rows[0] == ["method", "N", "PSNR ↑", "hole PSNR ↑", "L1 ↓", "FID ↓"]
    assert rows[1][0] == "baseline baseline" and rows[2][0] == "ours"
    assert rows[2][2] == "22.333 [21.000, 25.000]" and rows[2][5] == "50.00 (N 3) [40.00, 60.00]"
    text = words(root)
    for part in ("biased upward", "LPIPS", "2" * 64, "by hand", "against the best baseline", "10-20 %"):
        assert part in text, part
    assert len(list(root.iter("article"))) == 3
    assert len(list(root.iter("img"))) == 3 * (2 + 2 * 2)


def test_every_name_is_escaped(report: Report) -> None:
    hostile = dataclasses.replace(
        report,
        protocol=HOSTILE,
        warnings=(HOSTILE,),
        notes={HOSTILE: HOSTILE},
        rows=tuple(dataclasses.replace(row, name=HOSTILE + row.name) for row in report.rows),
    )
    page = to_html(hostile)
    root = parse(page)
    assert "<script" not in page and "\x07" not in page
    assert "alert('1')</script>" in words(root)  # as text it is still there
    assert [image.get("alt") for image in root.iter("img")][2].startswith("</td><script>")


def test_the_widest_gap_to_the_best_row_comes_first(report: Report) -> None:
    rule, ranks = worst_first(report)
    assert rule == "Worst first, by the gap in hole PSNR to the best row."
    assert [rank.stem for rank in ranks] == ["b", "a", "c"]
    assert ranks[0].reason == "ours: hole PSNR 16.000, 9.000 behind baseline"
    assert ranks[2].reason == "ours: hole PSNR 20.000"  # nothing is ahead of it
    assert [words(heading).split()[0] for heading in parse(to_html(report)).iter("h3")] == ["b", "a", "c"]


def test_of_several_methods_the_one_furthest_behind_counts() -> None:
    good, bad = make_row("good", [30, 30, 30]), make_row("bad", [29, 28, 20])
    _, ranks = worst_first(make_report(good, bad))
    assert [rank.stem for rank in ranks] == ["c", "b", "a"] and ranks[0].reason.startswith("bad: ")


@pytest.mark.parametrize("kind", ["model", "baseline"])
def test_a_row_alone_is_ordered_by_its_own_values(kind) -> None:
    rule, ranks = worst_first(make_report(make_row("only", [30, 10, math.inf], kind=kind)))
    assert rule == "Worst first, by hole PSNR." and [rank.stem for rank in ranks] == ["b", "a", "c"]


def test_equal_infinities_are_no_gap_and_lower_may_be_better() -> None:
    rows = make_row("a", [math.inf, 20, 20]), make_row("b", [math.inf, 19, 20])
    assert worst_first(make_report(*rows))[1][0].stem == "b"
    report = make_report(make_row("a", [1, 1, 1], l1=0.1), make_row("b", [1, 1, 1], l1=0.3))
    only_l1 = dataclasses.replace(report, columns=report.columns[2:])
    rule, ranks = worst_first(only_l1)
    assert "L1" in rule and ranks[0].reason == "b: L1 0.3000, 0.2000 behind a"
    assert worst_first(dataclasses.replace(report, columns=report.columns[3:])) == (
        "No measure of single images, so no order.",
        [],
    )


def test_the_gallery_shows_what_was_measured(report: Report) -> None:
    case = build_gallery(report).cases[0]
    baseline, ours = case.results
    assert case.hole_ratio == 0.25 and dict(ours.values)["hole PSNR"] == "16.000"
    original, masked, composite = map(pixels, (case.original, case.masked, ours.composite))
    assert np.abs(original.astype(int) - 100).max() <= 3
    assert masked[:3, :3].min() > 190 and abs(int(masked[6, 6, 0]) - 100) < 12  # grey in the hole only
    assert abs(int(composite[1, 1, 0]) - 132) < 8 and abs(int(composite[6, 6, 0]) - 100) < 8  # composited
    assert "FID" not in dict(baseline.values)


def test_the_difference_map_is_of_the_hole_alone() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    hole = np.zeros((4, 4), bool)
    hole[0] = True
    composite = image.copy()
    composite[0, 1], composite[0, 2], composite[0, 3] = 116, 84, 200
    heat = difference_map(composite, image, hole)
    assert heat[0, 0].tolist() == [0, 0, 0, 255]  # no error
    assert heat[0, 1].tolist() == heat[0, 2].tolist() == [192, 0, 0, 255]  # 16 levels, 4 times, on a third
    assert heat[0, 3].tolist() == [255, 255, 255, 255]  # 64 levels or more
    assert (heat[1:, :, 3] == 0).all()


def test_large_pictures_are_shrunk_for_the_page() -> None:
    assert pixels(image_uri(np.zeros((300, 600, 3), np.uint8))).shape == (128, 256, 3)
    assert pixels(image_uri(np.zeros((30, 60, 3), np.uint8))).shape == (30, 60, 3)


@pytest.mark.parametrize("gone", ["pred/ours/b.png", "gt/b.png", "gt"])
def test_pictures_that_are_gone_are_told_and_nothing_fails(report: Report, tmp_path: Path, gone: str) -> None:
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    shown = build_gallery(report)
    assert len(shown.cases) == 3 and shown.cases[0].original == ""
    assert "are not shown" in shown.remarks[0] and shown.remarks[0] in words(parse(to_html(report)))


def test_rows_without_pictures_are_named_once(report: Report) -> None:
    rows = tuple(dataclasses.replace(row, folder=None) for row in report.rows)
    remarks = build_gallery(dataclasses.replace(report, rows=rows)).remarks
    assert remarks == ("Not kept, so not shown: the images of baseline, ours.",)


def test_pictures_paired_in_order_and_resized_are_found_again(report: Report, tmp_path: Path) -> None:
    for number, stem in enumerate("abc"):
        (tmp_path / "mask" / f"{stem}.png").rename(tmp_path / "mask" / f"hole-{number}.png")
        Image.new("RGB", (24, 16), (100, 100, 100)).save(tmp_path / "gt" / f"{stem}.png")
    scored = dataclasses.replace(report, resized_to=8, cycled_masks=True)
    case = build_gallery(scored).cases[0]
    assert pixels(case.original).shape == (8, 8, 3) and case.results[1].difference


def test_the_page_stays_small(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_CASES", 2)
    shown = build_gallery(report)
    assert len(shown.cases) == 2
    assert shown.remarks == ("2 of 3 images are shown, so that the page stays small.",)
