"""Photos and their classes: of folders, lists and shards; a split that no group straddles; mistakes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.studies.recognition.task import LabelledPhotos, find_labelled, load_task
from inpaint.data.sources import PhotoIndex
from inpaint.errors import ConfigError, DataError
from tests.eval.recognition_files import CLASSES, write_classes, write_list, write_picture
from tests.train.photo_files import write_shard

SHIPPED = Path(__file__).parents[2] / "eval/studies/contents.toml"
TOML = """
column = "source"
group_from = "path"
[values]
red = ["warm", '[a-z]+']
green = ["cold", '.+']
"""


def names_of(found: LabelledPhotos) -> list[str]:
    return [found.index.name(number) for number in range(len(found.index))]


def by_name(found: LabelledPhotos) -> dict[str, tuple[str, str]]:
    named = zip(names_of(found), found.labels, found.groups, strict=True)
    return {Path(name).name: (label, group) for name, label, group in named}


def test_the_sub_folders_of_a_folder_are_its_classes(tmp_path):
    write_classes(tmp_path / "photos", count=2)
    write_picture(tmp_path / "photos/red/deeper/x.png", "red", 1)
    found = find_labelled(tmp_path / "photos")
    assert sorted(found.labels) == ["green", "green", "red", "red", "red", "striped", "striped"]
    assert len(set(found.groups)) == 7  # every photo is its own
    assert all(f"/{label}/" in name for name, label in zip(names_of(found), found.labels, strict=True))


def test_a_list_beside_photos_and_shards(tmp_path):
    loose = write_picture(tmp_path / "loose.png", "red", 0)
    outside = [write_picture(tmp_path / "outside" / f"{name}.png", "green", 1) for name in "ab"]
    write_shard(tmp_path / "s0.tar", outside)
    write_shard(tmp_path / "s1.tar", [outside[1]])
    rows = [
        {"file": "s1.tar/b.png", "class": "green", "who": "ann"},
        {"file": "loose.png", "class": "red", "who": "bob"},
        {"file": "a.png", "class": "green", "who": "ann"},
    ]
    found = find_labelled(write_list(tmp_path / "list.csv", rows), group_column="who")
    assert by_name(found) == {
        "loose.png": ("red", "bob"),
        "a.png": ("green", "ann"),
        "b.png": ("green", "ann"),
    }
    reads = {Path(name).name: found.index.read(number) for number, name in enumerate(names_of(found))}
    assert reads == {path.name: path.read_bytes() for path in (loose, *outside)}
    rows[0]["file"] = "b.png"
    with pytest.raises(DataError, match=re.escape("b.png: in more than one shard")):
        find_labelled(write_list(tmp_path / "list.csv", rows))


def test_classes_and_groups_of_other_columns(tmp_path):
    rows = [
        {"file": f"{source}-{number}.png", "source": source, "path": f"{who}{number}"}
        for source, who in (("red", "ann"), ("red", "bob"), ("green", "ann"), ("blue", "cy"))
        for number in (len(who), 7)
    ]
    for number, row in enumerate(rows):
        row["file"] = f"{number}.png"
        write_picture(tmp_path / row["file"], "red", number)
    (tmp_path / "classes.toml").write_text(TOML)
    found = find_labelled(write_list(tmp_path / "m.csv", rows), classes=tmp_path / "classes.toml")
    assert set(by_name(found).values()) == {
        ("warm", "red/ann"), ("warm", "red/bob"), ("cold", "green/ann3"), ("cold", "green/ann7"),
    }  # fmt: skip


def test_the_shipped_classes_tell_persons_houses_drives_and_products():
    values = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["values"]
    assert {label for label, _ in values.values()} == {"animals", "faces", "food", "homes", "streets"}
    examples = {
        ("faces", "voteview"): ("images/bio_guide/022112.jpg", "022112.jpg"),
        ("faces", "webmorph"): ("inst/smiling_front/137_08.jpg", "137"),
        ("homes", "houses"): ("Houses Dataset/145_kitchen.jpg", "145_"),
        ("streets", "iddlite"): ("idd20k_lite/leftImg8bit/train/446/0039017_image.jpg", "446"),
        ("food", "grocery"): ("dataset/train/Fruit/Nectarine/Nectarine_014.jpg", "Nectarine"),
    }
    for (label, source), (path, group) in examples.items():
        assert values[source][0] == label
        match = re.search(values[source][1], path)
        assert match is not None and match[0] == group


def test_no_more_of_each_class_drawn_by_the_seed(tmp_path):
    write_classes(tmp_path, count=5)

    def drawn(seed: int, per_class: int | None = 3) -> list[str]:
        found = find_labelled(tmp_path, per_class=per_class, seed=seed)
        assert all(found.labels.count(name) == (per_class or 5) for name in CLASSES)
        return names_of(found)

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) < set(drawn(1, per_class=None))


# -- the split -------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=12, max_size=24),
    folds=st.integers(3, 4),
    seed=st.integers(0, 9),
)
def test_no_group_straddles_the_split_and_every_class_is_in_each_fold(tmp_path_factory, sizes, folds, seed):
    folder = tmp_path_factory.mktemp("photos")
    photo = write_picture(folder / "x.png", "red", 0, side=8)
    groups = [number for number, size in enumerate(sizes) for _ in range(size)]
    for number in range(len(groups)):
        (folder / f"{number}.png").symlink_to(photo)
    index = PhotoIndex.of_files(str(folder / f"{number}.png") for number in range(len(groups)))
    labelled = LabelledPhotos(index, ["ab"[group % 2] for group in groups], list(map(str, groups)))
    task = load_task(labelled, 8, folds=folds, seed=seed, on_problem=pytest.fail)
    for group in np.unique(task.groups):
        assert len(np.unique(task.folds[task.groups == group])) == 1
    for label in (0, 1):
        assert set(task.folds[task.labels == label]) == set(range(folds))
    again = load_task(labelled, 8, folds=folds, seed=seed, on_problem=pytest.fail)
    assert task.split_hash == again.split_hash and task.images_hash == again.images_hash


# -- mistakes --------------------------------------------------------------------------------------------


def test_mistakes_in_a_list(tmp_path):
    write_picture(tmp_path / "a.png", "red", 0)
    whole = {"file": "a.png", "class": "red", "source": "red", "path": "7"}

    def told(*rows: dict[str, str], **options: object) -> str:
        with pytest.raises(DataError) as caught:
            find_labelled(write_list(tmp_path / "list.csv", rows), **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no column 'class'; it has file" in told({"file": "a.png"})
    assert "no column 'house'" in told(whole, group_column="house")
    assert "without class: a.png," in told({**whole, "class": ""})
    assert "1 photos listed twice: a.png" in told(whole, whole)
    assert "photos are not in" in told({**whole, "file": "b.png"})
    (tmp_path / "classes.toml").write_text(TOML)
    assert "path '7' does not match '[a-z]+'" in told(whole, classes=tmp_path / "classes.toml")
    assert "no source is any of red, green" in told(
        {**whole, "source": "blue"}, classes=tmp_path / "classes.toml"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("column = 3", "see eval/studies/contents.toml"),
        ("nonsense", "see eval/studies/contents.toml"),
        (TOML.replace("'.+'", "'('"), "see eval/studies/contents.toml"),
        ("surprise = 1\n" + TOML, "unknown key surprise"),
        (TOML + "red = ['cold', '.+']", "see eval/studies/contents.toml"),
    ],
)
def test_mistakes_in_classes(tmp_path, text, message):
    write_list(tmp_path / "list.csv", [{"file": "a.png", "source": "red", "path": "x"}])
    (tmp_path / "classes.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_labelled(tmp_path / "list.csv", classes=tmp_path / "classes.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        find_labelled(tmp_path / "list.csv", classes=tmp_path / "gone.toml")


def test_what_is_neither_folder_nor_list(tmp_path):
    for source, message in (
        (tmp_path / "gone", "does not exist; expected a folder with one sub-folder per class"),
        (tmp_path, "no folder in .*one sub-folder of photos per class"),
        (write_picture(tmp_path / "x.png", "red", 0), "got .*x.png; expected a folder"),
    ):
        with pytest.raises(DataError, match=message):
            find_labelled(source)
    write_classes(tmp_path, count=1)
    with pytest.raises(DataError, match="is a folder, whose sub-folders are the classes"):
        find_labelled(tmp_path, group_column="who")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="lists nothing"):
        find_labelled(tmp_path / "empty.csv")
