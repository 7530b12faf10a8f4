"""Pairing, planning, running: what becomes of a folder of good and bad files. ``repair`` is a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inpaint.atomic import atomic_write
from inpaint.batch import (
    BatchReport,
    FileOptions,
    FileResult,
    Job,
    Pair,
    claim_folder,
    pair_files,
    plan_batch,
    run_batch,
)
from inpaint.batch import run as batch_run
from inpaint.batch.passes import SharedPasses
from inpaint.errors import ImageError, InpaintError, MaskError
from inpaint.models.presets import build_inpainter
from inpaint.pipeline import InpaintPipeline

GREEN = (0, 255, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with pictures of these names."""

    def make(name: str, *files: str) -> Path:
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        for file in files:
            Image.new("RGB", (8, 6), "white" if name == "masks" else "red").save(path / file)
        return path

    return make


def names(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.image.name, pair.mask.name) for pair in pairs]


def reasons(problems: list[FileResult]) -> dict[str, str]:
    found = {problem.image.name: problem.reason for problem in problems}
    assert len(found) == len(problems) and not any("\n" in reason for reason in found.values())
    return found


def paint(image: Image.Image, mask: Image.Image) -> Image.Image:
    if image.size != mask.size:
        raise MaskError(
            f"the mask is {mask.size}, the picture {image.size}: give a mask of the picture's size"
        )
    if not mask.getbbox():
        raise MaskError("the mask is empty: paint white what should be filled")
    result = image.convert("RGB")
    result.paste(GREEN, mask=mask)
    return result


def run(jobs: list[Job], repair: Callable[..., Image.Image] = paint, **options: object) -> BatchReport:
    return run_batch(jobs, repair, on_result=lambda result: None, **options)  # type: ignore[arg-type]


# Pairing


def test_equal_stems_are_pairs_whatever_the_format_sorted_by_name(folder: Callable[..., Path]) -> None:
    images = folder("images", "b.png", "a.jpg", "c.WEBP", "ü 日本.png")
    masks = folder("masks", "a.png", "c.png", "b.bmp", "ü 日本.png", "unused.png")
    pairs, problems = pair_files(images, masks)
    assert names(pairs) == [
        ("a.jpg", "a.png"),
        ("b.png", "b.bmp"),
        ("c.WEBP", "c.png"),
        ("ü 日本.png", "ü 日本.png"),
    ]
    assert [(problem.image.name, problem.status) for problem in problems] == [("unused.png", "passed over")]


def test_accents_may_be_one_character_or_two(folder: Callable[..., Path]) -> None:
    pairs, problems = pair_files(folder("images", "caf\u00e9.png"), folder("masks", "cafe\u0301.png"))
    assert len(pairs) == 1 and not problems


def test_one_mask_for_all(folder: Callable[..., Path]) -> None:
    images, masks = folder("images", "a.png", "a.jpg", "b.png"), folder("masks", "m.png")
    pairs, problems = pair_files(images, masks / "m.png")
    assert names(pairs) == [("a.jpg", "m.png"), ("a.png", "m.png"), ("b.png", "m.png")] and not problems


def test_a_mask_among_the_pictures_is_not_a_picture(folder: Callable[..., Path]) -> None:
    images = folder("images", "a.png", "mask.png")
    assert names(pair_files(images, images / "mask.png")[0]) == [("a.png", "mask.png")]


def test_single_picture_with_a_mask_or_a_folder_of_masks(folder: Callable[..., Path]) -> None:
    images, masks = folder("images", "a.png", "b.png"), folder("masks", "a.jpg", "b.jpg")
    assert names(pair_files(images / "a.png", masks / "b.jpg")[0]) == [("a.png", "b.jpg")]
    assert names(pair_files(images / "a.png", masks)[0]) == [("a.png", "a.jpg")]


