"""``inpaint backbones``: small networks with random weights; the files of weights are made here, too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

pytest.importorskip("timm")
import timm

from inpaint.backbones import network
from inpaint.backbones.registry import BACKBONES, USUAL
from inpaint.cli import main
from inpaint.cli.backbones import YARDSTICK

ROOT = Path(__file__).resolve().parents[2]
FILE = "convnext_atto.d2_in1k.safetensors"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["backbones", *arguments])


def complaint(result: Result) -> str:
    """The one line of a command that failed."""
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ").strip()


def make_weights(path: Path) -> None:
    """Random weights but for the head, which always sees a golden retriever."""
    torch.manual_seed(1)
    made = timm.create_model("convnext_atto")
    head: Any = made.get_submodule("head.fc")
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    head.bias.data[207] = 9.0
    save_file(made.state_dict(), path)


def test_list_shows_every_network_and_where_its_weights_are(weights_folder: Path) -> None:
    (weights_folder / FILE).touch()
    shown = call("list")
    assert shown.exit_code == 0, shown.output
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    assert all(backbone.name in lines for backbone in BACKBONES)
    for word in ("ConvNeXt V1", "3.7 M", "0.55 G", "75.7 % [1]", "Apache-2.0", " here"):
        assert word in lines["convnext_atto"]
    assert "to fetch" in lines["convnextv2_femto"] and "not here" in lines["convnext_isotropic_small"]
    assert "table 2 has 79.7 %" in lines["[3]"]


def test_list_with_what_a_counter_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Counting all networks takes its time, and test_registry.py does it.
    monkeypatch.setattr(network, "count_backbone", lambda backbone: (len(backbone.name), 2.5))
    lines = {line.split()[0]: line for line in call("list", "--count").stdout.splitlines() if line.strip()}
    for backbone in BACKBONES:
        assert f"{len(backbone.name)} M" in lines[backbone.name] and "2.5 G" in lines[backbone.name]
    assert "2.5 G" not in call("list").stdout


def test_list_needs_no_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "convnext_tiny" in call("list").stdout
    assert complaint(call("list", "--count")).startswith(
        "a backbone such as ConvNeXt needs timm, which is not installed: pip "
    )


@pytest.mark.slow
def test_the_table_in_the_documentation_is_the_printed_one() -> None:
    printed = call("list", "--count", "--markdown").stdout.strip()
    assert printed in (ROOT / "docs" / "BACKBONES.md").read_text(encoding="utf-8")


def test_run_tells_the_guesses_of_weights_that_are_here(desk: Path, weights_folder: Path) -> None:
    make_weights(weights_folder / FILE)
    result = call("run", "photo.png")
    assert result.exit_code == 0, result.output
    first, *guesses = result.stdout.splitlines()[:6]
    assert first == f"ConvNeXt Atto (convnext_atto), weights: {FILE}"
    assert guesses[0] == "  89.0%  golden retriever" and len(guesses) == 5  # e^9 / (e^9 + 999)
    assert all(line.startswith("   0.0%  ") for line in guesses[1:])
    assert sorted(path.name for path in desk.iterdir()) == ["photo.png"]


def test_run_without_weights_invents_no_guesses_and_writes_maps(desk: Path) -> None:
    before = Path("photo.png").read_bytes()
    result = call("run", "photo.png", "-o", "seen")
    assert result.exit_code == 0, result.output
    assert "%" not in result.stdout
    told = result.stdout.splitlines()
    assert told[0].endswith("weights: random")
    assert told[1].startswith(
        "no guesses: convnext_atto.d2_in1k is not here and INPAINT_OFFLINE forbids fetching. "
    )
    assert told[1].endswith("; it is checked and used. Or name it with --weights.")
    assert told[2].startswith("stage 1: 40 channels of 56 x 56, channel distance 0.")
    sheets = [f"photo_convnext_atto_stage{number}.png" for number in (1, 2, 3, 4)]
    assert sorted(path.name for path in Path("seen").iterdir()) == ["photo_convnext_atto.npz", *sheets]
    for sheet in sheets:
        with Image.open(Path("seen", sheet)) as opened:
            assert opened.size == (396, 396)
    with np.load("seen/photo_convnext_atto.npz") as archive:
        shapes = [archive[f"stage{number}"].shape for number in (1, 2, 3, 4)]
        assert shapes == [(40, 56, 56), (80, 28, 28), (160, 14, 14), (320, 7, 7)]
        assert archive["weights"] == "random"
        assert f"channel distance {archive['channel_distance'][2]:.3f}" in told[4]
    assert Path("photo.png").read_bytes() == before
    assert (
        call("run", "photo.png", "-o", "seen").stdout == result.stdout
    )  # may be written again, and the same


def test_run_turns_a_phone_photo_upright(desk: Path) -> None:
    with Image.open("photo.png") as upright:
        lying = upright.transpose(Image.Transpose.ROTATE_90)
        exif = lying.getexif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        lying.save("turned.png", exif=exif)
    lying.save("lying.png")
    maps = {}
    for name in ("photo", "turned", "lying"):
        assert call("run", f"{name}.png", "-o", "seen").exit_code == 0
        with np.load(f"seen/{name}_convnext_atto.npz") as archive:
            maps[name] = archive["stage1"]
    assert np.array_equal(maps["turned"], maps["photo"])
    assert not np.allclose(maps["lying"], maps["photo"])


def test_run_with_a_file_of_weights(desk: Path) -> None:
    make_weights(Path("mine.safetensors"))
    told = call("run", "photo.png", "--weights", "mine.safetensors").stdout
    assert "weights: mine.safetensors" in told and "golden retriever" in told
    unfit = call("run", "photo.png", "--weights", "mine.safetensors", "--backbone", "convnextv2_femto")
    assert complaint(unfit).startswith("mine.safetensors does not fit convnextv2_femto (")


def test_run_complains_in_one_line(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(call("run", "photo.png", "--backbone", "resnet9000")).startswith(
        "unknown backbone 'resnet"
    )
    assert complaint(call("run", "none.png")).startswith("cannot open 'none.png'")
    Path("broken.png").write_bytes(b"broken")
    assert "is not an image file" in complaint(call("run", "broken.png"))
    told = complaint(call("run", "photo.png", "-o", "photo.png"))
    assert told == "the folder 'photo.png' for --output is a file: choose another"
    Path("seen").mkdir()
    Path("seen/photo_convnext_atto_stage2.png").symlink_to(Path("photo.png").resolve())
    assert "is the image itself and would replace it" in complaint(call("run", "photo.png", "-o", "seen"))
    monkeypatch.setitem(sys.modules, "timm", None)
    assert complaint(call("run", "photo.png")).startswith(
        "a backbone such as ConvNeXt needs timm, which is not installed: pip "
    )


def test_bench_measures_side_by_side_with_the_yardstick(desk: Path) -> None:
    names = ("convnext_atto", "convnextv2_femto")
    given = (*names, "convnext_atto.d2_in1k")  # one of them twice
    shown = call("bench", *given, "--seconds", "0.01", "--device", "cpu", "--batch", "2")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("224 x 224 pixels, 2 at a time, float32, random weights, on ")
    lines = [line.split() for line in shown.stdout.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0].startswith("convnext")}
    assert rows.keys() == {YARDSTICK, *names} and rows[YARDSTICK][-1] == "1.00"
    speeds = {name: float(row[5]) for name, row in rows.items()}
    assert list(speeds.values()) == sorted(speeds.values(), reverse=True)
    for name, row in rows.items():
        assert int(row[-2]) >= 3
        assert float(row[-1]) == pytest.approx(speeds[name] / speeds[YARDSTICK], abs=0.02, rel=0.01)
    paper, own = shown.stdout.splitlines()[-2:]
    assert "ConvNeXt, tables 1 and 2" in paper
    assert paper.endswith("(one V100): no two networks of it, far enough apart, are among these")
    assert " of 3 pairs agree" in own


def test_bench_complains_before_it_measures(desk: Path) -> None:
    assert complaint(call("bench", "convnextv2_atto", "resnet9000")).startswith(
        "unknown backbone 'resnet9000'"
    )
    told = complaint(call("bench", "convnextv2_atto", "--device", "cpu", "--batch", "1000000000"))
    assert told == "out of memory on cpu: 2 networks and batches of 1000000000; lower one of them"


def test_what_is_measured_without_names_is_known_and_of_every_family() -> None:
    families = {backbone.name: backbone.family for backbone in BACKBONES}
    assert {families[name] for name in USUAL} == set(families.values())
