"""A recognition task: photos in memory, their classes, and a split into folds that no group straddles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from eval.studies.recognition.labels import LabelledPhotos
from inpaint.data.memory import PhotoSet, load_photos
from inpaint.errors import DataError

FEWEST_FOLDS = 3  # of those a probe learns from, one at a time chooses the penalty: at least two


@dataclass(frozen=True, eq=False)
class RecognitionTask:
    """N photos, C classes, F folds.

    Attributes:
        photos: (N, 3, S, S) uint8, the centre square of each.
        classes: C names, sorted.
        labels: (N,) int64, each photo's class.
        groups: (N,) int64, photos of one number belong together.
        folds: (N,) int64, the fold in which a photo is tested; its group is nowhere else.
    """

    photos: PhotoSet
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]

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


def load_task(
    labelled: LabelledPhotos, size: int, *, folds: int, seed: int, on_problem: Callable[[str], None]
) -> RecognitionTask:
    """Read the photos and split them, each class in equal shares as far as its groups allow.

    Args:
        labelled: the photos.
        size: side in pixels that the centre square of each is brought to.
        folds: parts of the split, at least 3.
        seed: of the split.
        on_problem: called with one line for each photo that cannot be read; it is left out.

    Raises:
        DataError: no photo can be read, there are fewer than two classes, or a class has too few groups.
    """
    photos = load_photos(labelled.index, size, on_problem=on_problem)
    numbers = {labelled.index.name(number): number for number in range(len(labelled.index))}
    kept = [numbers[name] for name in photos.names]
    names = [labelled.labels[number] for number in kept]
    classes = tuple(sorted(set(names)))
    labels = np.array([classes.index(name) for name in names])
    _, groups = np.unique([labelled.groups[number] for number in kept], return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"got photos of one class only, {names[0]!r}; expected at least two classes")

    def check_parts(parts: NDArray[np.int64]) -> None:
        """Refuse a class whose photos are in fewer different parts than there are folds."""
        for number, name in enumerate(classes):
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
    return RecognitionTask(photos, classes, labels, groups, tested_in)