def test_nothing_is_dropped_silently(folder: Callable[..., Path]) -> None:
    images = folder("images", "a.png", "a.jpg", "B.png", "c.png", "d.png", "e.png", "f.png", "g.png")
    masks = folder("masks", "a.png", "b.png", "c.png", "c.jpg", "e_mask.png", "g.png")
    for name in ("raw.CR2", "iphone.heic", "notes.txt", "no_suffix"):
        (images / name).touch()
    (masks / "f.psd").touch()
    pairs, problems = pair_files(images, masks)
    assert names(pairs) == [("g.png", "g.png")]
    found = reasons(problems)
    assert [problem.image for problem in problems] == sorted(problem.image for problem in problems)
    assert set(found) == {
        "a.png",
        "a.jpg",
        "B.png",
        "c.png",
        "d.png",
        "e.png",
        "f.png",
        "raw.CR2",
        "iphone.heic",
        "notes.txt",
        "no_suffix",
        "b.png",
        "e_mask.png",
        "f.psd",
    }
    harmless = {problem.image.name for problem in problems if problem.status == "passed over"}
    assert harmless == {"notes.txt", "no_suffix", "b.png", "e_mask.png"}
    assert "a.jpg" in found["a.png"] and "a.png" in found["a.jpg"]
    assert "b.png is there, but only B.* counts" in found["B.png"]
    assert "several masks: c.jpg, c.png" in found["c.png"]
    assert "no mask named d.*" in found["d.png"]
    assert "e_mask.png is there" in found["e.png"]
    assert "f.psd is there, but .psd images cannot be read" in found["f.png"]
    assert "convert it" in found["raw.CR2"]


def test_hidden_files_and_subfolders_are_left_alone(folder: Callable[..., Path]) -> None:
    images, masks = folder("images", "a.png", ".hidden.png", "._a.png"), folder("masks", "a.png", ".a.png")
    (images / "sub.png").mkdir()
    (images / ".inpaint-0123.tmp").touch()
    pairs, problems = pair_files(images, masks)
    assert names(pairs) == [("a.png", "a.png")] and not problems


@pytest.mark.parametrize(
    ("images", "masks", "error", "text"),
    [
        ("none", "masks", ImageError, "no such file or folder for the images"),
        ("images", "none", MaskError, "no such file or folder for the masks"),
        ("images", "images", MaskError, "images and masks are both"),
        ("images/a.png", "images/a.png", MaskError, "images and masks are both"),
        ("empty", "masks", ImageError, "no images in"),
        ("images", "empty", MaskError, "no masks in"),
    ],
)
def test_hopeless_calls_are_one_clear_error(
    tmp_path: Path, folder: Callable[..., Path], images: str, masks: str, error: type[Exception], text: str
) -> None:
    for name, files in (("images", ["a.png"]), ("masks", ["a.png"]), ("empty", [])):
        folder(name, *files)
    with pytest.raises(error, match=text) as caught:
        pair_files(tmp_path / images, tmp_path / masks)
    assert "\n" not in str(caught.value)


def test_a_tree_is_paired_folder_by_folder(folder: Callable[..., Path], tmp_path: Path) -> None:
    images = folder("images", "a.png")
    for below in ("shoes", "shoes/red", ".trash", "out"):
        folder(f"images/{below}", "a.png", "b.jpg")
    masks = folder("images/masks", "a.png")  # within the pictures' folder, as is the output
    folder("images/masks/shoes", "a.png", "b.png")
    folder("images/masks/shoes/red", "a.webp")
    pairs, problems = pair_files(images, masks, recursive=True, leave_out=[images / "out"])
    assert [
        (p.image.relative_to(images).as_posix(), p.mask.relative_to(masks).as_posix()) for p in pairs
    ] == [
        ("a.png", "a.png"),
        ("shoes/a.png", "shoes/a.png"),
        ("shoes/b.jpg", "shoes/b.png"),
        ("shoes/red/a.png", "shoes/red/a.webp"),
    ]
    assert [problem.image.relative_to(images).as_posix() for problem in problems] == ["shoes/red/b.jpg"]
    assert f"no mask named b.* in '{masks / 'shoes/red'}'" in problems[0].reason
    jobs, unplanned = plan_batch(pairs, images / "out")
    assert [job.output.relative_to(images / "out").as_posix() for job in jobs] == [
        "a.png",
        "shoes/a.png",
        "shoes/b.jpg",
        "shoes/red/a.png",
    ]
    assert not unplanned
    report = run(jobs)
    assert report.exit_code == 0 and (images / "out/shoes/red/a.png").is_file()
    again, _ = pair_files(images, masks, recursive=True, leave_out=[images / "out"])
    assert again == pairs  # results are not pictures of the next run
    one_mask, none = pair_files(images, masks / "a.png", recursive=True, leave_out=[images / "out", masks])
    assert len(one_mask) == 5 and not none
    with pytest.raises(ImageError, match="is the images folder"):
        plan_batch(pairs, images)


