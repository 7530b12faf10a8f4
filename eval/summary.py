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
from eval.tasks.files import PictureFile, few
from eval.tasks.methods import Method
from eval.tasks.pairs import Predictions, Task
from eval.tasks.stream import read_ahead
from inpaint.errors import DataError
from inpaint.mask_sets import hash_masks


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
        _check_stems(task, method, entries, cache_dir)
        values = _measure_sets(measures, task, method, cache, targets)
        rows.append(_row(method, entries, values, measures, save))
        warnings += _warn_of_method(method, rows[-1], entries)
    return Report(
        protocol=protocol,
        definition=measures.definition,
        n=len(truth),
        size=" x ".join(map(str, shapes.pop())) if len(shapes) == 1 else "mixed",
        hole_ratio=math.fsum(entry["hole_ratio"] for entry in truth) / len(truth),
        images_hash=_hash_images(truth),
        masks_hash=hash_masks(read_ahead(task.masks_once(), _stem_and_hole)),
        columns=measures.columns,
        unmeasured=measures.unmeasured,
        rows=tuple(rows),
        warnings=tuple(warnings),
        notes=dict(notes),
        images=str(task.images),
        masks=str(task.masks),
    )


def _check_stems(task: Task, method: Method, entries: Sequence[Mapping[str, Any]], cache_dir: Path) -> None:
    """Refuse what two runs wrote into one folder at the same time."""
    files = method.source.files if isinstance(method.source, Predictions) else None
    expected = [pair.stem for pair in task.pairs if files is None or pair.stem in files]
    if [entry["stem"] for entry in entries] != expected:
        raise DataError(
            f"got the scores of {method.name} mixed up in {str(cache_dir)!r}, as by two runs at once; "
            "delete the folder, and give each run its own with --cache-dir"
        )


def _row(
    method: Method,
    entries: Sequence[Mapping[str, Any]],
    of_sets: Mapping[str, Value],
    measures: Measures,
    save: Path | None,
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


def _measure_sets(
    measures: Measures, task: Task, method: Method, cache: ResultCache, targets: ResultCache
) -> dict[str, Value]:
    """Compare a method's images with the ground truth of the same images, all together."""
    truth = targets.features()
    if isinstance(method.source, Predictions) and method.source.missing:
        rows = np.array([i for i, pair in enumerate(task.pairs) if pair.stem in method.source.files])
        truth = {key: features[rows] for key, features in truth.items()}
    return measures.of_sets(cache.features(), truth)


def _known_change(entries: Sequence[Mapping[str, Any]]) -> KnownChange:
    known = sum(entry["known_change"]["known"] for entry in entries)
    return KnownChange(
        pixels=sum(entry["known_change"]["pixels"] for entry in entries) / max(1, known),
        mean=_mean_change(entries, "known"),
        worst=max(entry["known_change"]["worst"] for entry in entries),
    )


def _mean_change(entries: Sequence[Mapping[str, Any]], region: str) -> float:
    """Mean absolute difference over a region before compositing, in 8-bit levels."""
    pixels = sum(entry["known_change"][region] for entry in entries)
    return sum(entry["known_change"][f"{region}_sum"] for entry in entries) / max(1, 3 * pixels)


def _warn_of_task(task: Task, measures: Measures, truth: Sequence[Mapping[str, Any]]) -> list[str]:
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


def _warn_of_method(method: Method, row: Row, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    if not isinstance(method.source, Predictions):
        return []
    predictions, warnings = method.source, []
    if predictions.missing:
        warnings.append(
            f"{method.name}: {len(predictions.missing)} images have no prediction: "
            f"{few(predictions.missing)}. Its numbers are over the other {len(entries)}: compare them "
            "with no other row."
        )
    if predictions.jpegs:
        warnings.append(
            f"{method.name}: {predictions.jpegs} predictions are JPEG, which changes pixels as it saves "
            "them; save PNG."
        )
    known, hole = _mean_change(entries, "known"), _mean_change(entries, "hole")
    if known > hole:
        warnings.append(
            f"{method.name}: the known region differs more from the truth ({known:.2f} levels) than the hole "
            f"does ({hole:.2f}): was it made with masks of the other polarity (white must be the hole)?"
        )
    return warnings


def _hash_images(truth: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over the stems in sorted order, each with the hash of its size and pixels."""
    lines = sorted(f"{entry['stem']}\0{entry['shape']}\0{entry['sha256']}\n" for entry in truth)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stem_and_hole(mask: PictureFile) -> tuple[str, NDArray[np.bool_]]:
    return mask.stem, mask.read_hole()
