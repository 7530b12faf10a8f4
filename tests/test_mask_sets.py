"""Mask sets on disk: what a seed draws, what a manifest promises, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint import mask_sets
from inpaint.errors import ConfigError, DataError
from inpaint.mask_sets import BINS, MANIFEST, Manifest, hash_masks, make_mask_set, read_manifest, verify
from inpaint.random_masks import MASK_KINDS, ObjectShapes

HALF = np.array([[True, False], [True, False], [True, False]])


@pytest.fixture(scope="module")
def shapes() -> ObjectShapes:
    rows, columns = np.mgrid[:64, :64]
    return ObjectShapes.from_images([(rows - 20) ** 2 + (columns - 30) ** 2 < 15**2, rows > columns])


def names(count: int, height: int = 96, width: int = 96) -> list[tuple[str, tuple[int, int]]]:
    return [(f"{number:05d}", (height, width)) for number in range(count)]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_hash_is_the_documented_one() -> None:
    inner = hashlib.sha256(b"3 2\n" + bytes([0b10101000])).digest()
    assert hash_masks([("a", HALF)]) == hashlib.sha256(b"a\0" + inner).hexdigest()


def test_the_hash_sees_names_pixels_and_shapes_but_no_order() -> None:
    masks = [("a", HALF), ("b", ~HALF)]
    assert hash_masks(masks) == hash_masks(reversed(masks))
    assert hash_masks([("e\u0301", HALF)]) == hash_masks([("\u00e9", HALF)])
    others = [
        [("a", HALF)],
        [("a", ~HALF), ("b", HALF)],
        [("a", HALF), ("c", ~HALF)],
        [("a", HALF.reshape(2, 3)), ("b", ~HALF)],
        [],
    ]
    assert len({hash_masks(masks), *(hash_masks(other) for other in others)}) == 1 + len(others)
    with pytest.raises(DataError, match="two masks named 'a'"):
        hash_masks([("a", HALF), ("a", HALF)])


# What seed 0 draws. A change here means that published sets cannot be made again: then raise DRAWING_VERSION.
# (Equal with OpenCV 4.10 and 5.0; if only this test fails, look at what OpenCV draws.)
PINNED = {
    "thin": "28b990785a00172ff8e4aeb8852239205d04dcfc7c4e55548c5dca2d6961b243",
    "medium": "ab56f06e6acb5dfc0d94d363df2be453952e1609ab21e6a52ace9750aee22d1f",
    "thick": "46fd38ce5ecca40f79afa06f527f8350deef21164b0ef59a53611cf3b433083e",
    "train": "9fe3d3fa18f87e46b527256059adcad5f6d8438c803196723cfa7023d2f71f15",
    "boxes": "02b41cf34d0711fc15ba2211934d92c13dc09b86f58f3df62e865ffe04fa7846",
    "objects": "5236f77a550db0cce7c3d2cccf7969d20a803cb2bed658150fd122d974ba44a6",
    "mixed": "61f42a6e6d01d3ffbc24b8ffe12c344e71fa533b496fa75e12b153bd886f6d7c",
}


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_seed_always_makes_the_same_set(tmp_path: Path, kind: str, shapes: ObjectShapes) -> None:
    manifest = make_mask_set(tmp_path / "set", kind, names(6), shapes=shapes)
    assert manifest.hash == PINNED[kind]
    again = make_mask_set(tmp_path / "again", kind, names(6), shapes=shapes)
    assert contents(tmp_path / "again") == contents(tmp_path / "set") and again == manifest
    other = make_mask_set(tmp_path / "other", kind, names(6), shapes=shapes, seed=1)
    assert other.hash != manifest.hash


def test_a_set_is_pictures_with_a_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "set"
    done = []
    sizes = [("one", (40, 60)), ("caf\u00e9", (33, 35))]
    manifest = make_mask_set(folder, "medium", sizes, seed=5, on_mask=lambda: done.append(1))
    assert sorted(contents(folder)) == ["caf\u00e9.png", MANIFEST, "one.png"] and len(done) == 2
    for record in manifest.masks:
        pixels = read(folder / f"{record.name}.png")
        assert pixels.shape == (record.height, record.width) and set(np.unique(pixels)) == {0, 255}
        assert record.hole_ratio == (pixels == 255).mean() <= 0.5
    assert manifest.hash == hash_masks((name, read(folder / f"{name}.png") > 0) for name, _ in sizes)
    assert manifest.mean_hole_ratio == pytest.approx(sum(m.hole_ratio or 0 for m in manifest.masks) / 2)
    assert read_manifest(folder) == verify(folder) == manifest
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert (told["kind"], told["seed"], told["count"], told["size"]) == ("medium", 5, 2, "various")


def test_a_mask_depends_on_its_name_and_size_only(tmp_path: Path) -> None:
    make_mask_set(tmp_path / "few", "thick", names(2))
    make_mask_set(tmp_path / "many", "thick", names(5)[::-1])
    for name, _ in names(2):
        assert np.array_equal(read(tmp_path / "few" / f"{name}.png"), read(tmp_path / "many" / f"{name}.png"))


def test_bins_are_filled_in_turn(tmp_path: Path, shapes: ObjectShapes) -> None:
    for kind in ("thin", "thick", "mixed"):
        manifest = make_mask_set(tmp_path / kind, kind, names(12), hole_ratios=BINS, shapes=shapes)
        ratios = [mask.hole_ratio or 0 for mask in manifest.masks]
        found = [next(low for low, high in BINS if low <= ratio < high) for ratio in ratios]
        assert Counter(found) == {low: 2 for low, _ in BINS}


def test_a_range_out_of_reach_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no thin mask of 96 x 96 has 80 to 90 % holes: none of 2,000 tries"
    ):
        make_mask_set(tmp_path / "set", "thin", names(5), hole_ratios=[(0.1, 0.5), (0.8, 0.9)])
    assert not (tmp_path / "set").exists()


def test_an_interrupted_set_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop_after_three() -> None:
        if len(list((tmp_path / "set").glob("*.png"))) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_mask_set(tmp_path / "set", "thick", names(6), on_mask=stop_after_three)
    assert read_manifest(tmp_path / "set").hash is None
    with pytest.raises(DataError, match="unfinished"):
        verify(tmp_path / "set")
    with pytest.raises(DataError, match="another set of masks"):
        make_mask_set(tmp_path / "set", "thick", names(6), seed=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("*.png")}
    make_mask_set(tmp_path / "set", "thick", names(6))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    make_mask_set(tmp_path / "whole", "thick", names(6))
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_a_finished_set_is_not_made_again_nor_replaced(tmp_path: Path, shapes: ObjectShapes) -> None:
    manifest = make_mask_set(tmp_path, "mixed", names(3))
    before = contents(tmp_path)
    assert make_mask_set(tmp_path, "mixed", names(3)) == manifest
    others = [
        ({"kind": "thin"}, r"kind mixed, not thin"),
        ({"seed": 2}, r"seed 0, not 2"),
        ({"names": names(4)}, "other names or sizes"),
        ({"names": names(3, 96, 97)}, "other names or sizes"),
        ({"hole_ratios": BINS[1:2]}, "hole_ratios"),
        ({"shapes": shapes}, "shapes None, not"),
    ]
    for change, message in others:
        with pytest.raises(DataError, match=message):
            make_mask_set(tmp_path, **({"kind": "mixed", "names": names(3)} | change))
    assert contents(tmp_path) == before


def test_another_version_draws_another_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_mask_set(tmp_path, "thin", names(2))
    monkeypatch.setattr(mask_sets, "DRAWING_VERSION", 99)
    with pytest.raises(DataError, match="version 1, not 99"):
        make_mask_set(tmp_path, "thin", names(2))
    assert verify(tmp_path).masks


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("precious")
    with pytest.raises(DataError, match="holds other files"):
        make_mask_set(tmp_path, "thin", names(2))
    assert contents(tmp_path) == {"holiday.jpg": b"precious"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "fat", "names": names(1)}, "'fat'"),
        ({"kind": "objects", "names": names(1)}, "object shapes"),
        ({"kind": "thin", "names": []}, "got 0 masks"),
        ({"kind": "thin", "names": [*names(2), *names(1)]}, "a name of its own"),
        ({"kind": "thin", "names": names(1), "hole_ratios": [(0.5, 0.2)]}, "0.5 to 0.2"),
    ],
)
def test_bad_requests_are_named(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        make_mask_set(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Manifest]:
    return tmp_path / "set", make_mask_set(tmp_path / "set", "boxes", names(5))


def test_every_change_of_a_set_is_found(finished: tuple[Path, Manifest]) -> None:
    folder, _ = finished
    file = folder / "00002.png"
    original = file.read_bytes()
    pixels = read(file)

    pixels[0, 0] = 255 - pixels[0, 0]
    Image.fromarray(pixels).save(file)
    with pytest.raises(DataError, match=r"do not have the hash.*00002\.png changed"):
        verify(folder)
    pixels[0, 0] = 255 - pixels[0, 0]
    Image.fromarray(pixels[::-1]).save(file)  # as many hole pixels, elsewhere
    with pytest.raises(DataError, match=r"some mask"):
        verify(folder)
    Image.fromarray(pixels[:, 1:]).save(file)
    with pytest.raises(DataError, match=r"00002\.png changed"):
        verify(folder)
    Image.fromarray(pixels).convert("1").save(file)  # other bytes, the same holes
    verify(folder)

    file.unlink()
    with pytest.raises(DataError, match=r"misses 00002\.png"):
        verify(folder)
    file.write_bytes(original)
    (folder / "extra.png").write_bytes(original)
    with pytest.raises(DataError, match=r"holds extra\.png besides"):
        verify(folder)
    (folder / "extra.png").unlink()
    (folder / ".hidden").write_text("left alone")
    verify(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: "no JSON", "cannot read"),
        (lambda told: [], "not a manifest of masks"),
        (lambda told: told | {"format": "other-1"}, "another format"),
        (lambda told: told | {"colour": "red"}, "colour"),
        (lambda told: {key: told[key] for key in told if key != "seed"}, "seed"),
        (lambda told: told | {"count": 7}, "7 masks announced, 5 listed"),
        (
            lambda told: told | {"masks": [told["masks"][0] | {"name": "../../etc"}], "count": 1},
            "not a file name",
        ),
    ],
)
def test_a_bad_manifest_is_named(finished: tuple[Path, Manifest], change, message: str) -> None:
    folder, _ = finished
    changed = change(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    (folder / MANIFEST).write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(DataError, match=message):
        read_manifest(folder)


def test_a_folder_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.json in"):
        verify(tmp_path)
