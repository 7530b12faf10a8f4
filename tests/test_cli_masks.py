"""``inpaint masks``: what is made and said, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from inpaint.cli import main
from inpaint.cli.masks import KINDS
from inpaint.mask_sets import read_manifest
from inpaint.random_masks import MASK_KINDS


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with object shapes and some pictures."""
    monkeypatch.chdir(tmp_path)
    Path("shapes").mkdir()
    rows, columns = np.mgrid[:50, :50]
    Image.fromarray(rows > columns).save("shapes/triangle.png")
    Path("photos").mkdir()
    Image.new("RGB", (60, 40)).save("photos/wide.jpg")
    turned = Image.new("RGB", (50, 30))
    exif = turned.getexif()
    exif[0x0112] = 6  # lying on its side: 30 x 50 when upright
    turned.save("photos/turned.jpg", exif=exif)
    Path("photos/notes.txt").write_text("no picture")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["masks", *arguments])


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_the_kinds_are_those_of_the_library() -> None:
    assert KINDS == MASK_KINDS


def test_a_set_is_made_told_and_checked(desk: Path) -> None:
    made = call("out", "--kind", "thick", "--count", "3", "--size", "48x64", "--seed", "7")
    assert made.exit_code == 0, made.output
    manifest = read_manifest(Path("out"))
    assert (manifest.kind, manifest.seed, len(manifest.masks)) == ("thick", 7, 3)
    assert made.stdout == (
        f"out: 3 thick masks, mean hole ratio {100 * manifest.mean_hole_ratio:.1f} %, hash {manifest.hash}\n"
    )
    assert files("out") == ["00000.png", "00001.png", "00002.png", "manifest.json"]
    with Image.open("out/00000.png") as mask:
        assert mask.size == (64, 48)
    checked = call("--check", "out")
    assert (checked.exit_code, checked.stdout) == (0, made.stdout)
    Path("out/00001.png").unlink()
    broken = call("out", "--check")
    assert (broken.exit_code, broken.stdout) == (2, "")
    assert broken.stderr.startswith("error: out misses 00001.png")


def test_one_mask_for_each_picture(desk: Path) -> None:
    assert call("out", "--kind", "medium", "--like", "photos").exit_code == 0
    assert files("out") == ["manifest.json", "turned.png", "wide.png"]
    for name, size in (("wide", (60, 40)), ("turned", (30, 50))):
        with Image.open(f"out/{name}.png") as mask:
            assert mask.size == size


def test_bins_ranges_and_shapes(desk: Path) -> None:
    result = call("bins", "--bins", "--count", "6", "--size", "64", "--shapes", "shapes")
    assert result.exit_code == 0, result.output
    manifest = read_manifest(Path("bins"))
    ratios = [mask.hole_ratio or 0 for mask in manifest.masks]
    assert [int(10 * ratio) for ratio in ratios] == [0, 1, 2, 3, 4, 5]
    assert manifest.kind == "mixed" and manifest.shapes
    call("range", "--kind", "objects", "--shapes", "shapes", "--count", "4", "--hole-ratio", "12.5-15")
    manifest = read_manifest(Path("range"))
    assert all(0.125 <= (mask.hole_ratio or 0) < 0.15 for mask in manifest.masks)


BAD = [
    (("--kind", "fat"), "'fat'"),
    (("--size", "0"), "got '0'"),
    (("--size", "12x"), "got '12x'"),
    (("--size", "99999x99999"), "got '99999x99999'"),
    (("--hole-ratio", "20-10"), "got '20-10'"),
    (("--hole-ratio", "0.1"), "per cent such as 10-20"),
    (("--hole-ratio", "50-150"), "got '50-150'"),
    (("--bins", "--hole-ratio", "10-20"), "--bins and --hole-ratio"),
    (("--like", "photos", "--count", "3"), "--like"),
    (("--like", "photos", "--size", "64"), "--like"),
    (("--like", "shapes/none"), "'shapes/none'"),
    (("--like", "empty"), "no images in empty"),
    (("--kind", "objects"), "name a folder or a zip"),
    (("--kind", "thin", "--hole-ratio", "90-95", "--size", "64"), "no thin mask of 64 x 64"),
    (("--shapes", "gone.zip"), "gone.zip"),
    (("--check",), "no manifest.json in out"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[" ".join(options) for options, _ in BAD])
def test_bad_input_costs_one_line(desk: Path, options: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    result = call("out", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert not Path("out").exists()


def test_another_set_is_not_replaced(desk: Path) -> None:
    assert call("out", "--count", "2", "--size", "32").exit_code == 0
    before = files("out")
    result = call("out", "--count", "2", "--size", "32", "--seed", "1")
    assert result.exit_code == 2 and "another set of masks (seed 0, not 1)" in result.stderr
    assert call("photos", "--count", "2").stderr.startswith("error: photos holds other files")
    assert files("out") == before