def test_pictures_in_subfolders_alone_are_pointed_out(folder: Callable[..., Path]) -> None:
    images = folder("images")
    folder("images/shoes", "a.png")
    with pytest.raises(ImageError, match=r"no images in .* in its subfolders, search them too"):
        pair_files(images, folder("masks", "a.png"))


def test_masks_with_a_suffix_may_lie_beside_their_pictures(folder: Callable[..., Path]) -> None:
    images = folder(
        "images", "a.jpg", "a_mask.png", "b.png", "b_Mask.png", "c_mask.png", "d.png", "d_mask_mask.png"
    )
    pairs, problems = pair_files(images, images, mask_suffix="_mask")
    assert names(pairs) == [("a.jpg", "a_mask.png")]
    found = reasons(problems)
    assert found["b.png"].startswith("no mask named b_mask.*") and "b_Mask.png is there" in found["b.png"]
    # What ends like a mask is one, though it has no picture; d_mask_mask.png is the mask of a d_mask.png.
    assert set(found) == {"b.png", "b_Mask.png", "c_mask.png", "d.png", "d_mask_mask.png"}
    apart = folder("masks", "a_mask.png", "b_mask.png", "a.png")
    assert names(pair_files(folder("alone", "a.jpg", "b.png"), apart, mask_suffix="_mask")[0]) == [
        ("a.jpg", "a_mask.png"),
        ("b.png", "b_mask.png"),
    ]
    with pytest.raises(MaskError, match="images and masks are both"):
        pair_files(images / "a.jpg", images / "a.jpg", mask_suffix="_mask")


