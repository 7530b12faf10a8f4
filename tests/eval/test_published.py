"""The published numbers are those of the print, and their file forgives nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval.commands.score import PROTOCOLS
from eval.published import PUBLISHED, read_published
from inpaint.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# PSNR, SSIM, FID, LPIPS as printed, once more: a slip in the data file must not pass.
DECK = {
    "ffhq-256": {
        "Co-Mod": "25.2 0.889 5.85 0.085",
        "LaMa": "26.6 0.903 6.38 0.078",
        "MAE-FAR": "26.8 0.906 6.15 0.074",
    },
    "places2-256": {
        "EC": "23.3 0.839 6.21 0.149",
        "Co-Mod": "22.5 0.843 1.49 0.246",
        "LaMa": "24.3 0.869 1.63 0.155",
        "CTSDG": "23.4 0.835 11.2 0.185",
        "MAE-FAR": "24.5 0.871 1.31 0.101",
    },
    "places2-512": {
        "HiFill": "20.1 0.764 65.4 0.291",
        "Co-Mod": "22.0 0.843 30.0 0.166",
        "LaMa": "24.1 0.877 27.8 0.149",
        "MAE-FAR": "24.3 0.880 25.3 0.119",
    },
    "ablation": {
        "mixed masks, no attention": "24.34 0.860 26.84 0.117",
        "mixed masks, trainable contextual attention": "24.13 0.859 26.99 0.123",
        "random masks, prior attention": "24.39 0.861 26.25 0.117",
        "mixed masks, prior attention": "24.51 0.864 25.49 0.113",
    },
}


@pytest.mark.parametrize("name", DECK)
def test_the_printed_numbers_are_here_digit_by_digit(name: str) -> None:
    table = read_published()[name]
    keys = ("psnr", "ssim", "fid", "lpips_alex")
    assert {row.label: " ".join(str(row.scores[key]) for key in keys) for row in table.rows} == DECK[name]
    assert list(table.protocol.columns) == list(keys)
    assert table.protocol.scored_as == "mae-far" and table.n is None  # how many images is not known


def test_the_corrected_psnr_is_one_decibel_lower_and_keeps_its_digits() -> None:
    table = read_published()["places2-512"]
    assert [str(table.score(row, "psnr", textbook=True)) for row in table.rows] == [
        "19.1",
        "21.0",
        "23.1",
        "23.3",
    ]
    assert str(table.score(table.rows[1], "ssim")) == "0.843"
    assert table.score(table.rows[1], "ssim", textbook=True) is None  # its offset depends on the image


def test_spot_checks_of_the_other_tables() -> None:
    tables = read_published()
    wide = {row.label: row.scores for row in tables["lama-places2-512-wide"].rows}
    assert wide["LaMa-Fourier"] == {"fid": "2.21", "lpips_vgg": "0.135"}
    assert wide["Co-Mod"]["fid"] == "1.82" and tables["lama-places2-512-wide"].n == 30_000
    narrow = {row.label: row.scores for row in tables["lama-places2-512-narrow"].rows}
    assert narrow["MADF"] == {"fid": "0.57", "lpips_vgg": "0.085"}
    large = {row.label: row.scores for row in tables["mat-places2-512-large"].rows}
    assert large["Big-LaMa, 4.5 M images"]["lpips_alex"] == "0.166"
    assert "lpips_alex" not in large["MAT, 8 M images"]  # not printed, so not there


def test_every_table_says_what_is_known_and_what_is_not() -> None:
    for table in read_published().values():
        assert table.protocol.scored_as in PROTOCOLS
        assert table.source and table.images and table.masks
        assert len({row.label for row in table.rows}) == len(table.rows)
    for name in DECK:
        table = read_published()[name]
        assert "unverified" in table.images and "inference" in table.masks
        told = " ".join(table.protocol.traps)
        for word in ("1.0 dB above", "data range 2", "AlexNet", "torchvision", "unverified"):
            assert word in told


def test_each_method_of_the_tables_has_its_page() -> None:
    methods = {
        row.method: table.methods[row.method]
        for table in map(read_published().get, DECK)
        for row in table.rows
    }
    assert set(methods) == {"co-mod", "edge-connect", "ctsdg", "hifill", "lama", "mae-far"}
    for method in methods.values():
        page = (ROOT / method.page).read_text(encoding="utf-8")
        assert method.code in page and "was not run here" in page.lower(), method.page


def test_every_score_is_a_printed_number_of_a_column_of_its_protocol() -> None:
    for table in read_published().values():
        for row in table.rows:
            assert row.scores and set(row.scores) <= set(table.protocol.columns), row.label
            assert all(re.fullmatch(r"\d+\.\d+", text) for text in row.scores.values()), row.label
        for column in table.protocol.columns.values():
            assert column.too_high_by is None or re.fullmatch(r"\d+\.\d+", column.too_high_by)


def test_a_slip_in_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PUBLISHED.read_text(encoding="utf-8")
    path = tmp_path / "published.toml"
    monkeypatch.setattr("eval.published.PUBLISHED", path)
    for old, new in (
        ('psnr = "25.2"', "psnr = 25.2"),
        ("size = 256\n", "size = true\n"),
        ("n = 30000", "m = 3"),
    ):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError, match=r"tables\.[a-z]+-"):
            read_published.__wrapped__()
