"""A recognition task: photos with a class each, in memory, and a split into folds that no group straddles.

Photos come from a folder of folders, or from a CSV list beside photos or tar shards. A group is what must
stay on one side of a split: crops of one photo, images of one person or one house.
"""

import csv
import hashlib
import os
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from inpaint.data.sources import PhotoIndex, PhotoSet, index_photos, load_photos
from inpaint.errors import ConfigError, DataError, few
from inpaint.strict import read_table

FEWEST_FOLDS = 3  # of those a probe learns from, one at a time chooses the penalty: at least two


class Row(NamedTuple):
    """A photo before it is looked for; ``file`` is relative to the list, or its name in a shard."""

    file: str
    label: str
    group: str


class LabelledPhotos(NamedTuple):
    """Photos that can be read, with the class and the group of each by name."""

    index: PhotoIndex
    labels: list[str]
    groups: list[str]


@dataclass(frozen=True)
class Classes:
    """What the values of a list's ``column`` mean: a class each, and the expression that names the groups.

    A group is what the expression matches in the column ``group_from``.
    """

    column: str
    group_from: str
    values: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class RecognitionTask:
    """N photos, C classes, F folds."""

    photos: PhotoSet  # (N, 3, S, S) uint8, the centre square of each
    classes: tuple[str, ...]  # C names, sorted
    labels: NDArray[np.int64]  # (N,) int64, each photo's class
    groups: NDArray[np.int64]  # (N,) int64, photos of one number belong together
    folds: NDArray[np.int64]  # (N,) int64, the fold in which a photo is tested; its group is nowhere else

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fold_count(self) -> int:
        """F."""
        return int(self.folds.max()) + 1

    @cached_property
    def images_hash(self) -> str:
        """SHA-256 of size and pixels, in order: what features depend on."""
        pixels = self.photos.photos.numpy()
        found = hashlib.sha256(str(pixels.shape).encode())
        found.update(pixels.data)
        return found.hexdigest()

    @cached_property
    def split_hash(self) -> str:
        """SHA-256 of classes and folds, photo by photo."""
        parts = ("\0".join(self.classes).encode(), self.labels.tobytes(), self.folds.tobytes())
        return hashlib.sha256(b"".join(parts)).hexdigest()


def find_labelled(
    source: Path,
    *,
    classes: Path | None = None,
    group_column: str | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> LabelledPhotos:
    """List photos and their classes; no image is read.

    Args:
        source: a folder with one sub-folder per class, searched with its subfolders; or a CSV file with
            the columns ``file`` and ``class``: ``file`` is a path relative to the list, or a photo's name in
            a ``.tar`` beside it (``SHARD.tar/NAME`` where two shards have it).
        classes: TOML file that makes classes and groups from other columns: ``eval/studies/contents.toml``.
        group_column: of the list: rows that share its value stay on one side of a split. Without it, and
            without ``classes``, every photo is a group of its own.
        per_class: no more photos of each class than this, drawn by the seed.
        seed: of that draw.

    Raises:
        DataError: there is nothing of the kind, or a photo is listed twice or cannot be found.
        ConfigError: ``classes`` cannot be read.
    """
    if not source.is_dir():
        rows = _read_rows(source, classes, group_column)
        if twice := [file for file, count in Counter(row.file for row in rows).items() if count > 1]:
            raise DataError(f"{source}: {len(twice)} photos listed twice: {few(twice)}; keep one of each")
        return _locate(_draw(rows, per_class, seed), source.parent)
    if classes is not None or group_column is not None:
        raise DataError(f"{source} is a folder, whose sub-folders are the classes; expected a CSV list")
    rows = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and path.name[0] != "."):
        index = index_photos(folder)
        names = [index.name(number) for number in range(len(index))]
        rows += [Row(name, folder.name, name) for name in names]
    if not rows:
        raise DataError(f"no folder in {source}; expected one sub-folder of photos per class")
    return _locate(_draw(rows, per_class, seed), Path())


def load_task(
    labelled: LabelledPhotos, size: int, *, folds: int, seed: int, on_problem: Callable[[str], None]
) -> RecognitionTask:
    """Read photos as centre squares and split them, each class in equal shares as far as groups allow.

    ``size`` is in pixels; ``folds``, at least 3, and ``seed`` are of the split; ``on_problem`` is called with
    one line for each photo that cannot be read, which is left out. DataError if no photo can be read, there
    are fewer than two classes, or a class has too few groups.
    """
    photos = load_photos(labelled.index, size, on_problem=on_problem)
    numbers = {labelled.index.name(number): number for number in range(len(labelled.index))}
    kept = [numbers[name] for name in photos.names]
    classes, labels = np.unique([labelled.labels[number] for number in kept], return_inverse=True)
    _, groups = np.unique([labelled.groups[number] for number in kept], return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"got photos of one class only, {str(classes[0])!r}; expected at least two classes")

    def check_parts(parts: NDArray[np.int64]) -> None:
        """Refuse a class whose photos are in fewer different parts than there are folds."""
        for number, name in enumerate(classes.tolist()):
            inside = labels == number
            if len(np.unique(parts[inside])) < folds:
                raise DataError(
                    f"class {name!r} has {inside.sum()} photos in {len(np.unique(groups[inside]))} groups, "
                    f"expected some in each of {folds} folds; give more photos, or lower --folds (at least "
                    f"{FEWEST_FOLDS})"
                )

    check_parts(groups)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    tested_in = np.empty(len(labels), np.int64)
    for fold, (_, tested) in enumerate(splitter.split(labels, labels, groups)):
        tested_in[tested] = fold
    check_parts(tested_in)
    return RecognitionTask(photos, tuple(classes.tolist()), labels, groups, tested_in)