def test_a_folder_that_cannot_be_opened_costs_one_line(
    folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder("images", "a.png")
    closed = folder("images/closed", "b.png")
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    pairs, problems = pair_files(images, folder("masks", "a.png"), recursive=True)
    assert names(pairs) == [("a.png", "a.png")]
    assert reasons(problems) == {"closed": "cannot be opened (Permission denied): check its permissions"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_passed_over_and_never_opened(folder: Callable[..., Path]) -> None:
    images, masks = folder("images", "a.png"), folder("masks", "a.png")
    for pipe in (images / "b.png", images / "no_suffix", masks / "c.png"):
        os.mkfifo(pipe)
    pairs, problems = pair_files(images, masks)
    assert names(pairs) == [("a.png", "a.png")]
    assert set(reasons(problems)) == {"b.png", "no_suffix", "c.png"}
    assert {(problem.status, problem.reason) for problem in problems} == {
        ("passed over", "not a regular file")
    }
    with pytest.raises(ImageError, match="no such file or folder"):
        pair_files(images / "b.png", masks)


def test_linked_folders_are_told_where_subfolders_are_searched(folder: Callable[..., Path]) -> None:
    images, masks, far = folder("images", "a.png"), folder("masks", "a.png"), folder("far", "b.png")
    for name in ("link", ".hidden", "out"):
        (images / name).symlink_to(far)
    (images / "own").symlink_to(folder("own"))
    pairs, problems = pair_files(images, masks, recursive=True, leave_out=[folder("own")])
    assert names(pairs) == [("a.png", "a.png")]
    assert [(problem.image.name, problem.status, problem.reason) for problem in problems] == [
        ("link", "passed over", "a linked folder"),
        ("out", "passed over", "a linked folder"),
    ]
    assert not pair_files(images, masks)[1]


def test_empty_folders_are_no_error_where_files_may_still_come(folder: Callable[..., Path]) -> None:
    images, masks = folder("images"), folder("masks")
    assert pair_files(images, masks, may_be_empty=True) == ([], [])
    with pytest.raises(ImageError, match="no such file or folder for the images"):
        pair_files(images / "none", masks, may_be_empty=True)


@pytest.mark.parametrize("name", ["images", "masks"])
def test_a_folder_of_inputs_is_refused_for_results(folder: Callable[..., Path], name: str) -> None:
    images, masks = folder("images", "a.jpg"), folder("masks", "a.png")
    with pytest.raises(InpaintError, match=rf"the output folder .*{name}' is the {name} folder"):
        pair_files(images, masks, leave_out=[images.parent / name / ".." / name])


def test_a_missing_mask_is_told_with_what_may_have_been_meant_alone(folder: Callable[..., Path]) -> None:
    images = folder("one", "a.jpg", "a2.jpg", "b.jpg", "b-mask.png", "c.png", "c_mask.png")
    (images / "gone.png").symlink_to("nowhere")
    found = reasons(pair_files(images, images, mask_suffix="_mask")[1])
    assert found["a.jpg"] == f"no mask named a_mask.* in {str(images)!r}: add one"
    assert found["b.jpg"].endswith("b-mask.png is there, but only b_mask.* counts")
    twins = reasons(pair_files(folder("two", "d.jpg", "d.png", "e.bmp", "e.jpg", "e.png"), images)[1])
    assert twins["d.jpg"] == "d.png has the same name apart from the suffix: rename one of them and its mask"
    assert twins["e.jpg"].startswith("e.bmp, e.png have the same name")


# Planning


def test_outputs_keep_name_and_format_where_it_can_be_written(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / name, tmp_path / "m.png") for name in ("a.JPG", "b.ppm", "c.tiff", "d.v2.tga")]
    jobs, problems = plan_batch(pairs, tmp_path / "out")
    assert [job.output.name for job in jobs] == ["a.JPG", "b.png", "c.tiff", "d.v2.png"] and not problems
    assert not (tmp_path / "out").exists()  # a plan writes nothing


def test_two_pictures_with_one_output_are_two_problems(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / name, tmp_path / "m.png") for name in ("a.tga", "a.png", "b.png")]
    jobs, problems = plan_batch(pairs, tmp_path / "out")
    assert [job.image.name for job in jobs] == ["b.png"]
    found = reasons(problems)
    assert "a.png would also be that of a.png" in found["a.tga"] and "a.tga" in found["a.png"]


