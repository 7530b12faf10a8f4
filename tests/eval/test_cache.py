"""What a run keeps is there after it was stopped; other runs' files are refused."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from eval.tasks.cache import ResultCache
from inpaint.errors import DataError

IDENTITY = {"images": "a", "predictions": "b"}
SIZES = {"fid": 3, "fmd": 1}


def features(*values: float) -> dict[str, np.ndarray]:
    column = np.array(values, np.float32)[:, None]
    return {"fid": np.repeat(column, 3, axis=1), "fmd": column + 10}


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
    assert again.features()["fid"].tolist() == [[1] * 3, [2] * 3, [3] * 3]
    assert again.features()["fmd"].tolist() == [[11], [12], [13]]


def test_an_empty_cache_has_empty_features(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "m", IDENTITY, SIZES)
    assert len(cache) == 0 and list(cache) == [] and cache.features()["fid"].shape == (0, 3)
    assert ResultCache(tmp_path, "n", IDENTITY, {}).features() == {}


def test_a_batch_is_kept_as_a_whole_or_not_at_all(tmp_path: Path, cache: ResultCache) -> None:
    with pytest.raises(TypeError):
        cache.append([{"stem": "c"}, {"stem": object()}], features(4, 5))
    with closing(sqlite3.connect(tmp_path / "work/m.sqlite")) as database:  # killed before it was whole
        database.execute("INSERT INTO images VALUES ('{}', x'')")
    again = reopened(tmp_path)
    assert len(again) == 3
    again.append([{"stem": "c"}], features(4))
    assert [entry["stem"] for entry in again] == ["a", "b", "ü", "c"]


def test_a_cache_can_be_cut(tmp_path: Path, cache: ResultCache) -> None:
    cache.cut(1)
    assert len(cache) == 1 and [entry["stem"] for entry in reopened(tmp_path)] == ["a"]
    cache.append([{"stem": "c"}], features(4))
    assert cache.features()["fid"][:, 0].tolist() == [1, 4]


@pytest.mark.parametrize("identity", [{"images": "a", "predictions": "other"}, {**IDENTITY, "more": "c"}])
def test_another_runs_cache_is_refused(tmp_path: Path, cache: ResultCache, identity: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"begun with other (predictions|more) .*--cache-dir"):
        ResultCache(tmp_path / "work", "m", identity, SIZES)
    assert len(reopened(tmp_path)) == 3


@pytest.mark.parametrize("broken", ["work", "work/m.sqlite"])
def test_what_cannot_be_written_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / broken).parent.mkdir(exist_ok=True)
    (tmp_path / broken).write_text("no database, but a file that was here before the run began")
    with pytest.raises(DataError, match=r"cannot keep the results in .*work"):
        reopened(tmp_path)
