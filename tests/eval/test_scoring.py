"""The engine: the same numbers in any order and batch and after any interruption; what a report warns of."""

from __future__ import annotations

import dataclasses
import sqlite3
import tracemalloc
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from eval.measures.protocols import build_measures
from eval.results import Column, Report, Value
from eval.scoring import score
from eval.tasks.methods import Fill, Method, baseline_methods
from eval.tasks.pairs import find_predictions, find_task
from inpaint.errors import DataError, InpaintError

CPU = torch.device("cpu")
ALWAYS = 10**9


class MeanColours:
    """Measures of a known answer: an image's error, and the mean colours of the whole set in their order."""

    columns = (Column("l1", "L1", 4, False), Column("fid", "FID", 2, False, of_set=True))
    unmeasured: Mapping[str, str] = {}
    definition = "Mean colours."
    feature_sizes: Mapping[str, int] = {"fid": 3}

    files: Mapping[str, str] = {}

    def per_image(self, composite: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"l1": (composite - target).abs().double().mean(dim=(1, 2, 3)).cpu()}

    def features(self, image: Tensor) -> dict[str, Tensor]:
        return {"fid": image.mean(dim=(2, 3)).cpu()}

    def of_sets(self, composites: Any, targets: Any) -> dict[str, Value]:
        return {"fid": Value(float(np.abs(composites["fid"] - targets["fid"]).max()))}


class ManyFeatures(MeanColours):
    """More features than there are images."""

    feature_sizes: Mapping[str, int] = {"fid": 12}

    def features(self, image: Tensor) -> dict[str, Tensor]:
        return {"fid": image.mean(dim=(2, 3)).cpu().repeat(1, 4)}


def files(name: str, folder: Path, task: Any, **options: Any) -> Method:
    predictions = find_predictions(folder, task, **options)
    return Method(name, "files", predictions, predictions.fingerprint)


def run(pictures: Any, methods: list[Method], measures: Any = None, **options: Any) -> Report:
    options = {"cache_dir": pictures.root / "work", "protocol": "standard", "device": CPU} | options
    task = find_task(pictures.gt, pictures.masks)
    return score(task, methods, measures or build_measures("standard"), **options)


def without_times(report: Report) -> Report:
    rows = [dataclasses.replace(row, seconds_per_image=None) for row in report.rows]
    return dataclasses.replace(report, rows=tuple(rows))


def grey(image: Tensor, mask: Tensor) -> Tensor:
    return torch.full_like(image, 100 / 255)


