"""Photos read by worker processes: the same pictures, broken files, and workers that die."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import sys
from pathlib import Path

import pytest
import torch

from inpaint.data import stream
from inpaint.data.config import Augment
from inpaint.data.randomness import draw_masks
from inpaint.data.sources import index_photos
from inpaint.errors import DataError, InpaintError
from tests.train.photo_files import data_config, open_batches, same, write_photo, write_photos


def test_workers_give_what_the_process_itself_gives(tmp_path):
    write_photos(tmp_path / "photos", 6, width=48, height=40)
    for changes in ({}, {"augment": Augment(kind="lama"), "smallest_size": 16}):
        config = data_config(tmp_path / "photos", tmp_path, keep="disk", **changes)
        alone = open_batches(config)
        expected = {images_seen: alone.batch_at(images_seen) for images_seen in range(0, 40, 4)}
        helped = open_batches(
            data_config(tmp_path / "photos", tmp_path, keep="disk", **changes | {"workers": 2})
        )
        for images_seen in (8, 12, 16, 0, 36, 4):
            assert same(helped.batch_at(images_seen), expected[images_seen])


def test_a_broken_photo_costs_one_line_and_is_replaced_by_the_next(tmp_path):
    paths = write_photos(tmp_path / "photos", 4, width=40, height=40)
    config = data_config(tmp_path / "photos", tmp_path, keep="disk", min_scale=1)
    whole = open_batches(config).batch_at(0).image
    paths[1].write_bytes(b"not a picture")
    paths[2].unlink()
    (tmp_path / "list.txt").write_text("".join(f"photos/{path.name}\n" for path in paths))
    problems: list[str] = []
    config = data_config(tmp_path / "list.txt", tmp_path, keep="disk", min_scale=1, workers=1)
    batches = open_batches(config, on_problem=problems.append)
    image = batches.batch_at(0).image
    for images_seen in range(4, 40, 4):
        batches.batch_at(images_seen)
    names = sorted(Path(line.split(":")[0]).name for line in problems)
    assert names == ["1.png", "2.png"] and all("cannot be read as a photo" in line for line in problems)
    # All four are in the batch; in the places of 1 and 2 stands 3, mirrored by chance as they would be.
    changed = [row for row in range(4) if not torch.equal(image[row], whole[row])]
    assert len(changed) == 2
    (third,) = [
        row for row in set(range(4)) - set(changed)
        if torch.equal(image[row], image[changed[0]]) or torch.equal(image[row], image[changed[0]].flip(-1))
    ]  # fmt: skip
    assert third not in changed
    assert same(open_batches(config, on_problem=problems.append).batch_at(0), batches.batch_at(0))


def test_photos_that_vanish_during_the_run_stop_it_with_one_line(tmp_path):
    paths = write_photos(tmp_path / "photos", 3, width=40, height=40)
    config = data_config(tmp_path / "photos", tmp_path, keep="disk", workers=1)
    batches = open_batches(config, on_problem=lambda line: None)
    for path in paths:
        path.unlink()
    with pytest.raises(DataError, match=r"64 photos in a row cannot be read, the last one: .*png") as caught:
        batches.batch_at(0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_killed_worker_stops_the_run_with_one_line(tmp_path):
    write_photo(tmp_path / "photos" / "a.png", 0, width=40, height=40)
    before = {process.pid for process in multiprocessing.active_children()}
    config = data_config(tmp_path / "photos", tmp_path, keep="disk", workers=1, images=4000)
    batches = open_batches(config)
    answer = signal.getsignal(signal.SIGCHLD)
    (worker,) = {process.pid for process in multiprocessing.active_children()} - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(DataError, match=r"a process that reads photos ended \(.*\); .*--shm-size") as caught:
        for images_seen in range(0, 4000, 4):
            batches.batch_at(images_seen)
    assert "\n" not in str(caught.value) and signal.getsignal(signal.SIGCHLD) is answer


def test_a_missing_library_is_told_before_workers_start(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    write_photo(tmp_path / "photos" / "a.png", 0, width=40, height=40)
    config = data_config(tmp_path / "photos", tmp_path, keep="disk", augment=Augment(kind="lama"))
    with pytest.raises(InpaintError, match="needs albumentations"):
        open_batches(config)


def test_what_workers_do_can_be_sent_to_them_where_processes_are_not_forked(tmp_path):
    write_photos(tmp_path / "photos", 3, width=40, height=40)
    config = data_config(tmp_path / "photos", tmp_path, keep="disk", augment=Augment(kind="lama"))
    draw = functools.partial(draw_masks, "mixed", batch_size=4, seed=0, shapes=None)
    maker = stream._Maker(config, index_photos(tmp_path / "photos"), draw)
    order = stream.Order(4, [2, 0], 32)
    here, there = maker[order], pickle.loads(pickle.dumps(maker))[order]
    assert isinstance(here, stream.Made) and isinstance(there, stream.Made)
    assert torch.equal(here.image, there.image) and torch.equal(here.mask, there.mask)


def test_workers_are_shared_among_the_processes_of_a_machine(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 96)
    assert stream._default_workers() == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert stream._default_workers() == 12
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert stream._default_workers() == 1
