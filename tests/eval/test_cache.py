"""What a killed run leaves behind is cut back to its last whole image; other runs' files are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from eval.tasks.cache import ResultCache
from inpaint.errors import DataError

IDENTITY = {"images": "a", "predictions": "b"}
SIZES = {"fid": 3}


def features(*values: float) -> dict[str, np.ndarray]:
    return {"fid": np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)}


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    cache = ResultCache(tmp_path / "work", "m", IDENTITY, SIZES)
    cache.append([{"stem": "a", "psnr": 1 / 3}, {"stem": "b", "psnr": math.inf}], features(1, 2))
    cache.append([{"stem": "ü", "psnr": math.nan}], features(3))
    return cache


def reopened(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "work", "m", IDENTITY, SIZES)


def test_what_was_appended_is_there_after_reopening(tmp_path: Path, cache: ResultCache) -> None:
    again = reopened(tmp_path)
    assert len(again) == len(cache) == 3
    entries = list(again)
    assert [entry["stem"] for entry in entries] == ["a", "b", "ü"]
    assert entries[0]["psnr"] == 1 / 3 and entries[1]["psnr"] == math.inf and math.isnan(entries[2]["psnr"])
    assert again.features()["fid"][:, 0].tolist() == [1, 2, 3]


def test_an_empty_ledger_has_empty_features(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "m", IDENTITY, SIZES)
    assert len(cache) == 0 and list(cache) == [] and cache.features()["fid"].shape == (0, 3)


@pytest.mark.parametrize("torn", [b'{"stem": "c", "ps', b'{"stem": "c"}', b"\0\0\0\0\n"])
def test_a_torn_last_line_is_cut(tmp_path: Path, cache: ResultCache, torn: bytes) -> None:
    with (tmp_path / "work/m.jsonl").open("ab") as file:
        file.write(torn)
    with (tmp_path / "work/m.fid.f32").open("ab") as file:
        file.write(bytes(17))  # a whole row and a torn one: their line never came
    again = reopened(tmp_path)
    assert len(again) == 3
    again.append([{"stem": "c"}], features(4))
    assert [entry["stem"] for entry in again] == ["a", "b", "ü", "c"]
    assert again.features()["fid"][:, 2].tolist() == [1, 2, 3, 4]


def test_lines_without_their_features_are_cut(tmp_path: Path, cache: ResultCache) -> None:
    with (tmp_path / "work/m.fid.f32").open("r+b") as file:
        file.truncate(2 * 3 * 4 - 1)
    assert [entry["stem"] for entry in reopened(tmp_path)] == ["a"]


def test_a_ledger_can_be_cut(tmp_path: Path, cache: ResultCache) -> None:
    cache.cut(1)
    assert len(cache) == 1 and len(reopened(tmp_path)) == 1
    assert cache.features()["fid"].shape == (1, 3)


def test_a_header_torn_as_the_run_began_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/m.jsonl").write_bytes(b'{"images": "a", "pred')
    assert len(reopened(tmp_path)) == 0
    assert len(reopened(tmp_path)) == 0


@pytest.mark.parametrize("header", ['{"images": "a", "predictions": "other"}', "[1]", "no json", "{}"])
def test_another_runs_ledger_is_refused(tmp_path: Path, cache: ResultCache, header: str) -> None:
    path = tmp_path / "work/m.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(header + "\n" + "".join(lines[1:]), encoding="utf-8")
    with pytest.raises(DataError, match=r"begun with other .*predictions.*--cache-dir"):
        reopened(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(DataError, match=r"cannot keep the results in .*work"):
        reopened(tmp_path)