def changed(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """10 levels off in the hole, 3 levels off in one known pixel."""
    image = np.where(hole, (image + 10) % 256, image)
    image[0, 0, 1] += np.where(image[0, 0, 1] < 128, 3, -3)
    return image


@pytest.fixture
def pictures(make_set: Callable) -> Any:
    return make_set(6)


def test_a_known_error_gives_the_known_numbers(pictures: Any) -> None:
    def darker(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        image = np.where(hole, np.where(image < 128, image + 10, image - 10), image)
        image[0, 0, 1] += 3 if image[0, 0, 1] < 128 else -3
        return image

    pictures.predict("pred", darker)
    task = find_task(pictures.gt, pictures.masks)
    report = run(pictures, [files("darker", pictures.root / "pred", task)])
    row = report.row("darker")
    ratios = [pictures.hole(f"p{index:02}").mean() for index in range(6)]
    assert row.values["hole_psnr"].value == pytest.approx(10 * np.log10(255**2 / 100), rel=1e-6)
    assert row.values["hole_l1"].value == pytest.approx(10 / 255)
    assert [p.values["l1"] for p in row.images] == pytest.approx([ratio * 10 / 255 for ratio in ratios])
    assert [p.values["psnr"] for p in row.images] == pytest.approx(
        [10 * np.log10(255**2 / (100 * ratio)) for ratio in ratios]
    )
    assert [p.hole_ratio for p in row.images] == pytest.approx(ratios)
    # What it changed outside the hole is told, and not measured.
    known = sum((1 - ratio) * 24 * 32 for ratio in ratios)
    assert row.known_change.pixels == pytest.approx(6 / known) and row.known_change.worst == 3
    assert row.known_change.mean == pytest.approx(6 * 3 / (3 * known))
    assert (report.n, report.size, report.warnings) == (6, "24 x 32", ())
    assert report.hole_ratio == pytest.approx(np.mean(ratios))
    assert row.seconds_per_image is None and row.folder == str(pictures.root / "pred")


def test_a_perfect_prediction_is_perfect(pictures: Any) -> None:
    pictures.predict("pred", lambda image, hole: image)
    task = find_task(pictures.gt, pictures.masks)
    row = run(pictures, [files("perfect", pictures.root / "pred", task)], MeanColours()).row("perfect")
    assert row.values["l1"].value == 0 and row.values["fid"].value == 0
    assert (row.known_change.pixels, row.known_change.worst) == (0, 0)


def test_numbers_do_not_depend_on_batches(pictures: Any) -> None:
    pictures.predict("pred", changed)
    task = find_task(pictures.gt, pictures.masks)
    methods = [
        *baseline_methods(),
        Method("grey", "model", grey),
        files("files", pictures.root / "pred", task),
    ]
    one, all_ = (
        run(pictures, methods, cache_dir=pictures.root / f"work{size}", pixels_at_once=size)
        for size in (1, ALWAYS)
    )
    for row, other in zip(one.rows, all_.rows, strict=True):
        for key, value in row.values.items():
            assert value.value == pytest.approx(other.values[key].value, rel=1e-6), (row.name, key)
        assert row.known_change == other.known_change
    assert (one.images_hash, one.masks_hash) == (all_.images_hash, all_.masks_hash)


def test_numbers_do_not_depend_on_the_order(make_set: Callable, tmp_path: Path) -> None:
    pictures = make_set(6)
    first = run(pictures, [Method("grey", "model", grey)], MeanColours())
    for folder in (pictures.gt, pictures.masks):
        for path in sorted(folder.iterdir()):
            path.rename(path.with_name(f"{9 - int(path.stem[1:])}.png"))
    second = run(pictures, [Method("grey", "model", grey)], MeanColours(), cache_dir=tmp_path / "other")
    values = [[p.values["l1"] for p in report.row("grey").images] for report in (first, second)]
    assert values[0] == values[1][::-1]
    assert first.row("grey").values["fid"] == second.row("grey").values["fid"]
    assert first.row("grey").values["l1"].value == pytest.approx(second.row("grey").values["l1"].value)
    assert first.images_hash != second.images_hash  # names belong to a task


def test_pictures_of_many_sizes_are_scored_at_their_own(make_set: Callable) -> None:
    pictures = make_set(6, shapes=((24, 32), (40, 20), (12, 44)))
    pictures.predict("pred", changed)
    task = find_task(pictures.gt, pictures.masks)
    report = run(pictures, [files("files", pictures.root / "pred", task), *baseline_methods()[:2]])
    assert report.size == "mixed"
    assert [p.stem for p in report.rows[0].images] == [f"p{index:02}" for index in range(6)]


def test_models_may_change_what_baselines_cannot(pictures: Any) -> None:
    report = run(
        pictures, [*baseline_methods()[:1], Method("grey", "model", grey, "abc" * 10)], MeanColours()
    )
    assert report.row("mean colour").known_change is None
    known_change = report.row("grey").known_change
    assert known_change.pixels > 0.9 and known_change.mean > 1
    assert report.row("grey").seconds_per_image
    assert report.notes["SHA-256 of models"] == "grey (abcabcabcabcabca)"
    assert report.notes["images"] == "6 of 6; at their own sizes"


class Interrupted:
    """A fill that is stopped before its ``n``-th call, once; it counts the images it filled."""

    def __init__(self, before: int | None, fill: Fill = grey) -> None:
        self.before, self.fill, self.filled = before, fill, 0

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        if self.filled == self.before:
            raise KeyboardInterrupt
        self.filled += len(image)
        return self.fill(image, mask)


def test_a_stopped_run_goes_on_where_it_stood(pictures: Any) -> None:
    whole = run(pictures, [Method("m", "model", grey)], MeanColours(), cache_dir=pictures.root / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(pictures, [Method("m", "model", Interrupted(4))], MeanColours(), pixels_at_once=2 * 24 * 32)
    rest = Interrupted(None)
    seen = []
    resumed = run(
        pictures,
        [Method("m", "model", rest)],
        MeanColours(),
        pixels_at_once=2 * 24 * 32,
        on_progress=lambda *told: seen.append(told),
    )
    assert rest.filled == 2
    assert without_times(resumed) == without_times(whole)
    assert seen[0] == ("ground truth", 6, 6)  # computed once
    assert [told for told in seen if told[0] == "m"] == [("m", 4, 6), ("m", 6, 6)]
    again = Interrupted(None)
    assert run(pictures, [Method("m", "model", again)], MeanColours()) == resumed and again.filled == 0


def test_a_method_may_join_later(pictures: Any) -> None:
    first = run(pictures, [Method("m", "model", grey)], MeanColours())
    counted = Interrupted(None)
    both = run(pictures, [Method("m", "model", counted), *baseline_methods()[:1]], MeanColours())
    assert counted.filled == 0 and both.rows[0] == first.rows[0] and len(both.rows) == 2


def test_another_run_is_not_continued(pictures: Any) -> None:
    run(pictures, [Method("m", "model", grey, "first")], MeanColours())
    with pytest.raises(DataError, match=r"begun with other predictions .*--cache-dir"):
        run(pictures, [Method("m", "model", grey, "second")], MeanColours())
    with pytest.raises(DataError, match="begun with other measures"):
        run(pictures, [Method("m", "model", grey, "first")])
    Image.new("RGB", (32, 24)).save(pictures.gt / "p00.png")
    with pytest.raises(DataError, match="begun with other images or masks"):
        run(pictures, [Method("m", "model", grey, "first")], MeanColours())


def test_two_runs_in_one_folder_are_told(pictures: Any) -> None:
    run(pictures, [Method("m", "model", grey)], MeanColours())
    with closing(sqlite3.connect(pictures.root / "work/method-m.sqlite")) as database, database:
        database.execute("UPDATE images SET entry = (SELECT entry FROM images LIMIT 1) WHERE rowid = 2")
    with pytest.raises(DataError, match=r"mixed up in .*work.*two runs at once"):
        run(pictures, [Method("m", "model", grey)], MeanColours())


def test_composites_are_saved_and_those_that_were_lost_are_made_again(pictures: Any) -> None:
    save = pictures.root / "saved"
    run(pictures, [Method("my model", "model", grey)], MeanColours())  # without saving, first
    counted = Interrupted(None)
    report = run(pictures, [Method("my model", "model", counted)], MeanColours(), save=save)
    assert counted.filled == 6 and report.rows[0].folder == str(save / "my-model")
    for index in range(6):
        stem = f"p{index:02}"
        expected = np.where(pictures.hole(stem)[..., None], 100, pictures.pixels(stem))
        assert np.array_equal(np.array(Image.open(save / f"my-model/{stem}.png")), expected)
    (save / "my-model/p04.png").unlink()
    counted = Interrupted(None)
    run(pictures, [Method("my model", "model", counted)], MeanColours(), save=save)
    assert counted.filled == 2 and (save / "my-model/p04.png").is_file()
    task = find_task(pictures.gt, pictures.masks)
    again = run(pictures, [files("saved", save / "my-model", task)], MeanColours())
    assert again.rows[0].values == report.rows[0].values and again.rows[0].known_change.worst == 0


def test_a_folder_that_cannot_be_saved_to_is_named(pictures: Any) -> None:
    (pictures.root / "saved").write_text("a file")
    with pytest.raises(DataError, match=r"cannot save images in .*saved"):
        run(pictures, [Method("m", "model", grey)], MeanColours(), save=pictures.root / "saved")


def test_missing_predictions_are_counted_and_the_rest_is_compared_with_its_own_truth(pictures: Any) -> None:
    folder = pictures.predict("pred", lambda image, hole: image)
    for stem in ("p00", "p03"):
        (folder / f"{stem}.png").unlink()
    task = find_task(pictures.gt, pictures.masks)
    report = run(pictures, [files("some", folder, task, allow_missing=True)], MeanColours())
    row = report.row("some")
    assert row.missing == ("p00", "p03") and [p.stem for p in row.images] == ["p01", "p02", "p04", "p05"]
    assert row.values["fid"].value == 0  # features of the same images, in the same order
    assert any("some: 2 of 6 images have no prediction: p00, p03" in warning for warning in report.warnings)


def test_masks_of_the_other_polarity_are_told(pictures: Any) -> None:
    noise = np.random.default_rng(0)
    pictures.predict(
        "inverted", lambda image, hole: np.where(hole, image, noise.integers(0, 256, image.shape))
    )
    pictures.predict("right", lambda image, hole: np.where(hole, image + 20, image + 1))
    task = find_task(pictures.gt, pictures.masks)
    alike = np.random.default_rng(0)  # such as an autoencoder's output: errors are everywhere
    pictures.predict(
        "whole", lambda image, hole: image + alike.normal(0, 9, image.shape) * (1.2 - 0.2 * hole)
    )
    methods = [files(name, pictures.root / name, task) for name in ("inverted", "right", "whole")]
    (warning,) = run(pictures, methods, build_measures("standard")).warnings
    assert warning.startswith("inverted: the known region differs more") and "polarity" in warning


def test_jpeg_predictions_are_told(pictures: Any) -> None:
    folder = pictures.predict("pred", lambda image, hole: np.where(hole, image + 60, image), suffix=".jpg")
    task = find_task(pictures.gt, pictures.masks)
    report = run(pictures, [files("lossy", folder, task)])
    assert any("lossy: 6 of 6 predictions are lossy JPEG" in warning for warning in report.warnings)
    assert report.rows[0].known_change.pixels > 0


def test_few_pictures_are_told_where_fid_is_measured(pictures: Any) -> None:
    methods = [Method("m", "model", grey)]
    assert run(pictures, methods, MeanColours()).warnings == ()
    (warning,) = run(pictures, methods, ManyFeatures(), cache_dir=pictures.root / "many").warnings
    assert (
        warning.startswith("N = 6 is below the number of features of FID (12 features)")
        and "biased upward" in warning
    )
    assert run(pictures, methods, cache_dir=pictures.root / "other").warnings == ()


def test_pictures_without_a_hole_are_told_and_left_out_of_hole_measures(pictures: Any) -> None:
    Image.new("L", (32, 24)).save(pictures.masks / "p02.png")
    report = run(pictures, [Method("m", "model", grey)])
    (warning,) = report.warnings
    assert warning.startswith("1 of 6 images have no hole: p02")
    row = report.row("m")
    assert set(row.images[2].values) == {"psnr", "ssim", "l1"} and np.isinf(row.images[2].values["psnr"])
    assert np.isfinite(row.values["hole_psnr"].value)


def test_hashes_tell_pictures_and_masks_apart(pictures: Any) -> None:
    def hashes(name: str) -> tuple[str, str]:
        report = run(pictures, [Method("m", "model", grey)], MeanColours(), cache_dir=pictures.root / name)
        return report.images_hash, report.masks_hash

    first = hashes("1")
    for path in pictures.gt.iterdir():  # the same pixels in another file
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    assert hashes("2") == first
    mask = np.array(Image.open(pictures.masks / "p01.png"))
    mask[0, 0] = 255
    Image.fromarray(mask).save(pictures.masks / "p01.png")
    images, masks = hashes("3")
    assert images == first[0] and masks != first[1]


def test_a_full_device_costs_one_line(pictures: Any) -> None:
    def too_large(image: Tensor, mask: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    with pytest.raises(InpaintError, match="out of memory on cpu; use --device cpu, or a smaller --size"):
        run(pictures, [Method("m", "model", too_large)])


def test_names_are_checked_before_anything_is_scored(pictures: Any) -> None:
    with pytest.raises(DataError, match="two methods"):
        run(pictures, [Method("m", "model", grey), Method("m", "model", grey)])
    assert not (pictures.root / "work").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(make_set: Callable) -> None:
    pictures = make_set(80, shapes=((256, 256),))
    pictures.predict("pred", changed)

    def peak(limit: int) -> tuple[int, int]:
        """Most bytes of Python and NumPy, and most batches of tensors alive at once."""
        alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
        most = 0

        def watched(image: Tensor, mask: Tensor) -> Tensor:
            nonlocal most
            alive.add(image)
            most = max(most, len(alive))
            return grey(image, mask)

        task = find_task(pictures.gt, pictures.masks, limit=limit)
        methods = [Method("m", "model", watched), files("files", pictures.root / "pred", task)]
        tracemalloc.start()
        run_of = {"protocol": "standard", "cache_dir": pictures.root / f"work{limit}", "device": CPU}
        score(task, methods, MeanColours(), pixels_at_once=2 * 256 * 256, **run_of)
        bytes_ = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return bytes_, most

    peak(4)  # what is loaded once is loaded
    (few_bytes, few_batches), (many_bytes, many_batches) = peak(20), peak(80)
    one_picture = 256 * 256 * (3 + 1)
    assert many_bytes - few_bytes < 20 * one_picture  # 60 more were scored; the collector runs when it likes
    assert few_batches <= 2 and many_batches <= 2


def test_an_image_too_small_for_a_measure_is_named(pictures: Any) -> None:
    Image.new("RGB", (8, 8)).save(pictures.gt / "p02.png")
    Image.new("L", (8, 8), 255).save(pictures.masks / "p02.png")
    with pytest.raises(DataError, match=r"p02 is too small to measure: .*8 x 8; .* 11 x 11"):
        run(pictures, [Method("m", "model", grey)])
