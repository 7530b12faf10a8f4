"""A batch in many processes: the same results as in one, and a worker that ends costs its picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.batch import FileResult, Job, pair_files, plan_batch, run_batch
from inpaint.batch.cluster import run_on_cluster
from inpaint.errors import InpaintError, MaskError

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


def build_paint() -> Callable[[Image.Image, Image.Image], Image.Image]:
    """What a worker builds: paints holes green; a picture of 13 pixels kills it."""

    def paint(image: Image.Image, mask: Image.Image) -> Image.Image:
        if image.width == 13:
            os._exit(1)
        if not mask.getbbox():
            raise MaskError("the mask is empty: paint white what should be filled")
        return Image.composite(Image.new("RGB", image.size, (0, os.getpid() % 200, 0)), image, mask)

    return paint


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Six good pictures, a broken one, one with an empty mask; one result is there already."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    for index in range(6):
        Image.new("RGB", (8, 6), (index, 0, 0)).save(images / f"{index}.png")
        Image.new("L", (8, 6), 255).save(masks / f"{index}.png")
    (images / "broken.png").write_text("no picture")
    Image.new("L", (8, 6), 255).save(masks / "broken.png")
    Image.new("RGB", (8, 6)).save(images / "empty.png")
    Image.new("L", (8, 6)).save(masks / "empty.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "3.png").touch()  # newer than its image and mask: kept
    pairs, problems = pair_files(images, masks)
    assert not problems
    return plan_batch(pairs, tmp_path / "out")[0]


def test_it_does_what_one_process_does(jobs: list[Job], tmp_path: Path) -> None:
    told: list[FileResult] = []
    together = run_on_cluster(jobs, build_paint, on_result=told.append, workers=2)
    pixels = {
        job.output: np.asarray(Image.open(job.output)) for job in jobs if job.output.exists() and not job.skip
    }
    assert len(pixels) == 5 and len({int(value[0, 0, 1]) for value in pixels.values()}) <= 2
    for path in pixels:
        path.unlink()
    alone = run_batch(jobs, build_paint(), on_result=lambda _: None)
    assert [(r.image, r.status, r.reason) for r in together.results] == [
        (r.image, r.status, r.reason) for r in alone.results
    ]
    assert together.exit_code == alone.exit_code == 1 and not together.count("unfinished")
    assert sorted(r.image for r in told) == [job.image for job in jobs]
    assert not [path for path in tmp_path.rglob("*.tmp")]


def test_a_worker_that_ends_costs_its_picture(jobs: list[Job], tmp_path: Path) -> None:
    Image.new("RGB", (13, 6)).save(tmp_path / "images" / "0.png")
    report = run_on_cluster(jobs, build_paint, on_result=lambda _: None, workers=1)
    found = {result.image.stem: (result.status, result.reason) for result in report.results}
    assert found.pop("0") == ("failed", "the process that worked on it ended, 2 times")
    assert found.pop("broken")[0] == found.pop("empty")[0] == "failed" and found.pop("3")[0] == "skipped"
    assert {status for status, _ in found.values()} == {"done"} and len(found) == 4


def build_nothing() -> Callable[[Image.Image, Image.Image], Image.Image]:
    raise InpaintError("no such model on this machine")


def test_workers_that_cannot_start_are_one_line(jobs: list[Job]) -> None:
    with pytest.raises(
        InpaintError, match=r"no worker could start: .*no such model on this machine"
    ) as caught:
        run_on_cluster(jobs, build_nothing, on_result=lambda _: None, workers=2)
    assert "\n" not in str(caught.value)


def test_without_ray_it_says_what_to_install(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InpaintError, match=r"needs Ray.*pip install 'mae-acr-inpaint\[dist\]'"):
        run_on_cluster(jobs, build_paint, on_result=lambda _: None)


def test_a_cluster_that_is_not_there_is_one_line(jobs: list[Job]) -> None:
    with pytest.raises(InpaintError, match="cannot join a Ray cluster at 'auto'") as caught:
        run_on_cluster(jobs, build_paint, on_result=lambda _: None, address="auto")
    assert "\n" not in str(caught.value)
