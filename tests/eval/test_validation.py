"""The fixed validation protocol: which image meets which mask, and what is measured of a fill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from eval.measures.networks import WeightsFile
from eval.results import Report
from eval.tasks.methods import BASELINES, Fill, Method
from eval.tasks.pairs import Task
from eval.validation import MASKS_FILE, find_validation_task, validate_methods
from inpaint.baselines import mean_colour, push_pull
from inpaint.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def take_random_weights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightsFile, "check", lambda self: "not checked")
        yield


def validate(data: Path, fills: dict[str, Fill], **options: Any) -> Report:
    methods = [
        Method(name, "baseline" if name in BASELINES else "model", fill) for name, fill in fills.items()
    ]
    return validate_methods(data, methods, CPU, **options)


@pytest.fixture(scope="module")
def task(data: Path) -> Task:
    return find_validation_task(data)


def test_pictures_and_masks_meet_in_the_order_of_their_names(task: Task, data: Path) -> None:
    assert [(pair.stem, pair.mask.stem) for pair in task.pairs] == [("a", "1"), ("b", "2"), ("c", "3")]
    images, holes = zip(*(task.read(pair) for pair in task.pairs), strict=True)
    assert {image.shape for image in images} == {(256, 256, 3)}
    assert [hole.sum() for hole in holes] == [50 * 140, 256 * 80, 56 * 56]
    assert np.array_equal(images[2], np.array(Image.open(data / "val/images/c.png")))  # untouched


def test_pictures_are_cropped_at_the_centre_and_resized(task: Task, data: Path) -> None:
    wide = Image.open(data / "val/images/a.png").crop((22, 0, 278, 256))
    assert np.array_equal(task.read(task.pairs[0])[0], np.array(wide))
    tall = (
        Image.open(data / "val/images/b.webp")
        .crop((0, 44, 512, 556))
        .resize((256, 256), Image.Resampling.LANCZOS)
    )
    assert np.array_equal(task.read(task.pairs[1])[0], np.array(tall))


def test_a_limit_spreads_and_keeps_every_pictures_own_mask(data: Path) -> None:
    part = find_validation_task(data, limit=2)
    assert [(pair.stem, pair.mask.stem) for pair in part.pairs] == [("a", "1"), ("b", "2")]


def test_missing_or_broken_data_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match=r"ground truth: .*val/images"):
        find_validation_task(tmp_path)
    shutil.copytree(data / "val", tmp_path / "val")
    with pytest.raises(DataError, match=MASKS_FILE.name):
        find_validation_task(tmp_path)
    (tmp_path / "masks").mkdir()
    (tmp_path / MASKS_FILE).write_text("no zip")
    with pytest.raises(DataError, match=MASKS_FILE.name):
        find_validation_task(tmp_path)
    shutil.copy(data / MASKS_FILE, tmp_path / MASKS_FILE)
    (tmp_path / "val/images/b.webp").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.webp"):
        find_validation_task(tmp_path)


@pytest.fixture(scope="module")
def report(data: Path, task: Task) -> Report:
    truth = iter([torch.from_numpy(task.read(pair)[0]).permute(2, 0, 1) / 255 for pair in task.pairs])

    def perfect(image: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([next(truth) for _ in image])

    def black(image: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros_like(image)

    fills = {"mean colour": BASELINES["mean colour"], "smooth": push_pull, "perfect": perfect, "black": black}
    return validate(data, fills)


def test_a_fill_of_a_baselines_name_is_a_baseline(report: Report) -> None:
    assert [(row.name, row.kind) for row in report.rows] == [
        ("mean colour", "baseline"), ("smooth", "model"), ("perfect", "model"), ("black", "model")
    ]  # fmt: skip


def test_a_perfect_fill_a_bad_one_and_one_between(report: Report) -> None:
    perfect, black, smooth = (report.row(name).values for name in ("perfect", "black", "smooth"))
    assert perfect["psnr"].value == perfect["hole_psnr"].value == np.inf
    assert perfect["ssim"].value == pytest.approx(1) and perfect["sqd"].value == 0
    assert perfect["fmd"].value == pytest.approx(0, abs=1e-6)
    assert black["ssim"].value < smooth["ssim"].value < 1 and black["hole_psnr"].value < 12
    assert smooth["sqd"].value > 0 and black["fmd"].value > 0
    for row in report.rows:
        assert row.seconds_per_image and len(row.images) == 3 and row.bins


def test_only_so_many_pictures_are_scored_and_saved(data: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = validate(
        data,
        {"my fill": mean_colour},
        limit=2,
        save=tmp_path,
        on_progress=lambda *told: seen.append(told),
    )
    assert report.n == 2 and seen[-1] == ("my fill", 2, 2)
    assert sorted(path.name for path in (tmp_path / "my-fill").iterdir()) == ["a.png", "b.png"]


def test_the_hashes_tell_tasks_apart(
    report: Report, data: Path, tmp_path: Path, write_masks: Callable[..., None]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    masks = {f"{n}.png": np.eye(256, dtype=bool) for n in (1, 2, 3)}
    write_masks(tmp_path / "data" / MASKS_FILE, masks)
    other = validate(tmp_path / "data", {"smooth": push_pull})
    assert other.images_hash == report.images_hash and other.masks_hash != report.masks_hash
