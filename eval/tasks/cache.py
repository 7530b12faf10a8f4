"""What lets scoring resume: values and features of every image, kept in a database as they come."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inpaint.errors import DataError
from inpaint.images.read import first_line


class ResultCache:
    """One method's values and features in ``NAME.sqlite``; ``len`` is the number of images.

    Its identity is what the values are made from, by what a person calls it: images, predictions, measures. A
    cache of another one is not continued but a DataError, as is a file that cannot be read or written.
    """

    def __init__(
        self, folder: Path, name: str, identity: Mapping[str, str], feature_sizes: Mapping[str, int]
    ) -> None:
        self._path = folder / f"{name}.sqlite"
        self._sizes = dict(feature_sizes)
        with self._database() as database:
            database.execute("CREATE TABLE IF NOT EXISTS identity (what TEXT, value TEXT)")
            database.execute("CREATE TABLE IF NOT EXISTS images (entry TEXT, features BLOB)")
            found = dict(database.execute("SELECT what, value FROM identity"))
            if not found:
                database.executemany("INSERT INTO identity VALUES (?, ?)", identity.items())
        if changed := [what for what, value in identity.items() if found and found.get(what) != value]:
            raise DataError(
                f"{str(self._path)!r} was begun with other {', '.join(changed)} and cannot be continued; "
                "delete its folder to score anew, or give this run its own with --cache-dir"
            )

    def __len__(self) -> int:
        with self._database() as database:
            return database.execute("SELECT count(*) FROM images").fetchone()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The images' values in the order they were appended."""
        with self._database() as database:
            for (entry,) in database.execute("SELECT entry FROM images ORDER BY rowid"):
                yield json.loads(entry)

    def append(self, entries: Sequence[Mapping[str, Any]], features: Mapping[str, ArrayLike]) -> None:
        """Add images, all or none: values of each, for JSON, and their features ``(B, D)`` by kind."""
        vectors = [np.asarray(features[key], "<f4") for key in self._sizes]
        assert [vector.shape for vector in vectors] == [(len(entries), size) for size in self._sizes.values()]
        rows = [
            (json.dumps(entry), b"".join(vector[number].tobytes() for vector in vectors))
            for number, entry in enumerate(entries)
        ]
        with self._database() as database:
            database.executemany("INSERT INTO images VALUES (?, ?)", rows)

    def cut(self, count: int) -> None:
        """Keep the first ``count`` images."""
        with self._database() as database:
            database.execute(
                "DELETE FROM images WHERE rowid NOT IN (SELECT rowid FROM images ORDER BY rowid LIMIT ?)",
                (count,),
            )

    def features(self) -> dict[str, NDArray[np.float32]]:
        """All features by kind, ``(N, D)``."""
        with self._database() as database:
            blobs = [blob for (blob,) in database.execute("SELECT features FROM images ORDER BY rowid")]
        table = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), sum(self._sizes.values()))
        found, start = {}, 0
        for key, size in self._sizes.items():
            found[key] = table[:, start : (start := start + size)]
        return found

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """An open database; what is done in the context is written as a whole."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path)
            try:
                with database:
                    yield database
            finally:
                database.close()
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot keep the results in {str(self._path)!r}: {first_line(error)}") from error
