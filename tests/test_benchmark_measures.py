"""The benchmark of the measures runs at a tiny size and adds up."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import measures


@pytest.mark.slow
def test_the_ratio_is_of_the_parts_in_its_row(monkeypatch):
    for package in ("torchvision", "lpips"):
        pytest.importorskip(package)
    monkeypatch.setattr(measures, "IMAGES", 100)
    options = ["--protocol", "mae-far", "--count", "4", "--batch", "2", "--size", "64"]
    result = CliRunner().invoke(measures.main, options, catch_exceptions=False)
    assert result.exit_code == 0
    device, heading, row = result.stdout.splitlines()
    assert "64 x 64" in device and heading.split()[-1] == "ratio"
    protocol, networks, pairs, features, sets, ratio = row.split()
    assert protocol == "mae-far" and min(map(float, (networks, pairs, features))) > 0
    expected = (float(pairs) + float(features) + float(sets)) / float(networks)
    assert float(ratio) == pytest.approx(expected, rel=0.05)


def test_a_count_that_is_no_multiple_of_the_batch_is_refused():
    result = CliRunner().invoke(measures.main, ["--count", "5", "--batch", "2"])
    assert result.exit_code == 2 and "got 5 images in batches of 2" in result.stderr
