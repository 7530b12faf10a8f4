"""Photos with a class each: of a folder of folders, or of a list beside photos or tar shards.

A group is what must stay on one side of a split: crops of one photo, images of one person or one house.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.tasks.files import few
from inpaint.data.sources import Files, Names, PhotoIndex, Shard, index_photos
from inpaint.errors import ConfigError, DataError
from inpaint.strict import read_table

FILE, CLASS = "file", "class"


class Row(NamedTuple):
    """A photo by its name, before it is looked for."""

    file: str
    """Relative to the list, or as the photos of a shard are named."""
    label: str
    group: str


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos that can be read by number, with what is known of each.

    Attributes:
        index: N photos.
        labels: N names of classes.
        groups: N names of groups.
    """

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
        parts = {folder.name: index_photos(folder) for folder in found}
        rows = [
            Row(index.name(number), label, index.name(number))
            for label, index in parts.items()
            for number in range(len(index))
        ]
        return _locate(_draw(rows, per_class, seed), None)
    table = _read_list(source)
    rows = _rows_by(_read_classes(classes), table) if classes else _rows_of(table, group_column)
    listed = defaultdict(int)
    for row in rows:
        listed[row.file] += 1
    if twice := [file for file, count in listed.items() if count > 1]:
        raise DataError(
            f"{source}: {len(twice)} photos are listed twice: {few(twice)}; keep one line of each"
        )
    return _locate(_draw(rows, per_class, seed), source)


# -- a list ----------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    path: Path
    rows: list[dict[str, str]]

    def column(self, name: str) -> Callable[[dict[str, str]], str]:
        """Reads a column's value, which must not be empty."""
        if name not in self.rows[0]:
            raise DataError(f"{self.path} has no column {name!r}; it has {', '.join(self.rows[0])}")

        def read(row: dict[str, str]) -> str:
            if not row[name]:
                raise DataError(f"{self.path} has a line without {name}: {','.join(map(str, row.values()))}")
            return row[name]

        return read


def _read_list(path: Path) -> _Table:
    if path.suffix != ".csv" or not path.is_file():
        got = f"got {path}" if path.exists() else f"{path} does not exist"
        raise DataError(f"{got}; expected a folder with one sub-folder per class, or a .csv of file,class")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a list ({error}); expected CSV in UTF-8") from None
    if not rows:
        raise DataError(
            f"{path} lists nothing; expected a line of names such as file,class and one per photo"
        )
    return _Table(path, rows)


def _rows_of(table: _Table, group_column: str | None) -> list[Row]:
    file, label = table.column(FILE), table.column(CLASS)
    group = file if group_column is None else table.column(group_column)
    return [Row(file(row), label(row), group(row)) for row in table.rows]


def _rows_by(classes: Classes, table: _Table) -> list[Row]:
    """Rows of the wanted classes; all others are none of this task."""
    file, value, text = (table.column(name) for name in (FILE, classes.column, classes.group_from))
    wanted = {
        value: (label, expression)
        for label, values in classes.classes.items()
        for value, expression in values.items()
    }
    rows = []
    for row in table.rows:
        if value(row) not in wanted:
            continue
        label, expression = wanted[value(row)]
        match = re.search(expression, text(row))
        if match is None:
            raise DataError(
                f"{table.path}: {classes.group_from} {text(row)!r} does not match {expression!r}, "
                f"which names the groups of {value(row)}"
            )
        rows.append(Row(file(row), label, f"{value(row)}/{match[0]}"))
    if not rows:
        raise DataError(f"{table.path}: no {classes.column} is any of {', '.join(wanted)}")
    return rows


def _read_classes(path: Path) -> Classes:
    try:
        found = read_table(tomllib.loads(path.read_text(encoding="utf-8")), Classes, path.parent)
        for values in found.classes.values():
            for expression in values.values():
                re.compile(expression)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ConfigError, ValueError, re.error) as error:
        raise ConfigError(f"{path}: {error}; see eval/studies/contents.toml for an example") from None
    values = [value for values in found.classes.values() for value in values]
    if twice := {value for value in values if values.count(value) > 1}:
        raise ConfigError(f"{path} has {', '.join(sorted(twice))} in two classes; expected one")
    return found


# -- which, and where ------------------------------------------------------------------------------------


def _draw(rows: Sequence[Row], per_class: int | None, seed: int) -> list[Row]:
    """At most so many rows of each class, in the order of the list."""
    order = np.random.default_rng(seed).permutation(len(rows))
    taken: dict[str, int] = defaultdict(int)
    kept = []
    for number in order:
        label = rows[number].label
        if per_class is None or taken[label] < per_class:
            taken[label] += 1
            kept.append(number)
    return [rows[number] for number in sorted(kept)]


def _locate(rows: Iterable[Row], source: Path | None) -> LabelledPhotos:
    """Find each photo: as a file, or in a shard beside the list ``source``."""
    folder = Path() if source is None else source.parent
    files: list[tuple[Row, str]] = []
    elsewhere: list[Row] = []
    for row in rows:
        path = folder / row.file
        if path.is_file():
            files.append((row, str(path)))
        else:
            elsewhere.append(row)
    parts: list[Files | Shard] = [Files(Names.pack([path for _, path in files]))] if files else []
    ordered = [row for row, _ in files]
    if elsewhere:
        found = _find_in_shards(elsewhere, folder)
        for shard, members in found:
            numbers = np.array([number for _, number in members])
            names = Names.pack([shard.names[number] for number in numbers])
            parts.append(Shard(shard.path, names, shard.offsets[numbers], shard.lengths[numbers]))
            ordered += [row for row, _ in members]
    return LabelledPhotos(
        PhotoIndex(tuple(parts)), tuple(row.label for row in ordered), tuple(row.group for row in ordered)
    )


def _find_in_shards(rows: Iterable[Row], folder: Path) -> list[tuple[Shard, list[tuple[Row, int]]]]:
    shards = [part for path in sorted(folder.glob("*.tar")) for part in index_photos(path).parts]
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for which, shard in enumerate(shards):
        assert isinstance(shard, Shard)
        for number in range(len(shard.names)):
            places[shard.names[number]].append((which, number))
            places[shard.name(number)].append((which, number))
    members: dict[int, list[tuple[Row, int]]] = defaultdict(list)
    lost, unclear = [], []
    for row in rows:
        found = places.get(row.file, [])
        if len(found) == 1:
            which, number = found[0]
            members[which].append((row, number))
        else:
            (unclear if found else lost).append(row.file)
    if lost:
        raise DataError(
            f"{len(lost)} photos are neither files in {folder} nor in its {len(shards)} shards: {few(lost)}"
        )
    if unclear:
        raise DataError(f"{few(unclear)}: in more than one shard of {folder}; expected SHARD.tar/NAME there")
    return [(shards[which], found) for which, found in sorted(members.items())]  # type: ignore[misc]
