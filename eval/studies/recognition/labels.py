"""Photos with a class each, from a folder of folders or from a CSV list beside photos or tar shards.

A group is what must stay on one side of a split: crops of one photo, images of one person or one house.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.tasks.files import few
from inpaint.data.sources import Files, Names, PhotoIndex, Shard, index_photos
from inpaint.errors import ConfigError, DataError
from inpaint.strict import read_table


class Row(NamedTuple):
    """A photo before it is looked for; ``file`` is relative to the list, or its name in a shard."""

    file: str
    label: str
    group: str


@dataclass(frozen=True)
class LabelledPhotos:
    """N photos that can be read by number, with the class and the group of each by name."""

    index: PhotoIndex
    labels: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Classes:
    """Which values of a list's column make which class, and what tells the groups apart.

    Attributes:
        column: of the list that decides.
        group_from: column that the expressions are searched in.
        classes: by name: values of the column, each with the expression whose match names the group.
    """

    column: str
    group_from: str
    classes: Mapping[str, Mapping[str, str]]


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
    if source.is_dir():
        if classes is not None or group_column is not None:
            raise DataError(f"{source} is a folder, whose sub-folders are the classes; expected a CSV list")
        found = sorted(path for path in source.iterdir() if path.is_dir() and path.name[0] != ".")
        if not found:
            raise DataError(f"no folder in {source}; expected one sub-folder of photos per class")
        parts = [(folder.name, index_photos(folder)) for folder in found]
        names = [(index.name(number), label) for label, index in parts for number in range(len(index))]
        rows = [Row(name, label, name) for name, label in names]
        return _locate(_draw(rows, per_class, seed), Path())
    rows = _read_rows(source, classes, group_column)
    if twice := [file for file, count in Counter(row.file for row in rows).items() if count > 1]:
        raise DataError(
            f"{source}: {len(twice)} photos are listed twice: {few(twice)}; keep one line of each"
        )
    return _locate(_draw(rows, per_class, seed), source.parent)


def _read_rows(path: Path, classes: Path | None, group_column: str | None) -> list[Row]:
    lines = _read_list(path)
    if classes is None:
        files, labels = (_column(path, lines, name) for name in ("file", "class"))
        groups = files if group_column is None else _column(path, lines, group_column)
        return list(map(Row, files, labels, groups))
    by = _read_classes(classes)
    wanted = {value: (label, regex) for label, of in by.classes.items() for value, regex in of.items()}
    values = _column(path, lines, by.column)
    lines = [line for line, value in zip(lines, values, strict=True) if value in wanted]
    if not lines:
        raise DataError(f"{path}: no {by.column} is any of {', '.join(wanted)}")
    columns = (_column(path, lines, name) for name in ("file", by.column, by.group_from))
    rows = []
    for file, value, text in zip(*columns, strict=True):
        label, expression = wanted[value]
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
        raise DataError(
            f"{path} lists nothing; expected a line of names such as file,class and one per photo"
        )
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
        for values in found.classes.values():
            for expression in values.values():
                re.compile(expression)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ConfigError, ValueError, re.error) as error:
        raise ConfigError(f"{path}: {error}; see eval/studies/contents.toml for an example") from None
    counts = Counter(value for values in found.classes.values() for value in values)
    if twice := sorted(value for value, count in counts.items() if count > 1):
        raise ConfigError(f"{path} has {', '.join(twice)} in two classes; expected one")
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
    parts: list[Files | Shard] = []
    ordered, elsewhere = list[Row](), list[Row]()
    for row in rows:
        (ordered if (folder / row.file).is_file() else elsewhere).append(row)
    if ordered:
        parts.append(Files(Names.pack([str(folder / row.file) for row in ordered])))
    if elsewhere:
        for shard, members in _find_in_shards(elsewhere, folder):
            numbers = np.array([number for number, _ in members])
            names = Names.pack([shard.names[number] for number in numbers])
            parts.append(Shard(shard.path, names, shard.offsets[numbers], shard.lengths[numbers]))
            ordered += [row for _, row in members]
    return LabelledPhotos(
        PhotoIndex(tuple(parts)), tuple(row.label for row in ordered), tuple(row.group for row in ordered)
    )


def _find_in_shards(rows: Sequence[Row], folder: Path) -> list[tuple[Shard, list[tuple[int, Row]]]]:
    """The shards that hold rows, each with the numbers and rows of its photos."""
    shards = [part for path in sorted(folder.glob("*.tar")) for part in index_photos(path).parts]
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for which, shard in enumerate(shards):
        for number in range(len(shard.names)):
            places[shard.names[number]].append((which, number))
            places[shard.name(number)].append((which, number))
    if lost := [row.file for row in rows if row.file not in places]:
        raise DataError(
            f"{len(lost)} photos are neither files in {folder} nor in its {len(shards)} shards: {few(lost)}"
        )
    if unclear := [row.file for row in rows if len(places[row.file]) > 1]:
        raise DataError(f"{few(unclear)}: in more than one shard of {folder}; expected SHARD.tar/NAME there")
    located = sorted(((*places[row.file][0], row) for row in rows), key=lambda found: found[0])
    return [
        (shards[which], [(number, row) for _, number, row in found])  # type: ignore[misc]
        for which, found in groupby(located, key=lambda found: found[0])
    ]