def _read_rows(path: Path, classes: Path | None, group_column: str | None) -> list[Row]:
    lines = _read_list(path)
    if classes is None:
        files, labels = (_column(path, lines, name) for name in ("file", "class"))
        groups = files if group_column is None else _column(path, lines, group_column)
        return list(map(Row, files, labels, groups))
    by = _read_classes(classes)
    values = _column(path, lines, by.column)
    lines = [line for line, value in zip(lines, values, strict=True) if value in by.values]
    if not lines:
        raise DataError(f"{path}: no {by.column} is any of {', '.join(by.values)}")
    columns = (_column(path, lines, name) for name in ("file", by.column, by.group_from))
    rows = []
    for file, value, text in zip(*columns, strict=True):
        label, expression = by.values[value]
        match = re.search(expression, text)
        if match is None:
            raise DataError(
                f"{path}: {by.group_from} {text!r} does not match {expression!r}, which names the groups "
                f"of {value}"
            )
        rows.append(Row(file, label, f"{value}/{match[0]}"))
    return rows


def _read_list(path: Path) -> list[dict[str, str]]:
    if path.suffix != ".csv" or not path.is_file():
        got = f"got {path}" if path.exists() else f"{path} does not exist"
        raise DataError(f"{got}; expected a folder with one sub-folder per class, or a .csv of file,class")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a list ({error}); expected CSV in UTF-8") from None
    if not lines:
        raise DataError(f"{path} lists nothing; expected a line of names like file,class and one per photo")
    return lines


def _column(path: Path, lines: Sequence[dict[str, str]], name: str) -> list[str]:
    """A column's values, none of which may be empty."""
    if name not in lines[0]:
        raise DataError(f"{path} has no column {name!r}; it has {', '.join(lines[0])}")
    for line in lines:
        if not line[name]:
            raise DataError(f"{path} has a line without {name}: {','.join(map(str, line.values()))}")
    return [line[name] for line in lines]


def _read_classes(path: Path) -> Classes:
    try:
        found: Classes = read_table(tomllib.loads(path.read_text(encoding="utf-8")), Classes, path.parent)
        for _, expression in found.values.values():
            re.compile(expression)
    except (OSError, ConfigError, ValueError, re.error) as error:
        raise ConfigError(
            f"{path}: cannot read the classes ({error}); see eval/studies/contents.toml for an example"
        ) from None
    return found


def _draw(rows: Sequence[Row], per_class: int | None, seed: int) -> list[Row]:
    """At most so many rows of each class, in the order of the list."""
    taken: Counter[str] = Counter()
    kept = []
    for number in np.random.default_rng(seed).permutation(len(rows)):
        label = rows[number].label
        if per_class is None or taken[label] < per_class:
            taken[label] += 1
            kept.append(number)
    return [rows[number] for number in sorted(kept)]


def _locate(rows: Sequence[Row], folder: Path) -> LabelledPhotos:
    """Find each photo: as a file, or in a shard of the folder. Files come first, then shard by shard."""
    files = [row for row in rows if (folder / row.file).is_file()]
    index = PhotoIndex.of_files(str(folder / row.file) for row in files)
    elsewhere = [row for row in rows if not (folder / row.file).is_file()]
    if elsewhere:
        paths = sorted(folder.glob("*.tar"))
        shards = index_photos(paths) if paths else PhotoIndex.of_files(())
        places: dict[str, list[int]] = defaultdict(list)
        for number in range(len(shards)):
            places[os.fsdecode(shards.photos["name"][number])].append(number)
            places[shards.name(number)].append(number)
        if lost := [row.file for row in elsewhere if row.file not in places]:
            raise DataError(f"{len(lost)} photos are not in {folder} or its {len(paths)} shards: {few(lost)}")
        if unclear := [row.file for row in elsewhere if len(places[row.file]) > 1]:
            raise DataError(f"{few(unclear)}: in more than one shard of {folder}; expected SHARD.tar/NAME")
        elsewhere.sort(key=lambda row: shards.photos["shard"][places[row.file][0]])
        index = PhotoIndex.joined([index, shards.take(np.array([places[row.file][0] for row in elsewhere]))])
    found = files + elsewhere
    return LabelledPhotos(index, [row.label for row in found], [row.group for row in found])
