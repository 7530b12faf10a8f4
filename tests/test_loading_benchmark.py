"""The loading benchmark runs, and tells every way."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import loading


@pytest.mark.slow
def test_every_way_is_measured(tmp_path):
    loading.write_shard(tmp_path / "photos.tar", count=4)
    options = ["--photos", str(tmp_path / "photos.tar"), "--size", "32", "--batch", "2", "--workers", "1"]
    short = ["--turns", "1", "--seconds", "0.01", "--device", "cpu"]
    result = CliRunner().invoke(loading.main, [*options, *short], catch_exceptions=False)
    assert result.exit_code == 0
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[1]][0::2] == ["memory", "1.00"]
    assert len(rows) == 8 and all(
        float(row[1].replace(",", "")) > 0 and float(row[3]) >= 0 for row in rows[1:]
    )


def test_photos_that_are_not_there_are_one_line(tmp_path):
    result = CliRunner().invoke(loading.main, ["--photos", str(tmp_path / "none"), "--device", "cpu"])
    assert result.exit_code == 1 and "none does not exist" in result.output