def test_a_result_has_the_format_of_its_image_whatever_that_is_called(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    images, mask = folder("images", "a.png", "b.jpg", "c.bmp", "d.jpg", "e.png"), folder("masks", "m.png")
    (images / "a.png").rename(images / "a.jpg")  # a PNG
    (images / "b.jpg").rename(images / "b.dat")
    (images / "c.bmp").rename(images / "c.JPG")
    (images / "d.jpg").write_bytes(b"P5 8 6 255 " + bytes(48))
    (images / "e.png").rename(images / "e.jpg")
    folder("images", "e.png")
    jobs, problems = plan_batch(pair_files(images, mask / "m.png")[0], tmp_path / "out")
    assert [job.output.name for job in jobs] == ["a.png", "b.jpg", "c.bmp", "d.png"]
    assert reasons(problems)["e.jpg"] == "its output e.png would also be that of e.png: rename one"
    report = run(jobs)
    assert report.exit_code == 0
    assert [result.notes for result in report.results] == [
        ("a.jpg is a PNG file, whatever its suffix",),
        (),
        ("c.JPG is a BMP file, whatever its suffix",),
        ("d.jpg is a PPM file, whatever its suffix",),
    ]
    with Image.open(tmp_path / "out" / "a.png") as result:
        assert result.format == "PNG"
    again, _ = plan_batch(pair_files(images, mask / "m.png")[0], tmp_path / "out")
    assert [job.skip for job in again] == [True] * 4


def test_the_images_folder_is_refused_as_output(folder: Callable[..., Path], tmp_path: Path) -> None:
    pairs, _ = pair_files(folder("images", "a.png"), folder("masks", "a.png"))
    os.symlink(tmp_path / "images", tmp_path / "link")
    for output in (tmp_path / "images", tmp_path / "images" / ".." / "images", tmp_path / "link"):
        with pytest.raises(ImageError, match="is the images folder"):
            plan_batch(pairs, output)


def test_no_mask_and_no_linked_picture_is_overwritten(folder: Callable[..., Path], tmp_path: Path) -> None:
    images, masks = folder("images", "a.png"), folder("masks", "a.png")
    with pytest.raises(ImageError, match="is an input and would be replaced"):
        plan_batch(pair_files(images, masks)[0], masks)
    os.symlink(masks / "a.png", images / "b.png")
    kept = folder("kept", "b.png")
    os.replace(kept / "b.png", kept / "c.png")
    os.symlink(kept / "c.png", images / "c.png")
    with pytest.raises(ImageError, match=r"kept/c\.png' is an input"):
        plan_batch(pair_files(images / "c.png", masks / "a.png")[0], kept)


def test_a_mask_beside_the_outputs_is_no_obstacle(folder: Callable[..., Path], tmp_path: Path) -> None:
    images, here = folder("images", "a.png"), folder("here", "mask.png")
    jobs, _ = plan_batch(pair_files(images, here / "mask.png")[0], here)
    assert jobs[0].output == here / "a.png"


@pytest.mark.parametrize("output", ["out.png", "notes"])
def test_a_file_name_as_output_is_refused(tmp_path: Path, output: str) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(ImageError, match="expected a folder"):
        plan_batch([Pair(tmp_path / "images" / "a.png", tmp_path / "m.png")], tmp_path / output)


def test_results_that_are_up_to_date_are_kept(folder: Callable[..., Path]) -> None:
    pairs, _ = pair_files(
        folder("images", "a.png", "b.png", "c.png"), folder("masks", "a.png", "b.png", "c.png")
    )
    out = folder("out", "b.png", "c.png")
    os.utime(pairs[2].mask, (2**32, 2**32))  # a mask that was painted anew
    assert [job.skip for job in plan_batch(pairs, out)[0]] == [False, True, False]
    assert [job.skip for job in plan_batch(pairs, out, overwrite=True)[0]] == [False, False, False]


# Running


def test_good_pictures_are_repaired_and_reported_in_order(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    pairs, problems = pair_files(folder("images", "a.png", "b.jpg"), folder("masks", "a.png", "b.png"))
    jobs, _ = plan_batch(pairs, tmp_path / "new" / "out")
    told: list[FileResult] = []
    report = run_batch(jobs, paint, on_result=told.append)
    assert not problems
    assert told == list(report.results)
    assert [(result.image.name, result.status, result.reason) for result in told] == [
        ("a.png", "done", ""),
        ("b.jpg", "done", ""),
    ]
    assert report.exit_code == 0 and report.count("done") == 2 and all(result.seconds > 0 for result in told)
    assert Image.open(tmp_path / "new" / "out" / "a.png").getpixel((0, 0)) == GREEN
    assert Image.open(tmp_path / "new" / "out" / "b.jpg").format == "JPEG"
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["a.png", "b.jpg"]


def test_every_failure_costs_one_line_and_no_more(folder: Callable[..., Path], tmp_path: Path) -> None:
    stems = "badimage badmask empty gone good odd oom size zero".split()
    images, masks = (
        folder("images", *(f"{s}.png" for s in stems)),
        folder("masks", *(f"{s}.png" for s in stems)),
    )
    jobs, _ = plan_batch(pair_files(images, masks)[0], tmp_path / "out")
    (images / "badimage.png").write_text("no picture")
    (masks / "badmask.png").write_bytes((masks / "badmask.png").read_bytes()[:50])
    (images / "gone.png").unlink()
    (images / "zero.png").write_bytes(b"")
    Image.new("RGB", (8, 6), "black").save(masks / "empty.png")
    Image.new("RGB", (6, 8), "white").save(masks / "size.png")
    for stem, size in (("oom", (1, 1)), ("odd", (2, 2))):
        Image.new("RGB", size).save(images / f"{stem}.png")

    def repair(image: Image.Image, mask: Image.Image) -> Image.Image:
        if image.size == (1, 1):
            raise RuntimeError("out of memory\ntried to allocate 3 GiB\n")
        if image.size == (2, 2):
            raise KeyError
        return paint(image, mask)

    report = run(jobs, repair)
    found = {result.image.stem: result for result in report.results}
    assert list(found) == stems
    assert report.exit_code == 1 and report.count("done") == 1 and report.count("failed") == 8
    assert found["good"].status == "done"
    assert "is not an image file" in found["badimage"].reason
    assert found["badmask"].reason.startswith("cannot read the mask")
    assert "is empty (0 bytes)" in found["zero"].reason and "No such file" in found["gone"].reason
    assert "mask is empty" in found["empty"].reason and "the mask is (6, 8)" in found["size"].reason
    assert found["oom"].reason == "RuntimeError: out of memory" and found["odd"].reason == "KeyError"
    assert not any("\n" in result.reason for result in report.results)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_reason_does_not_name_its_image_again_and_says_how_to_fit_a_mask(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    images, masks = folder("images", *(names := ["a.png", "b.png", "c.png"])), folder("masks", *names)
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:50])
    (images / "b.png").write_text("no picture")
    Image.new("RGB", (9, 9), "white").save(masks / "c.png")
    jobs, _ = plan_batch(pair_files(images, masks)[0], tmp_path / "out")
    cut, text, size = (result.reason for result in run(jobs).results)
    assert cut.startswith("the PNG file is damaged") and text.startswith("is not an image file")
    assert size.endswith("of the picture's size, or scale it with --fit-mask")


def test_an_output_folder_that_vanishes_is_told(folder: Callable[..., Path], tmp_path: Path) -> None:
    jobs, _ = plan_batch(pair_files(folder("images", "a.png"), folder("masks", "a.png"))[0], tmp_path / "out")

    def repair(image: Image.Image, mask: Image.Image) -> Image.Image:
        (tmp_path / "out").rmdir()
        return paint(image, mask)

    assert run(jobs, repair).results[0].reason == f"the output folder {str(tmp_path / 'out')!r} is gone"


@pytest.mark.parametrize("exists", [True, False])
def test_a_result_that_is_a_link_is_written_where_it_leads(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/file")
    if exists:
        (tmp_path / "far" / "file").write_text("old")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    with pytest.raises(KeyError), atomic_write(tmp_path / "link") as file:
        raise KeyError
    assert (tmp_path / "link").is_symlink() and (tmp_path / "far" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "file", "link"]


def test_problems_alone_make_the_exit_code_1(tmp_path: Path) -> None:
    assert run([]).exit_code == 0
    assert BatchReport((FileResult(tmp_path / "a.txt", status="passed over"),)).exit_code == 0
    assert BatchReport((FileResult(tmp_path / "a.png", reason="no mask"),)).exit_code == 1


def test_an_output_folder_that_cannot_be_made_fails_before_the_work(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    jobs, _ = plan_batch(
        pair_files(folder("images", "a.png"), folder("masks", "a.png"))[0], tmp_path / "file" / "out"
    )
    (tmp_path / "file").touch()
    calls: list[int] = []
    report = run(jobs, lambda image, mask: calls.append(1) or image)
    assert report.results[0].reason.startswith("NotADirectoryError") and not calls


def test_masks_can_be_inverted(folder: Callable[..., Path], tmp_path: Path) -> None:
    images, masks = folder("images", "a.png"), folder("masks")
    Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 4, axis=1).repeat(6, axis=0)).save(
        masks / "a.png"
    )
    jobs, _ = plan_batch(pair_files(images, masks)[0], tmp_path / "out")
    run(jobs, options=FileOptions(invert_mask=True))
    result = Image.open(tmp_path / "out" / "a.png")
    assert result.getpixel((0, 0)) == GREEN and result.getpixel((7, 0)) == (255, 0, 0)


def test_metadata_survives_a_repair_that_forgets_it(folder: Callable[..., Path], tmp_path: Path) -> None:
    images, masks = folder("images", "a.png"), folder("masks", "a.png")
    Image.new("RGB", (8, 6)).save(images / "a.png", dpi=(300, 300))
    jobs, _ = plan_batch(pair_files(images, masks)[0], tmp_path / "out")
    run(jobs, lambda image, mask: Image.new("RGB", image.size))
    assert Image.open(tmp_path / "out" / "a.png").info["dpi"] == pytest.approx((300, 300), abs=0.1)


# Interruption and resumption


def test_ctrl_c_keeps_what_is_done_and_names_the_rest(folder: Callable[..., Path], tmp_path: Path) -> None:
    files = [f"{letter}.png" for letter in "abcde"]
    pairs, _ = pair_files(folder("images", *files), folder("masks", *files))
    out = tmp_path / "out"
    calls = 0

    def interrupted(image: Image.Image, mask: Image.Image) -> Image.Image:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return paint(image, mask)

    report = run(plan_batch(pairs, out)[0], interrupted)
    assert report.count("done") == 2 and report.exit_code == 1
    statuses = ["done"] * 2 + ["unfinished"] * 3
    assert [(result.image.name, result.status) for result in report.results] == [
        *zip(files, statuses, strict=True)
    ]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    report = run(plan_batch(pairs, out)[0])
    assert [result.status for result in report.results] == ["skipped"] * 2 + ["done"] * 3
    assert report.exit_code == 0 and not report.count("unfinished")
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


def test_a_killed_batch_leaves_only_whole_files_and_goes_on(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    files = [f"{letter}.png" for letter in "abcd"]
    images, masks, out = folder("images", *files), folder("masks", *files), tmp_path / "out"
    program = f"""
import os, signal, sys, types
from pathlib import Path
sys.modules["torch"] = types.SimpleNamespace(Tensor=object)  # takes seconds to load; files need none
from PIL import Image
from inpaint.batch import pair_files, plan_batch, run_batch
save = Image.Image.save
def dying_save(self, file, *arguments, **options):  # the third picture dies in the middle of its file
    if len([path for path in Path({str(out)!r}).glob("*.png")]) == 2:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, file, *arguments, **options)
Image.Image.save = dying_save
jobs, _ = plan_batch(pair_files(Path({str(images)!r}), Path({str(masks)!r}))[0], Path({str(out)!r}))
run_batch(jobs, lambda image, mask: image, on_result=lambda result: None)
"""
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], timeout=60, check=False
    )
    assert killed.returncode == -9
    assert sorted(path.name for path in out.glob("[!.]*")) == ["a.png", "b.png"]
    jobs, problems = plan_batch(pair_files(images, masks)[0], out)
    report = run(jobs)
    assert not problems
    assert [result.status for result in report.results] == ["skipped", "skipped", "done", "done"]
    assert all(Image.open(out / name).size == (8, 6) for name in files)
    assert not pair_files(out, masks)[1]  # the half file has a hidden name: nobody takes it for a picture


