"""States and statistics survive interruption."""

from __future__ import annotations

import json

import pytest
import torch

from inpaint.errors import CheckpointError
from inpaint.train.state import (
    append_stats,
    list_states,
    load_latest_state,
    read_stats,
    save_state,
    trim_stats,
)


def test_states_come_back_whole_and_two_are_kept(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    for images_seen in (8, 16, 1_000_000_000):
        payload = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loss": 0.5}
        save_state(tmp_path, images_seen, payload)
    assert [path.name for path in list_states(tmp_path)] == [
        "state-000000016.pt",
        "state-1000000000.pt",
    ]
    state = load_latest_state(tmp_path)
    assert state is not None and state["images_seen"] == 1_000_000_000 and state["loss"] == 0.5
    assert torch.equal(state["model"]["weight"], model.weight)
    optimizer.load_state_dict(state["optimizer"])
    assert sorted(path.name for path in (tmp_path).iterdir()) == [p.name for p in list_states(tmp_path)]


def test_no_state_yet(tmp_path):
    assert load_latest_state(tmp_path / "nowhere") is None


def test_a_truncated_state_falls_back_to_the_one_before(tmp_path):
    save_state(tmp_path, 8, {"value": torch.arange(1000)})
    newest = save_state(tmp_path, 16, {"value": torch.arange(1000)})
    newest.write_bytes(newest.read_bytes()[:500])
    problems: list[str] = []
    state = load_latest_state(tmp_path, problems.append)
    assert state is not None and state["images_seen"] == 8
    assert len(problems) == 1 and problems[0].startswith("state-000000016.pt: cannot be read")

    (tmp_path / "state-000000008.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no state in .* delete state-\*\.pt"):
        load_latest_state(tmp_path)


def test_a_failed_save_leaves_the_last_state(tmp_path):
    save_state(tmp_path, 8, {"value": 1})
    with pytest.raises(Exception, match=r"pickle|local"):
        save_state(tmp_path, 16, {"value": lambda: None})
    assert [path.name for path in tmp_path.iterdir()] == ["state-000000008.pt"]


def test_stats_are_json_lines(tmp_path):
    path = tmp_path / "stats.jsonl"
    assert read_stats(path) == []
    append_stats(path, {"images_seen": 8, "loss": 0.5, "norm": None})
    append_stats(path, {"images_seen": 16, "loss": 0.25})
    assert [json.loads(line) for line in path.read_text().splitlines()] == read_stats(path)
    assert read_stats(path)[0] == {"images_seen": 8, "loss": 0.5, "norm": None}


def test_stats_are_cut_back_to_a_resumed_state(tmp_path):
    path = tmp_path / "stats.jsonl"
    trim_stats(path, 8)
    for images_seen in (8, 16, 24):
        append_stats(path, {"images_seen": images_seen})
    with path.open("a") as file:
        file.write('{"images_seen": 32, "lo')
    trim_stats(path, 16)
    assert [record["images_seen"] for record in read_stats(path)] == [8, 16]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stats.jsonl"]
