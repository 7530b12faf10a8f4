"""From the ledgers of a run to its report: means, intervals, bins, what was touched, and warnings."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.ledger import Ledger
from eval.measures import Measures
from eval.methods import Method
from eval.pairs import Predictions, Task
from eval.picture_files import PictureFile, few
from eval.results import Picture, Report, Row, Touched, Value
from eval.statistics import bins_of, means_of
from eval.stream import read_ahead
from inpaint.errors import DataError
from inpaint.mask_sets import hash_masks

FEWEST_FOR_FID = 2048  # with fewer, the covariance of as many features is singular
_ROWS_AT_ONCE = 4096


def summarise(
    protocol: str,
    task: Task,
    measures: Measures,
    targets: Ledger,
    ledgers: Mapping[Method, Ledger],
    *,
    work: Path,
    save: Path | None,
    notes: Mapping[str, str],
) -> Report:
    """Make the report of a run that is complete.

    Args:
        protocol: its name.
        task: pictures and masks.
        measures: what was measured.
        targets: of the ground truth.
        ledgers: of the methods, in the table's order.
        work: folder for passing files.
        save: where the composites of fills were saved.
        notes: what else it takes to repeat the run.
    """
    truth = list(targets)
    shapes = {tuple(entry["shape"]) for entry in truth}
    rows, warnings = [], _warn_of_task(task, measures, truth)
    for method, ledger in ledgers.items():
        entries = list(ledger)
        _check_stems(task, method, entries, work)
        values = _measure_sets(measures, task, method, ledger, targets, work)
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


def _check_stems(task: Task, method: Method, entries: Sequence[Mapping[str, Any]], work: Path) -> None:
    """Refuse what two runs wrote into one folder at the same time."""
    files = method.source.files if isinstance(method.source, Predictions) else None
    expected = [pair.stem for pair in task.pairs if files is None or pair.stem in files]
    if [entry["stem"] for entry in entries] != expected:
        raise DataError(
            f"got the scores of {method.name} mixed up in {str(work)!r}, as by two runs at once; delete the "
            "folder, and give each run its own with --work"
        )


def _row(
    method: Method,
    entries: Sequence[Mapping[str, Any]],
    of_sets: Mapping[str, Value],
    measures: Measures,
    save: Path | None,
) -> Row:
    pictures = tuple(
        Picture(entry["stem"], entry["hole_ratio"], entry["values"])
        for entry in sorted(entries, key=lambda entry: entry["stem"])
    )
    means = means_of(pictures, measures.columns) | dict(of_sets)
    if isinstance(method.source, Predictions):
        folder, missing, seconds = method.source.folder, method.source.missing, None
    else:
        folder, missing = None if save is None else save / method.slug, ()
        seconds = math.fsum(entry["seconds"] for entry in entries) / len(entries)
    return Row(
        name=method.name,
        kind=method.kind,
        values={column.key: means[column.key] for column in measures.columns if column.key in means},
        bins=bins_of(pictures, measures.columns),
        pictures=pictures,
        touched=None if method.kind == "floor" else _touched(entries),
        seconds_per_image=seconds,
        folder=None if folder is None else str(folder),
        missing=missing,
    )


def _measure_sets(
    measures: Measures, task: Task, method: Method, ledger: Ledger, targets: Ledger, work: Path
) -> dict[str, Value]:
    """Compare a method's pictures with the ground truth of the same pictures, all together."""
    truth = targets.features()
    if isinstance(method.source, Predictions) and method.source.missing:
        rows = np.array([i for i, pair in enumerate(task.pairs) if pair.stem in method.source.files])
        truth = {key: _select(all_, rows, work / f"passing.{key}.f32") for key, all_ in truth.items()}
    return measures.of_sets(ledger.features(), truth)


def _select(features: NDArray[np.float32], rows: NDArray[np.int64], path: Path) -> NDArray[np.float32]:
    """Some of the rows, on disk like the whole."""
    with path.open("wb") as file:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            file.write(features[rows[start : start + _ROWS_AT_ONCE]].tobytes())
    return np.memmap(path, "<f4", "r", shape=(len(rows), features.shape[1]))


def _touched(entries: Sequence[Mapping[str, Any]]) -> Touched:
    known = sum(entry["touched"]["known"] for entry in entries)
    return Touched(
        pixels=sum(entry["touched"]["pixels"] for entry in entries) / max(1, known),
        mean=_mean_change(entries, "known"),
        worst=max(entry["touched"]["worst"] for entry in entries),
    )


def _mean_change(entries: Sequence[Mapping[str, Any]], region: str) -> float:
    """Mean absolute difference over a region before compositing, in 8-bit levels."""
    pixels = sum(entry["touched"][region] for entry in entries)
    return sum(entry["touched"][f"{region}_sum"] for entry in entries) / max(1, 3 * pixels)


def _warn_of_task(task: Task, measures: Measures, truth: Sequence[Mapping[str, Any]]) -> list[str]:
    warnings = []
    if task.missing:
        warnings.append(
            f"{len(task.missing)} pictures have no mask and are left out: {few(sorted(task.missing))}."
        )
    whole = sorted(entry["stem"] for entry in truth if entry["hole_ratio"] == 0)
    if whole:
        warnings.append(
            f"{len(whole)} pictures have no hole: {few(whole)}. What is measured over the hole leaves them "
            "out; is white the hole in the masks?"
        )
    if "fid" in measures.feature_sizes and len(truth) < FEWEST_FOR_FID:
        warnings.append(
            f"FID of {len(truth)} pictures is biased upward, as of any fewer than {FEWEST_FOR_FID:,}: "
            "compare it only at equal N, and mind its interval."
        )
    return warnings


def _warn_of_method(method: Method, row: Row, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    if not isinstance(method.source, Predictions):
        return []
    predictions, warnings = method.source, []
    if predictions.missing:
        warnings.append(
            f"{method.name}: {len(predictions.missing)} pictures have no prediction: "
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