def test_a_mask_is_scaled_to_images_of_other_sizes_when_asked(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    images = folder("images")
    for name, size in (("a.png", (8, 6)), ("b.png", (16, 12))):
        Image.new("RGB", size, "red").save(images / name)
    mask = Image.new("L", (8, 6))
    mask.paste(255, (4, 0, 8, 6))
    mask.save(tmp_path / "mask.png")
    jobs, _ = plan_batch(pair_files(images, tmp_path / "mask.png")[0], tmp_path / "out")
    assert [result.status for result in run(jobs).results] == ["done", "failed"]
    report = run(jobs, options=FileOptions(fit_mask=True))
    assert [result.notes for result in report.results] == [(), ("the mask was scaled from 8 x 6 pixels",)]
    large = np.asarray(Image.open(tmp_path / "out" / "b.png"))
    assert (large[:, :7] == (255, 0, 0)).all() and (large[:, 9:] == GREEN).all()


def test_the_next_image_is_read_and_the_last_written_while_one_is_inpainted(
    folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, kept = [], []
    read_file = batch_run.read_file

    def read_and_note(path: Path, **options: object) -> object:
        read.append(path.name)
        return read_file(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_run, "read_file", read_and_note)
    stems = [f"{number}.png" for number in range(6)]
    jobs, _ = plan_batch(pair_files(folder("images", *stems), folder("masks", *stems))[0], tmp_path / "out")

    def slow(image: Image.Image, mask: Image.Image) -> Image.Image:
        deadline = time.monotonic() + 10
        number = len(kept)
        while len(read) < min(number + 3, 6) and time.monotonic() < deadline:
            time.sleep(0.01)
        kept.append((len(read), len(list((tmp_path / "out").glob("*.png")))))
        return paint(image, mask)

    report = run(jobs, slow)
    assert report.count("done") == 6 and 0 < report.busy <= 1
    assert [seen for seen, _ in kept] == [3, 4, 5, 6, 6, 6]  # two ahead, and no more: memory is bounded
    assert all(written >= number - 3 for number, (_, written) in enumerate(kept))


def test_one_batch_at_a_time_in_a_folder_and_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = [Job(tmp_path / "a.png", tmp_path / "m.png", out / "below" / "a.png")]
    (out / "below").mkdir(parents=True)
    (out / "below" / ".inpaint-0123.tmp").touch()
    with claim_folder(out, jobs):
        assert not list(out.rglob("*.tmp"))
        with pytest.raises(InpaintError, match="another batch is working in"), claim_folder(out, jobs):
            pass
    with claim_folder(out, jobs):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InpaintError, match="cannot write to the output folder"):
        with claim_folder(tmp_path / "file" / "out", []):
            pass


def test_images_are_known_by_content_whatever_they_are_called(folder: Callable[..., Path]) -> None:
    images, masks = folder("images", "a.png"), folder("masks", "a.png", "b.png")
    Image.new("RGB", (4, 4)).save(images / "b.dat", "PNG")
    pairs, problems = pair_files(images, masks)
    assert names(pairs) == [("a.png", "a.png"), ("b.dat", "b.png")] and not problems


# Images that share passes of the network


def test_images_that_share_passes_come_out_as_alone(tmp_path: Path) -> None:
    """But for rounding; one that fails costs itself alone, and windows of one shape share a pass."""
    torch.manual_seed(0)
    pipeline, passes, sizes = InpaintPipeline(build_inpainter("acr-tiny"), device="cpu"), SharedPasses(), []
    masks = np.zeros((7, 60, 70), np.uint8)
    masks[:, 20:40, 20:40] = 255
    masks[3] = 0  # nothing to fill
    masks[4, 5:9, :60] = 255  # other windows
    images = np.random.default_rng(0).integers(0, 256, (7, 60, 70, 3), np.uint8)
    for name, arrays in (("images", images), ("masks", masks)):
        (tmp_path / name).mkdir()
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / name / f"{number}.png")

    def counted(network: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(image: Tensor, mask: Tensor) -> Tensor:
            sizes.append(len(image))
            return network(image, mask)

        return call

    shared = pipeline.with_networks(counted).with_networks(passes.share)
    pairs = pair_files(tmp_path / "images", tmp_path / "masks")[0]
    run(plan_batch(pairs, tmp_path / "alone")[0], pipeline)
    report = run(plan_batch(pairs, tmp_path / "together")[0], shared, together=4, fill_all=passes.map)
    assert [result.status for result in report.results] == ["done"] * 3 + ["failed"] + ["done"] * 3
    assert max(sizes) == 3
    for number in (0, 1, 2, 4, 5, 6):
        one, other = (
            np.asarray(Image.open(tmp_path / name / f"{number}.png")) for name in ("alone", "together")
        )
        assert np.array_equal(other[masks[number] == 0], images[number][masks[number] == 0])
        assert np.abs(one.astype(int) - other).max() <= 1


def test_too_little_memory_for_several_images_is_enough_for_one() -> None:
    def network(image: Tensor, mask: Tensor) -> Tensor:
        if len(image) > 1:
            raise RuntimeError("out of memory")
        return image * 2

    passes = SharedPasses()
    call = passes.share(network)
    images = [torch.full((1, 3, 4, 4), float(number)) for number in range(3)]
    answers = passes.map(lambda image: call(image, image[:, :1]), images)
    assert all(torch.equal(answer, image * 2) for answer, image in zip(answers, images, strict=True))
