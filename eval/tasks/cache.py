"""What lets scoring resume: values and features of every image, appended to files as they come.

A cache is ``NAME.jsonl`` (a header line, then one line an image) and one ``NAME.KIND.f32`` for each kind of
feature: raw float32 rows in the order of the lines. Features are written before the line that counts them, so
whatever a killed run left behind is cut back to its last whole image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpaint.errors import DataError

_FLOAT_BYTES = 4


class ResultCache:
    """One method's values and features on disk; ``len`` is the number of whole images.

    Args:
        folder: cache directory of the run; made where it is missing.
        name: of the files.
        identity: what the values are made from, by what a person calls it: images, predictions, measures. A
            cache of another identity is never continued.
        feature_sizes: length of each kind of feature vector.

    Raises:
        DataError: the files are of another identity, or cannot be read or written.
    """

    def __init__(
        self, folder: Path, name: str, identity: Mapping[str, str], feature_sizes: Mapping[str, int]
    ) -> None:
        self._lines = folder / f"{name}.jsonl"
        self._features = {key: folder / f"{name}.{key}.f32" for key in feature_sizes}
        self._sizes = dict(feature_sizes)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (self._lines, *self._features.values()):
                path.touch()
            self._begin(dict(identity))
            rows = [path.stat().st_size // self._row_bytes(key) for key, path in self._features.items()]
            self.cut(min([len(self._ends()) - 1, *rows]))
        except OSError as error:
            raise self._failed(error) from error

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The images' values in the order they were appended."""
        with self._lines.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def append(
        self, entries: Sequence[Mapping[str, Any]], features: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Add images: values of each, for JSON, and their features ``(B, D)`` by kind.

        Raises:
            DataError: they cannot be written.
        """
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        try:
            for key, path in self._features.items():
                assert features[key].shape == (len(entries), self._sizes[key])
                with path.open("ab") as file:
                    file.write(features[key].astype("<f4").tobytes())
            with self._lines.open("ab") as file:
                file.write(lines.encode())
        except OSError as error:
            raise self._failed(error) from error
        self._count += len(entries)

    def cut(self, count: int) -> None:
        """Keep the first ``count`` images."""
        os.truncate(self._lines, self._ends()[count])
        for key, path in self._features.items():
            os.truncate(path, count * self._row_bytes(key))
        self._count = count

    def features(self) -> dict[str, NDArray[np.float32]]:
        """All features by kind, ``(N, D)``."""
        return {
            key: np.fromfile(path, "<f4").reshape(-1, self._sizes[key])
            for key, path in self._features.items()
        }

    def _row_bytes(self, key: str) -> int:
        return self._sizes[key] * _FLOAT_BYTES

    def _begin(self, identity: dict[str, str]) -> None:
        """Write the header of a new cache, or check that of an old one."""
        with self._lines.open("r+b") as file:
            header = file.readline()
            if not header.endswith(b"\n"):  # new, or killed as it began
                file.seek(0)
                file.truncate()
                file.write(json.dumps(identity).encode() + b"\n")
                return
        try:
            found = dict(json.loads(header))
        except (ValueError, TypeError):
            found = {}
        if changed := [what for what, value in identity.items() if found.get(what) != value]:
            raise DataError(
                f"{str(self._lines)!r} was begun with other {', '.join(changed)} and cannot be continued; "
                "delete its folder to score anew, or give this run its own with --cache-dir"
            )

    def _ends(self) -> list[int]:
        """Where the header and each whole line after it end; a torn line ends the cache."""
        ends = []
        with self._lines.open("rb") as file:
            for line in file:
                try:
                    json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                ends.append((ends[-1] if ends else 0) + len(line))
        return ends

    def _failed(self, error: OSError) -> DataError:
        return DataError(f"cannot keep the results in {str(self._lines.parent)!r}: {error.strerror or error}")
