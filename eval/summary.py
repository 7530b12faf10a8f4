"""From the caches of a run to its report: means, intervals, bins, changes outside the hole, warnings."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.measures.build import Measures
from eval.measures.statistics import bins_of, means_of
from eval.results import ImageScores, KnownChange, Report, Row, Value
from eval.tasks.cache import ResultCache
from eval.tasks.files import ImageFile, few
from eval.tasks.methods import Method
from eval.tasks.pairs import Predictions, Task
from eval.tasks.stream import read_ahead
from inpaint.errors import DataError
from inpaint.mask_sets import hash_masks

Entries = Sequence[Mapping[str, Any]]


def summarise(
    protocol: str,
    task: Task,
    measures: Measures,
    targets: ResultCache,
    caches: Mapping[Method, ResultCache],
    *,
    cache_dir: Path,
    save: Path | None,
    notes: Mapping[str, str],
) -> Report:
    """Make the report of a run that is complete.

    Args:
        protocol: its name.
        task: images and masks.
        measures: what was measured.
        targets: of the ground truth.
        caches: of the methods, in the table's order.
        cache_dir: where the values are kept, for messages.
        save: where the composites of fills were saved.
        notes: what else it takes to repeat the run.
    """
    truth = list(targets)
    shapes = {tuple(entry["shape"]) for entry in truth}
    rows, warnings = [], _warn_of_task(task, measures, truth)
    for method, cache in caches.items():
        entries = list(cache)
        files = method.source if isinstance(method.source, Predictions) else None
        stems = [pair.stem for pair in task.pairs if files is None or pair.stem in files.files]
        if [entry["stem"] for entry in entries] != stems:  # what two runs wrote at the same time
            raise DataError(
                f"got the scores of {method.name} mixed up in {str(cache_dir)!r}, as by two runs at once; "
                "delete the folder, and give each run its own with --cache-dir"
            )
        features = targets.features()
        if len(stems) < len(task.pairs):
            kept = set(stems)
            numbers = np.array([i for i, pair in enumerate(task.pairs) if pair.stem in kept])
            features = {key: vectors[numbers] for key, vectors in features.items()}
        of_sets = measures.of_sets(cache.features(), features)
        rows.append(_row(method, entries, of_sets, measures, save))
        if files is not None:
            warnings += _warn_of_files(method.name, files, entries)
    lines = sorted(f"{entry['stem']}\0{entry['shape']}\0{entry['sha256']}\n" for entry in truth)
    return Report(
        protocol=protocol,
        definition=measures.definition,
        n=len(truth),
        size=" x ".join(map(str, shapes.pop())) if len(shapes) == 1 else "mixed",
        hole_ratio=math.fsum(entry["hole_ratio"] for entry in truth) / len(truth),
        images_hash=hashlib.sha256("".join(lines).encode()).hexdigest(),
        masks_hash=hash_masks(read_ahead(task.masks_once(), _stem_and_hole)),
        columns=measures.columns,
        unmeasured=measures.unmeasured,
        rows=tuple(rows),
        warnings=tuple(warnings),
        notes=dict(notes),
        images=str(task.images),
        masks=str(task.masks),
    )


def _row(
    method: Method, entries: Entries, of_sets: Mapping[str, Value], measures: Measures, save: Path | None
) -> Row:
    images = tuple(
        ImageScores(entry["stem"], entry["hole_ratio"], entry["values"])
        for entry in sorted(entries, key=lambda entry: entry["stem"])
    )
    means = means_of(images, measures.columns) | dict(of_sets)
    if isinstance(method.source, Predictions):
        folder, missing, seconds = method.source.folder, method.source.missing, None
    else:
        folder, missing = None if save is None else save / method.slug, ()
        seconds = math.fsum(entry["seconds"] for entry in entries) / len(entries)
    return Row(
        name=method.name,
        kind=method.kind,
        values={column.key: means[column.key] for column in measures.columns if column.key in means},
        bins=bins_of(images, measures.columns),
        images=images,
        known_change=None if method.kind == "baseline" else _known_change(entries),
        seconds_per_image=seconds,
        folder=None if folder is None else str(folder),
        missing=missing,
    )


def _known_change(entries: Entries) -> KnownChange:
    changes = [entry["known_change"] for entry in entries]
    known = sum(change["known"] for change in changes)
    pixels = sum(change["pixels"] for change in changes) / max(1, known)
    worst = max(change["worst"] for change in changes)
    return KnownChange(pixels, _mean_change(entries, "known"), worst)


def _mean_change(entries: Entries, region: str) -> float:
    """Mean absolute difference over a region before compositing, in 8-bit levels."""
    pixels = sum(entry["known_change"][region] for entry in entries)
    return sum(entry["known_change"][f"{region}_sum"] for entry in entries) / max(1, 3 * pixels)


def _warn_of_task(task: Task, measures: Measures, truth: Entries) -> list[str]:
    warnings = []
    if task.missing:
        warnings.append(
            f"{len(task.missing)} images have no mask and are left out: {few(sorted(task.missing))}."
        )
    whole = sorted(entry["stem"] for entry in truth if entry["hole_ratio"] == 0)
    if whole:
        warnings.append(
            f"{len(whole)} images have no hole: {few(whole)}. What is measured over the hole leaves them "
            "out; is white the hole in the masks?"
        )
    titles = {column.key: column.title for column in measures.columns}
    few_for = {titles[key]: dims for key, dims in measures.feature_sizes.items() if len(truth) < dims}
    if few_for:
        named = ", ".join(f"{title} ({dims:,} features)" for title, dims in few_for.items())
        warnings.append(
            f"N = {len(truth)} is below the number of features of {named}: such distances are biased upward; "
            "compare them only at equal N, and mind the intervals."
        )
    return warnings


def _warn_of_files(name: str, predictions: Predictions, entries: Entries) -> list[str]:
    warnings = []
    if predictions.missing:
        warnings.append(
            f"{name}: {len(predictions.missing)} images have no prediction: {few(predictions.missing)}. Its "
            f"numbers are over the other {len(entries)}: compare them with no other row."
        )
    if predictions.jpegs:
        warnings.append(
            f"{name}: {predictions.jpegs} predictions are JPEG, which changes pixels as it saves them; save "
            "PNG."
        )
    known, hole = _mean_change(entries, "known"), _mean_change(entries, "hole")
    if known > hole:
        warnings.append(
            f"{name}: the known region differs more from the truth ({known:.2f} levels) than the hole does "
            f"({hole:.2f}): was it made with masks of the other polarity (white must be the hole)?"
        )
    return warnings


def _stem_and_hole(mask: ImageFile) -> tuple[str, NDArray[np.bool_]]:
    return mask.stem, mask.read_hole()
