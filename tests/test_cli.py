"""The command line: what is written and said, and that bad input costs one line and nothing else."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner, Result
from PIL import Image

import inpaint
from inpaint.batch import BatchReport, FileResult, Job
from inpaint.checkpoint import save_checkpoint
from inpaint.cli import COMMANDS, main
from inpaint.cli.options import MASK_ADVICE
from inpaint.errors import DataError
from inpaint.models.presets import build_inpainter, build_mae


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny checkpoints, good and bad."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", build_inpainter("acr-tiny"), {})
    save_checkpoint(folder / "lama.safetensors", build_inpainter("lama-tiny"), {})
    save_checkpoint(folder / "prior.safetensors", build_mae("mae-tiny"), {})
    whole = (folder / "tiny.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "text.safetensors").write_text("not weights at all")
    return folder


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo, a mask, and several that do not fit."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    mask = Image.new("L", (50, 40))
    mask.paste(255, (10, 10, 20, 25))
    mask.save("mask.png")
    mask.resize((50, 41)).save("tall.png")
    Image.new("L", (50, 40)).save("empty.png")
    Path("text.png").write_text("no picture")
    (tmp_path / "folder").mkdir()
    return tmp_path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def pixels_of(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_run_fills_the_hole_and_nothing_else(desk: Path, weights: Path) -> None:
    result = call("run", "photo.png", "mask.png", "-o", "out.png", "--model", weights / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("out.png: filled 7.5% of 50 x 40 pixels in ")
    assert result.stderr == ""
    hole = pixels_of("mask.png") > 0
    assert np.array_equal(pixels_of("out.png")[~hole], pixels_of("photo.png")[~hole])
    assert not np.array_equal(pixels_of("out.png")[hole], pixels_of("photo.png")[hole])


def test_run_inverts_and_dilates_the_mask(desk: Path, weights: Path) -> None:
    options = ("--model", weights / "tiny.safetensors", "--device", "cpu")
    assert call("run", "photo.png", "mask.png", "-o", "in.png", "--invert-mask", *options).exit_code == 0
    assert call("run", "photo.png", "mask.png", "-o", "wide.png", "--dilate", "3", *options).exit_code == 0
    photo = pixels_of("photo.png")
    assert np.array_equal(pixels_of("in.png")[10:25, 10:20], photo[10:25, 10:20])
    changed = (pixels_of("wide.png") != photo).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 27, 7, 22)


def test_run_replaces_an_older_result(desk: Path, weights: Path) -> None:
    Path("out.jpg").write_text("older")
    assert (
        call(
            "run", "photo.png", "mask.png", "-o", "out.jpg", "--model", weights / "tiny.safetensors"
        ).exit_code
        == 0
    )
    assert pixels_of("out.jpg").shape == (40, 50, 3)


@pytest.mark.parametrize("folder", ["folder", "new"])
def test_run_shows_the_prior(desk: Path, weights: Path, folder: str) -> None:
    model = weights / "tiny.safetensors"
    result = call("run", "photo.png", "mask.png", "-o", "out.png", "--model", model, "--save-prior", folder)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 3
    for kind in ("reconstruction", "attention"):
        assert pixels_of(Path(folder, f"photo_{kind}.png")).shape == (40, 50, 3)


BAD_RUNS = [
    (("none.png", "mask.png", "-o", "out.png"), "'none.png'"),
    (("photo.png", "none.png", "-o", "out.png"), "'none.png'"),
    (("folder", "mask.png", "-o", "out.png"), "'folder' is a folder"),
    (("text.png", "mask.png", "-o", "out.png"), "'text.png'"),
    (("photo.png", "text.png", "-o", "out.png"), "cannot read the mask"),
    (("photo.png", "tall.png", "-o", "out.png"), "the mask is 50 x 41 pixels, the image 50 x 40"),
    (("photo.png", "empty.png", "-o", "out.png"), "the mask is empty"),
    (("photo.png", "mask.png", "-o", "photo.png"), "'photo.png' is the image itself"),
    (("photo.png", "mask.png", "-o", "mask.png"), "'mask.png' is the mask itself"),
    (("photo.png", "mask.png", "-o", "folder/../photo.png"), "is the image itself"),
    (("photo.png", "mask.png", "-o", "out.xyz"), "suffix '.xyz', expected one of .png"),
    (("photo.png", "mask.png", "-o", "out"), "suffix '', expected one of .png"),
    (("photo.png", "mask.png", "-o", "folder"), "'folder' is a folder"),
    (("photo.png", "mask.png", "-o", "none/out.png"), "'none' does not exist"),
    (("photo.png", "mask.png", "-o", "text.png/out.png"), "'text.png' does not exist"),
    (
        ("photo.png", "mask.png", "-o", "out.png", "--model", "acr-huge"),
        "unknown model 'acr-huge'; `inpaint models` lists the known ones",
    ),
    (("photo.png", "mask.png", "-o", "out.png", "--model", "no.safetensors"), "no file at no.safetensors"),
    (("photo.png", "mask.png", "-o", "out.png", "--model", "{}/cut.safetensors"), "cut.safetensors"),
    (("photo.png", "mask.png", "-o", "out.png", "--model", "{}/text.safetensors"), "text.safetensors"),
    (("photo.png", "mask.png", "-o", "out.png", "--model", "{}/prior.safetensors"), "holds a Masked"),
    (
        ("photo.png", "mask.png", "-o", "out.png", "--device", "tpu"),
        "got 'tpu', expected auto, cpu, cuda, cuda:N or mps",
    ),
    (("photo.png", "mask.png", "-o", "out.png", "--dilate", "-1"), "-1 is not in the range"),
    (
        ("photo.png", "mask.png", "-o", "out.png", "--save-prior", "text.png"),
        "'text.png' for --save-prior is",
    ),
    (("photo.png", "mask.png", "-o", "out.png", "--save-prior", "a/b"), "'a/b' for --save-prior cannot be"),
    (
        ("photo.png", "mask.png", "-o", "out.png", "--save-prior", "new", "--model", "{}/lama.safetensors"),
        "lama-tiny has no prior",
    ),
    (("photo.png", "mask.png"), "Missing option '-o' / '--output'"),
    (("photo.png",), "Missing argument 'MASK'; see: main run --help"),
    (("photo.png", "mask.png", "-o", "out.png", "--sharpness", "3"), "No such option"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD_RUNS)
def test_bad_input_costs_one_line_and_writes_nothing(
    desk: Path, weights: Path, arguments: tuple[str, ...], told: str
) -> None:
    before = listing(desk)
    filled = [argument.replace("{}", str(weights)) for argument in arguments]
    if "--model" not in filled:
        filled += ["--model", str(weights / "tiny.safetensors")]
    result = call("run", *filled)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert told in result.stderr
    assert listing(desk) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_here(desk: Path, weights: Path) -> None:
    model = weights / "tiny.safetensors"
    result = call("run", "photo.png", "mask.png", "-o", "out.png", "--device", "cuda", "--model", model)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "device 'cuda' is not available" in result.stderr
    assert not Path("out.png").exists()


@pytest.mark.parametrize("link", ["soft", "hard"])
def test_an_output_that_leads_to_an_input(desk: Path, weights: Path, link: str) -> None:
    other = desk / "link.png"
    try:
        other.symlink_to("photo.png") if link == "soft" else other.hardlink_to("photo.png")
    except OSError:
        pytest.skip("this file system has no such links")
    before = listing(desk)
    result = call("run", "photo.png", "mask.png", "-o", other, "--model", weights / "tiny.safetensors")
    assert result.exit_code == 2 and "is the image itself" in result.stderr
    assert listing(desk) == before


def test_the_prior_never_replaces_an_input(desk: Path, weights: Path) -> None:
    Path("mask.png").rename("folder/photo_attention.png")
    before = listing(desk)
    model = weights / "tiny.safetensors"
    arguments = ("photo.png", "folder/photo_attention.png", "-o", "out.png", "--save-prior", "folder")
    result = call("run", *arguments, "--model", model)
    assert result.exit_code == 2 and "is the mask itself" in result.stderr
    assert listing(desk) == before


def test_a_hole_may_hold_what_is_no_number(desk: Path, weights: Path) -> None:
    values = np.full((40, 50), 0.5, np.float32)
    values[pixels_of("mask.png") > 0] = np.nan
    tifffile.imwrite("nan.tif", values)
    result = call("run", "nan.tif", "mask.png", "-o", "out.tif", "--model", weights / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert np.isfinite(tifffile.imread("out.tif")).all()


class TestBatch:
    @pytest.fixture(autouse=True)
    def folders(self, desk: Path) -> None:
        for name in ("photos", "masks"):
            (desk / name).mkdir()
        for stem in "ab":
            Path("photos", f"{stem}.png").write_bytes(Path("photo.png").read_bytes())
            Path("masks", f"{stem}.png").write_bytes(Path("mask.png").read_bytes())

    def batch(self, weights: Path, *arguments: str) -> Result:
        return call("batch", *arguments, "--model", weights / "tiny.safetensors")

    def test_every_picture_is_repaired(self, weights: Path) -> None:
        result = self.batch(weights, "photos", "masks", "-o", "out")
        assert (result.exit_code, result.stdout, result.stderr) == (
            0,
            "out: 2 inpainted, 0 skipped, 0 failed\n",
            "",
        )
        hole = pixels_of("mask.png") > 0
        for stem in "ab":
            assert np.array_equal(pixels_of(f"out/{stem}.png")[~hole], pixels_of("photo.png")[~hole])

    def test_one_mask_serves_all_with_the_options_of_run(self, weights: Path) -> None:
        options = ("--invert-mask", "--dilate", "2", "--device", "cpu")
        assert self.batch(weights, "photos", "mask.png", "-o", "out", *options).exit_code == 0
        single = ("photo.png", "mask.png", "-o", "one.png", *options)
        assert call("run", *single, "--model", weights / "tiny.safetensors").exit_code == 0
        assert np.array_equal(pixels_of("out/a.png"), pixels_of("one.png"))

    def test_bad_files_cost_a_line_each_and_exit_code_1(self, weights: Path) -> None:
        Path("photos", "c.png").write_text("no picture")
        Path("masks", "c.png").write_bytes(Path("mask.png").read_bytes())
        Path("photos", "d.png").write_bytes(Path("photo.png").read_bytes())
        Path("masks", "b.png").write_bytes(Path("tall.png").read_bytes())
        result = self.batch(weights, "photos", "masks", "-o", "out")
        assert result.exit_code == 1
        assert result.stdout == "out: 1 inpainted, 0 skipped, 3 failed\n"
        lines = result.stderr.splitlines()
        assert len(lines) == 3 and all(line.startswith("failed: ") for line in lines)
        assert [stem in line for stem, line in zip("bcd", sorted(lines), strict=True)] == [True] * 3
        assert sorted(path.name for path in Path("out").iterdir()) == ["a.png"]

    def test_existing_results_are_kept_if_asked(self, weights: Path) -> None:
        Path("out").mkdir()
        Path("out", "a.png").write_text("mine")
        result = self.batch(weights, "photos", "masks", "-o", "out", "--skip-existing")
        assert (result.exit_code, result.stdout) == (0, "out: 1 inpainted, 1 skipped, 0 failed\n")
        assert Path("out", "a.png").read_text() == "mine"

    def test_a_tree_with_masks_beside_the_pictures_and_a_record(self, weights: Path) -> None:
        Path("photos", "new").mkdir()
        for stem in ("c", "d"):
            Path("photos", "new", f"{stem}.png").write_bytes(Path("photo.png").read_bytes())
        for place in ("a", "b", "new/c"):
            Path("photos", f"{place}_mask.png").write_bytes(Path("mask.png").read_bytes())
        options = ("--recursive", "--mask-suffix", "_mask", "--record", "told.csv")
        result = self.batch(weights, "photos", "photos", "-o", "photos/done", *options)
        assert (result.exit_code, result.stdout) == (1, "photos/done: 3 inpainted, 0 skipped, 1 failed\n")
        assert "d.png: no mask named d_mask.* in 'photos/new'" in result.stderr
        found = sorted(str(path.relative_to("photos/done")) for path in Path("photos/done").rglob("*.png"))
        assert found == ["a.png", "b.png", "new/c.png"]
        with Path("told.csv").open(newline="") as file:
            told = {row["image"]: row["status"] for row in csv.DictReader(file)}
        assert told == {
            "photos/a.png": "done",
            "photos/b.png": "done",
            "photos/new/c.png": "done",
            "photos/new/d.png": "failed",
        }

    @pytest.mark.slow
    def test_many_processes_give_the_same_pictures(self, weights: Path) -> None:
        pytest.importorskip("ray")
        result = self.batch(weights, "photos", "masks", "-o", "many", "--cluster", "here", "--workers", "2")
        assert (result.exit_code, result.stdout) == (0, "many: 2 inpainted, 0 skipped, 0 failed\n"), (
            result.stderr
        )
        assert self.batch(weights, "photos", "masks", "-o", "one").exit_code == 0
        for stem in "ab":
            assert np.array_equal(pixels_of(f"many/{stem}.png"), pixels_of(f"one/{stem}.png"))

    def test_workers_without_a_cluster_are_refused(self, weights: Path) -> None:
        result = self.batch(weights, "photos", "masks", "-o", "out", "--workers", "2")
        assert result.exit_code == 2 and "--workers belongs to --cluster" in result.stderr

    def test_a_dry_run_tells_the_plan_and_changes_nothing(self, desk: Path, weights: Path) -> None:
        Path("out").mkdir()
        Path("out", "a.png").write_text("mine")
        Path("photos", "c.png").touch()
        before = listing(desk)
        options = ("--dry-run", "--skip-existing", "--model", "acr-huge")  # no model is looked for
        result = call("batch", "photos", "masks", "-o", "out", *options)
        assert result.exit_code == 1 and listing(desk) == before
        assert result.stdout.splitlines() == [
            "photos/a.png + masks/a.png -> out/a.png is there already",
            "photos/b.png + masks/b.png -> out/b.png",
            "would inpaint 1, skip 1; 1 cannot be inpainted",
        ]
        assert result.stderr == "failed: photos/c.png: no mask named c.* in 'masks': add one\n"

    @pytest.mark.parametrize(
        ("record", "told"),
        [
            ("told.txt", "expected one ending in .csv or .json"),
            ("none/told.csv", "the output folder 'none' does not exist: make it first"),
            ("folder.csv", "'folder.csv' is a folder, expected a file name"),
            pytest.param(
                "/proc/told.csv",
                "cannot write '/proc/told.csv': ",
                marks=pytest.mark.skipif(
                    not Path("/proc").is_dir(), reason="needs a folder nobody writes to"
                ),
            ),
        ],
    )
    def test_a_record_that_cannot_be_written_is_refused_before_the_work(
        self, weights: Path, record: str, told: str
    ) -> None:
        Path("folder.csv").mkdir()
        result = self.batch(weights, "photos", "masks", "-o", "out", "--record", record)
        assert result.exit_code == 2 and told in result.stderr and not Path("out").exists()

    def test_the_results_are_told_though_their_record_fails(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise DataError("the disk is full")

        monkeypatch.setattr("inpaint.batch.write_record", fail)
        Path("photos", "c.png").touch()
        result = self.batch(weights, "photos", "masks", "-o", "out", "--record", "told.csv")
        assert result.exit_code == 2 and result.stdout == "out: 2 inpainted, 0 skipped, 1 failed\n"
        assert result.stderr.startswith("failed: photos/c.png: no mask")
        assert result.stderr.endswith("\nerror: the disk is full\n")

    def test_json_has_an_object_for_every_image(self, weights: Path) -> None:
        for name in ("c.png", "d.psd", "notes.txt"):
            Path("photos", name).touch()
        result = self.batch(weights, "photos", "masks", "-o", "out", "--json")
        *images, counts = map(json.loads, result.stdout.splitlines())
        assert {Path(one["image"]).name: one["status"] for one in images} == {
            "a.png": "done", "b.png": "done", "c.png": "failed", "d.psd": "failed"
        }  # fmt: skip
        assert (counts["inpainted"], counts["failed"]) == (2, 2)

    def test_a_line_break_in_a_name_is_shown_escaped(self, weights: Path) -> None:
        Path("photos", "c\nd.png").touch()
        result = self.batch(weights, "photos", "masks", "-o", "out")
        assert result.stderr == "failed: photos/c\\nd.png: no mask named c\\nd.* in 'masks': add one\n"

    def test_watching_begins_in_an_empty_folder_and_tells_how_busy_it_was(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = iter(range(4))

        def sleep(_: float) -> None:
            if next(looks) == 0:
                Path("folder", "a.png").write_bytes(Path("photo.png").read_bytes())
            elif Path("out", "a.png").exists():
                raise KeyboardInterrupt

        monkeypatch.setattr("time.sleep", sleep)
        result = self.batch(weights, "folder", "masks", "-o", "out", "--watch", "--json")
        counts = json.loads(result.stdout.splitlines()[-1])
        assert (result.exit_code, counts["inpainted"]) == (0, 1), result.output
        assert 0 < counts["network_busy"] <= 1

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("none", "masks", "-o", "out"), "'none'"),
            (("photos", "none", "-o", "out"), "'none'"),
            (("photos", "masks", "-o", "photos"), "the output folder 'photos' is the images folder"),
            (("photos", "masks", "-o", "masks"), "the output folder 'masks' is the masks folder"),
            (("photos", "masks", "-o", "out", "--model", "acr-huge"), "unknown model"),
        ],
    )
    def test_bad_input_costs_one_line_and_writes_nothing(
        self, desk: Path, weights: Path, arguments: tuple[str, ...], told: str
    ) -> None:
        before = listing(desk)
        options = () if "--model" in arguments else ("--model", weights / "tiny.safetensors")
        result = call("batch", *arguments, *options)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("error: ") and told in result.stderr
        assert listing(desk) == before


def test_a_network_that_needs_timm_says_what_to_install(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    result = call("run", "photo.png", "mask.png", "-o", "out.png", "--model", "acr-small-convnext")
    assert (result.exit_code, result.stdout, Path("out.png").exists()) == (2, "", False)
    assert result.stderr == (
        "error: a backbone such as ConvNeXt needs timm, which is not installed: "
        "pip install 'mae-acr-inpaint[backbones]'\n"
    )


def test_models_are_listed_one_a_line() -> None:
    result = call("models")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("acr-small ")]
    assert "Apache-2.0" in line and ("here" in line or "missing" in line)


RUN = """
name = "short"
preset = "acr-tiny"
out = "runs"
photos = ["photos"]
batch_size = 1
images = 20
warmup_images = 8
learning_rate = 1e-3
device = "mps"
"""
NO_PERCEPTUAL = "[weights]\nperceptual = 0\n"


@pytest.mark.parametrize(("part", "more"), [("mae", ""), ("acr", NO_PERCEPTUAL)])
def test_train_hands_the_run_on_and_shows_its_progress(
    part: str, more: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inpaint.train.monitor import Progress

    Path("run.toml").write_text(f'kind = "{part}"\n' + RUN + more)
    runs = []

    def fit(config: Any, on_progress: Callable[[Progress], None]) -> Path:
        runs.append(config)
        for seen in (3, 6, 10):
            on_progress(Progress(seen, 10, 2.5, {"loss": 0.123456}))
        return config.out / "short.safetensors"

    monkeypatch.setattr("inpaint.train.fit.fit", fit)
    result = call("train", "run.toml", "--images", "10", "--out", "elsewhere", "--device", "cpu")
    assert result.exit_code == 0, result.output
    run = runs[0]
    assert (run.name, run.images, run.out, run.device) == ("short", 10, Path("elsewhere"), "cpu")
    assert result.stdout == f"trained: {Path('elsewhere', 'short.safetensors')}\n"
    first, last = result.stderr.splitlines()  # the one between comes too soon after the first
    assert first.split() == "3 of 10 2.5 images/s 0:00:03 left loss 0.1235".split()
    assert last.split()[0] == "10"


@pytest.mark.parametrize("part", ["mae", "acr"])
def test_train_refuses_in_one_line(part: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("train", "none.toml")  # torch asks for mps itself while it is loaded
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    Path("odd.toml").write_text(f'kind = "{part}"\n' + RUN + NO_PERCEPTUAL.replace("perceptual", "colour"))
    Path("mps.toml").write_text(f'kind = "{part}"\n' + RUN + (NO_PERCEPTUAL if part == "acr" else ""))
    before = listing(desk)
    for config, told in (("none.toml", "none.toml"), ("odd.toml", "odd.toml"), ("mps.toml", "'mps' is not")):
        result = call("train", config)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("error: ") and told in result.stderr
    assert listing(desk) == before


def test_help_names_every_command_and_its_purpose() -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)
    for name in COMMANDS:
        assert call(name, "--help").exit_code == 0


def test_an_unknown_command_is_one_line() -> None:
    result = call("erase")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "'erase'" in result.stderr


@pytest.mark.parametrize("command", [[], ["backbones"]])
def test_a_group_without_a_command_shows_its_help(command: list[str]) -> None:
    result = call(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == call(*command, "--help").stdout


def test_lists_of_commands_cut_no_sentence() -> None:
    for command in ([], ["models"], ["backbones"]):
        assert "..." not in call(*command, "--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("export", "acr-small", "none/o.onnx"), "the output folder 'none' does not exist: make it first"),
        (("convert", "photo.png", "none/o.safetensors"), "the output folder 'none' does not exist"),
        (("train", "average", "a.safetensors", "-o", "none/o.safetensors"), "the output folder 'none' does"),
        (("convert", "folder", "o.safetensors"), "folder is a folder, expected a weights file"),
        (("convert", "photo.png", "o.safetensors"), "photo.png is not a weights file, or damaged; expected"),
        (("masks", "photo.png"), "'photo.png' is a file, expected a folder"),
        (("masks", "new", "--kind", "objects"), "name a folder or a zip of them with --shapes"),
    ],
)
def test_other_commands_refuse_in_one_line(desk: Path, arguments: tuple[str, ...], told: str) -> None:
    before = listing(desk)
    result = call(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("error: ") and told in result.stderr
    assert listing(desk) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "photo.png", "mask.png", "-o", "out.png"), "stopped; nothing was written\n"),
        (
            ("batch", "folder", "mask.png", "-o", "out"),
            "stopped before the first image; the same command starts again\n",
        ),
        (("models",), "stopped\n"),
    ],
)
def test_ctrl_c_is_told(
    desk: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    Path("folder", "a.png").write_bytes(Path("photo.png").read_bytes())
    monkeypatch.setattr("inpaint.weights.list_models", stop)
    monkeypatch.setattr("inpaint.pipeline.InpaintPipeline.from_pretrained", stop)
    result = call(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", told)


def test_the_version() -> None:
    assert call("--version").stdout == f"inpaint {inpaint.__version__}\n"


def process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from inpaint.cli import main; main(prog_name='inpaint')"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_as_a_process(desk: Path, weights: Path) -> None:
    model = weights / "tiny.safetensors"
    done = process("run", "photo.png", "mask.png", "-o", "out.png", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    assert pixels_of("out.png").shape == (40, 50, 3)
    failed = process("run", "photo.png", "mask.png", "-o", "photo.png", "--model", model)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1


def test_a_console_that_lacks_characters_of_a_name(desk: Path, weights: Path) -> None:
    arguments = ("run", "photo.png", "mask.png", "-o", "出.png", "--model", weights / "tiny.safetensors")
    done = process(*arguments, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("\\u51fa.png: filled ")
    assert Path("出.png").exists()


def test_openexr_files_are_written_without_a_word_of_its_library(desk: Path, weights: Path) -> None:
    pytest.importorskip("OpenImageIO")
    model = weights / "tiny.safetensors"
    done = process("run", "photo.png", "mask.png", "-o", "out.exr", "--model", model)
    assert (done.returncode, done.stderr) == (0, "out.exr: integers became floats, 255 is 1\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_standard_output_is_told_as_such() -> None:
    code = "from inpaint.cli import main; main(prog_name='inpaint')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: no space left on device\n"


def test_every_setting_of_run_reaches_the_pipeline(
    desk: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def call_pipeline(_: object, image: Image.Image, mask: Image.Image, **settings: Any) -> Image.Image:
        seen.update(settings)
        return image

    monkeypatch.setattr("inpaint.pipeline.InpaintPipeline.__call__", call_pipeline)
    options = ("--dilate", "3", "--no-harmonise", "--strict", "--refine")
    result = call(
        "run", "photo.png", "mask.png", "-o", "out.png", *options, "--model", weights / "tiny.safetensors"
    )
    assert result.exit_code == 0, result.output
    assert seen == {
        "dilate": 3,
        "harmonise": False,
        "strict": True,
        "refine": True,
        "mask_advice": MASK_ADVICE,
    }


def test_watching_takes_every_version_of_a_file_once_and_whole(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = import_module("inpaint.cli.batch")
    looks, seen = iter(range(8)), []

    def sleep(_: float) -> None:
        look = next(looks)
        if look in (2, 3, 5):  # a new file, written in two pieces; later another version of it
            with Path("folder", "new.png").open("ab") as file:
                file.write(b"piece")
        if look == 7:
            raise KeyboardInterrupt

    def plan() -> tuple[list[Job], list[FileResult]]:
        images = [Path("photo.png"), *sorted(Path("folder").iterdir())]
        return [Job(image, Path("mask.png"), Path("out") / image.name) for image in images], []

    def run(jobs: list[Job]) -> BatchReport:
        seen.append([(job.image.name, job.image.stat().st_size) for job in jobs])
        return BatchReport(tuple(job.result("done") for job in jobs))

    monkeypatch.setattr("time.sleep", sleep)
    report, problems = command._watch(plan, run)
    assert seen == [[("photo.png", Path("photo.png").stat().st_size)], [("new.png", 10)], [("new.png", 15)]]
    assert report.count("done") == 2 and problems == []


@pytest.mark.parametrize("command", ["run", "batch"])
def test_a_doubtful_mask_is_told_with_the_option_that_helps(desk: Path, weights: Path, command: str) -> None:
    Image.new("L", (50, 40), 255).save("white.png")
    Path("out").mkdir()
    Path("in").mkdir()
    Path("photo.png").rename("in/photo.png")
    image, output = ("in/photo.png", "out/a.png") if command == "run" else ("in", "out")
    arguments = (command, image, "white.png", "-o", output, "--model", weights / "tiny.safetensors")
    told = f"100% of the photo as hole, so nearly everything is replaced; {MASK_ADVICE}"
    result = call(*arguments)
    assert result.exit_code == 0 and f"warning: the mask marks {told}" in result.stderr
    result = call(*arguments, "--strict", *(["--overwrite"] if command == "batch" else []))
    assert result.exit_code and told in result.stderr and "warning" not in result.stderr
