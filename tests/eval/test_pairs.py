"""Which mask and which prediction belong to an image, and what is told about files that do not fit."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.tasks.pairs import Task, find_predictions, find_task
from inpaint.errors import DataError, InpaintError


def write(path: Path, height: int = 12, width: int = 16, grey: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), grey, np.uint8)).save(path)
    return path


def write_mask(path: Path, height: int = 12, width: int = 16, rows: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((height, width), np.uint8)
    mask[:rows] = 255
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for stem in ("b", "a", "c"):
        write(tmp_path / f"gt/{stem}.png")
        write_mask(tmp_path / f"masks/{stem}.png")
        write(tmp_path / f"pred/{stem}.png", grey=50)
    return tmp_path


def task_of(root: Path, **options: object) -> Task:
    return find_task(root / "gt", root / "masks", **options)


def told(call: Callable[[], object]) -> str:
    with pytest.raises(InpaintError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_are_matched_by_stem_whatever_their_suffix(root: Path) -> None:
    write_mask(root / "masks/extra.png")
    (root / "masks/a.png").rename(root / "masks/a.bmp")
    (root / "pred/b.png").rename(root / "pred/b.webp")
    (root / "gt/notes.txt").write_text("no image")
    write(root / "gt/deeper/d.png")  # subfolders are not searched
    task = task_of(root)
    assert [(pair.stem, pair.mask.path.name) for pair in task.pairs] == [
        ("a", "a.bmp"), ("b", "b.png"), ("c", "c.png")
    ]  # fmt: skip
    assert list(find_predictions(root / "pred", task).files) == ["a", "b", "c"]
    image, hole = task.read(task.pairs[0])
    assert image.shape == (12, 16, 3) and (image == 100).all() and hole.sum() == 3 * 16


def test_an_accent_is_one_character_whatever_the_system_makes_of_it(root: Path) -> None:
    write(root / f"gt/{unicodedata.normalize('NFD', 'é')}.png")
    write_mask(root / f"masks/{unicodedata.normalize('NFC', 'é')}.png")
    assert task_of(root).pairs[-1].stem == "é"


def test_masks_may_come_in_a_zip(root: Path) -> None:
    with zipfile.ZipFile(root / "masks.zip", "w") as archive:
        for stem in "cab":
            archive.write(root / f"masks/{stem}.png", f"masks/{stem}.png")
        archive.writestr("__MACOSX/masks/a.png", b"junk")
    task = find_task(root / "gt", root / "masks.zip")
    assert [pair.mask.stem for pair in task.pairs] == ["a", "b", "c"]
    assert task.read(task.pairs[1])[1].sum() == 3 * 16
    assert task.fingerprint == find_task(root / "gt", root / "masks.zip").fingerprint


def test_cycled_masks_follow_the_sorted_names(root: Path) -> None:
    for file in (root / "masks").iterdir():
        file.unlink()
    write_mask(root / "masks/2.png", rows=2)
    write_mask(root / "masks/1.png", rows=1)
    task = task_of(root, cycle_masks=True)
    assert [pair.mask.stem for pair in task.pairs] == ["1", "2", "1"]
    assert {pair.mask.stem for pair in task.pairs} == {"1", "2"}
    assert [pair.mask.stem for pair in task_of(root, cycle_masks=True, limit=1).pairs] == ["1"]


def test_a_limit_spreads_and_keeps_every_pictures_own_mask(root: Path) -> None:
    for index in range(10):
        write(root / f"gt/x{index}.png")
        write_mask(root / f"masks/m{index}.png")
    whole = {pair.stem: pair.mask.stem for pair in task_of(root, cycle_masks=True).pairs}
    part = {pair.stem: pair.mask.stem for pair in task_of(root, cycle_masks=True, limit=4).pairs}
    assert list(part) == ["a", "x0", "x3", "x6"] and part == {stem: whole[stem] for stem in part}
    assert len(task_of(root, cycle_masks=True, limit=99).pairs) == 13


def test_equal_shapes_come_together(root: Path) -> None:
    write(root / "gt/b.png", 8, 8)
    write_mask(root / "masks/b.png", 8, 8)
    assert [pair.stem for pair in task_of(root).pairs] == ["b", "a", "c"]


def test_a_size_crops_the_centre_and_resizes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "gt").mkdir()
    Image.fromarray(pixels).save(tmp_path / "gt/a.png")
    write_mask(tmp_path / "masks/a.png", 16, 16, rows=8)
    task = task_of(tmp_path, size=8)
    image, hole = task.read(task.pairs[0])
    expected = Image.fromarray(pixels).crop((5, 0, 25, 20)).resize((8, 8), Image.Resampling.LANCZOS)
    assert np.array_equal(image, np.array(expected))
    assert hole.shape == (8, 8) and hole[:4].all() and not hole[4:].any()
    same = task_of(tmp_path, size=20).read(task.pairs[0])[0]
    assert np.array_equal(same, pixels[:, 5:25])  # of that size already: cropped, not resampled
    write(tmp_path / "pred/a.png", 20, 30)
    assert "expected the ground truth's 8 x 8" in told(lambda: find_predictions(tmp_path / "pred", task))


def test_missing_files_are_counted_and_the_first_ones_named(root: Path) -> None:
    for stem in "defg":
        write(root / f"gt/{stem}.png")
    message = told(lambda: task_of(root))
    assert "4 of 7 images have no mask" in message and "d, e, f and 1 more" in message
    assert "--allow-missing" in message
    task = task_of(root, allow_missing=True)
    assert [pair.stem for pair in task.pairs] == ["a", "b", "c"] and task.missing == ("d", "e", "f", "g")

    (root / "pred/b.png").unlink()
    message = told(lambda: find_predictions(root / "pred", task))
    assert "1 of 3 images have no prediction" in message and "pred': b;" in message
    predictions = find_predictions(root / "pred", task, allow_missing=True)
    assert predictions.missing == ("b",) and list(predictions.files) == ["a", "c"]


def test_names_that_never_match_are_shown(root: Path) -> None:
    for folder in ("masks", "pred"):
        for file in list((root / folder).iterdir()):
            file.rename(file.with_name(f"{file.stem}_out.png"))
    message = told(lambda: task_of(root, allow_missing=True))
    assert "got a_out, b_out, c_out for a, b, c" in message and "--cycle-masks" in message
    task = task_of(root, cycle_masks=True)
    assert "got a_out" in told(lambda: find_predictions(root / "pred", task, allow_missing=True))


@pytest.mark.parametrize("folder", ["gt", "masks", "pred"])
def test_two_files_of_one_stem_are_refused(root: Path, folder: str) -> None:
    write(root / folder / "a.jpg")
    message = told(lambda: find_predictions(root / "pred", task_of(root)))
    assert "names come twice in" in message and "a.jpg and a.png" in message


@pytest.mark.parametrize("folder", ["gt", "masks", "pred"])
def test_empty_and_missing_folders_are_told(root: Path, folder: str) -> None:
    (root / folder).rename(root / "deeper")
    message = told(lambda: find_predictions(root / "pred", task_of(root)))
    assert f"no such folder for the {'ground truth' if folder == 'gt' else ''}" in message
    (root / folder).mkdir()
    (root / "deeper").rename(root / folder / "deeper")
    message = told(lambda: find_predictions(root / "pred", task_of(root)))
    assert f"in {str(root / folder)!r}" in message and "subfolders are not searched" in message


def test_a_file_is_no_folder(root: Path) -> None:
    assert "got a file for the ground truth" in told(lambda: find_task(root / "gt/a.png", root / "masks"))
    assert "expected a folder or a zip" in told(lambda: find_task(root / "gt", root / "masks/a.png"))


@pytest.mark.parametrize("folder", ["gt", "masks", "pred"])
def test_unreadable_files_are_told_before_anything_is_scored(root: Path, folder: str) -> None:
    (root / folder / "a.png").write_bytes(b"no image")
    (root / folder / "c.png").write_bytes(b"")
    message = told(lambda: find_predictions(root / "pred", task_of(root)))
    assert message.startswith("2 of the") and "a.png, c.png" in message


def test_files_damaged_behind_their_header_are_told_as_they_are_read(root: Path) -> None:
    for folder in ("gt", "masks"):
        content = (root / folder / "a.png").read_bytes()
        (root / folder / "a.png").write_bytes(content[:45])
        task = task_of(root)
        assert "damaged or cut short" in told(lambda task=task: task.read(task.pairs[0]))
        (root / folder / "a.png").write_bytes(content)
    with zipfile.ZipFile(root / "masks.zip", "w") as archive:
        archive.writestr("a.png", (root / "masks/a.png").read_bytes()[:45])
    task = find_task(root / "gt", root / "masks.zip", allow_missing=True)
    assert "make the zip again" in told(lambda: task.read(task.pairs[0]))


def test_unequal_sizes_are_told_before_anything_is_scored(root: Path) -> None:
    write(root / "pred/b.png", 12, 17)
    assert "of 12 x 17; expected the ground truth's 12 x 16" in told(
        lambda: find_predictions(root / "pred", task_of(root))
    )
    write_mask(root / "masks/c.png", 6, 8)
    message = told(lambda: task_of(root))
    assert "mask c.png of 6 x 8; expected the ground truth's 12 x 16" in message and "--size" in message


def test_pictures_on_their_side_are_told_as_they_are_read(root: Path) -> None:
    write(root / "pred/a.png", 16, 12)
    write_mask(root / "masks/c.png", 16, 12)
    task = task_of(root)
    predictions = find_predictions(root / "pred", task)
    assert "16 x 12" in told(lambda: predictions.read(task.pairs[0], (12, 16)))
    assert "16 x 12" in told(lambda: task.read(task.pairs[2]))


def test_a_turned_photo_fits_its_upright_mask(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "gt/a.png").unlink()
    Image.new("RGB", (12, 16)).save(root / "gt/a.jpg", exif=exif)  # 12 x 16 pixels high and wide when upright
    task = task_of(root)
    assert task.read(task.pairs[0])[0].shape == (12, 16, 3)


def test_jpegs_are_counted_by_content(root: Path) -> None:
    (root / "pred/a.png").unlink()
    write(root / "pred/a.jpg")
    (root / "pred/b.png").unlink()
    write(root / "pred/b.jpg").rename(root / "pred/b.png")
    assert find_predictions(root / "pred", task_of(root)).jpegs == 2


def test_the_ground_truth_is_no_prediction(root: Path) -> None:
    assert "ground truth itself" in told(lambda: find_predictions(root / "gt", task_of(root)))


def test_fingerprints_change_with_the_files(root: Path) -> None:
    def prints() -> tuple[str, str]:
        task = task_of(root)
        return task.fingerprint, find_predictions(root / "pred", task).fingerprint

    first = prints()
    assert prints() == first and task_of(root, size=8).fingerprint != first[0]
    os.utime(root / "pred/a.png", ns=(1, 1))
    assert prints()[0] == first[0] and prints()[1] != first[1]
    os.utime(root / "masks/a.png", ns=(1, 1))
    assert prints()[0] != first[0]


def test_errors_are_of_the_house(root: Path) -> None:
    with pytest.raises(DataError):
        find_task(root / "gone", root / "masks")
