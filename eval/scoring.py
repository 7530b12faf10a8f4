"""The scoring engine: images stream through, values land on disk, a killed run goes on where it stood.

Threads decode a few batches ahead of the device. Every prediction is composited with the ground truth outside
the hole before anything is measured; what it changed there is recorded first. Apart from names and numbers
nothing is kept in memory, so images may be as many as there are.
"""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.measures.protocols import Measures
from eval.measures.statistics import bins_of, means_of
from eval.results import ImageScores, KnownChange, Report, Row, Value
from eval.tasks.cache import ResultCache
from eval.tasks.methods import Method, check_names, fill_in_8_bits
from eval.tasks.pairs import Pair, Predictions, Task
from eval.tasks.stream import THREADS, Example, image_tensor, mask_tensor, read_batches
from inpaint.errors import DataError, InpaintError, ShapeError, few
from inpaint.images import tensor_to_image, write_image
from inpaint.mask import composite
from inpaint.mask_sets import hash_masks

# In images of 256 x 256: more than 4 at once cost a CPU a fifth of its time in fresh memory pages.
PIXELS_AT_ONCE = {"cpu": 4 * 256 * 256, "cuda": 64 * 256 * 256, "mps": 16 * 256 * 256}

Entries = Sequence[Mapping[str, Any]]
OnProgress = Callable[[str, int, int], None]
"""What is being scored, how many images are done, and of how many."""


def score(
    task: Task,
    methods: Sequence[Method],
    measures: Measures,
    *,
    protocol: str,
    cache_dir: Path,
    device: torch.device,
    save: Path | None = None,
    pixels_at_once: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Report:
    """Score methods on a task, or go on with it; the numbers do not depend on interruptions.

    Values and features are kept in ``cache_dir``, and those of an earlier, equal run are continued. ``save``
    is a folder for the composites of fills as PNG, one folder a method; ``protocol`` is the name of what
    ``measures`` measure on ``device``, for the report. A batch has at most ``pixels_at_once``, by default as
    suits the device; ``on_progress`` is called after each.

    Raises:
        InpaintError: names clash, ``cache_dir`` holds another run, a file cannot be read or written, or a
            fill fails.
    """
    check_names(methods)
    run = _Run(task, measures, cache_dir, device, pixels_at_once or PIXELS_AT_ONCE[device.type], on_progress)
    try:
        targets = run.measure_targets()
        caches = [run.measure(method, save and save / method.slug) for method in methods]
    except torch.OutOfMemoryError as error:
        raise InpaintError(f"out of memory on {device}; use --device cpu, or a smaller --size") from error
    truth, features = list(targets), targets.features()
    rows, warnings = [], _warn_of_task(task, measures, truth)
    for method, cache in zip(methods, caches, strict=True):
        entries = list(cache)
        numbers = [number for number, pair in enumerate(task.pairs) if method.covers(pair)]
        if [entry["stem"] for entry in entries] != [task.pairs[number].stem for number in numbers]:
            raise DataError(
                f"got the scores of {method.name} mixed up in {str(cache_dir)!r}, as by two runs at once; "
                "delete the folder, and give each run its own with --cache-dir"
            )
        of_same = features
        if len(numbers) < len(truth):
            of_same = {key: vectors[numbers] for key, vectors in features.items()}
        of_sets = measures.of_sets(cache.features(), of_same)
        rows.append(_row(method, entries, of_sets, measures, save))
        warnings += _warn_of_files(method, entries)
    shapes = {tuple(entry["shape"]) for entry in truth}
    masks = {pair.mask.path: pair.mask for pair in task.pairs}.values()  # once where images share one
    lines = sorted(f"{entry['stem']}\0{entry['shape']}\0{entry['sha256']}\n" for entry in truth)
    return Report(
        protocol=protocol,
        definition=measures.definition,
        n=len(truth),
        size=" x ".join(map(str, shapes.pop())) if len(shapes) == 1 else "mixed",
        hole_ratio=math.fsum(entry["hole_ratio"] for entry in truth) / len(truth),
        images_hash=hashlib.sha256("".join(lines).encode()).hexdigest(),
        masks_hash=hash_masks((mask.stem, mask.read_hole()) for mask in masks),
        columns=measures.columns,
        unmeasured=measures.unmeasured,
        rows=tuple(rows),
        warnings=tuple(warnings),
        notes=_notes(task, methods, measures, device),
        images=str(task.images),
        masks=str(task.masks),
        resized_to=task.size,
        cycled_masks=task.cycled,
    )


def _notes(task: Task, methods: Sequence[Method], measures: Measures, device: torch.device) -> dict[str, str]:
    """How to repeat a run."""
    notes = {**task.notes, "device": describe_device(device), "torch": torch.__version__}
    if models := [f"{m.name} ({m.identity[:16]})" for m in methods if m.kind == "model" and m.identity]:
        notes["SHA-256 of models"] = ", ".join(models)
    if files := [f"{titles}: {file}" for titles, file in measures.files.items()]:
        notes["SHA-256 of feature networks"] = "; ".join(files)
    return notes


@dataclass(frozen=True)
class _Run:
    """What the passes over the images of one run share."""

    task: Task
    measures: Measures
    cache_dir: Path
    device: torch.device
    pixels_at_once: int
    on_progress: OnProgress

    @torch.inference_mode()
    def measure_targets(self) -> ResultCache:
        """Features of the ground truth, once for all methods, and what a report says of the images."""
        cache = self._open("targets")
        for examples, image, _ in self._stream("ground truth", self.task.pairs, None, cache):
            entries = [
                {
                    "stem": example.pair.stem,
                    "shape": example.hole.shape,
                    "hole_ratio": example.hole_ratio,
                    "sha256": hashlib.sha256(example.image.tobytes()).hexdigest(),
                }
                for example in examples
            ]
            cache.append(entries, self.measures.features(image))
        return cache

    @torch.inference_mode()
    def measure(self, method: Method, save: Path | None) -> ResultCache:
        """Values and features of one method's composites; those of a fill are saved where ``save`` says."""
        cache = self._open(f"method-{method.slug}", method.identity)
        pairs = [pair for pair in self.task.pairs if method.covers(pair)]
        folder = save if method.files is None else None
        if folder is not None:
            cache.cut(min(len(cache), _count_saved(pairs, folder)))
        with ThreadPoolExecutor(THREADS) as writers:
            for examples, image, mask in self._stream(method.name, pairs, method.files, cache):
                prediction, seconds = self._predict(method, examples, image, mask)
                filled = composite(prediction, image, mask)
                files = [folder / f"{example.pair.stem}.png" for example in examples] if folder else []
                images = map(tensor_to_image, filled.cpu() if files else ())
                written = writers.map(write_image, images, files)
                try:
                    values = self.measures.per_image(filled, image, mask)
                except ShapeError as error:  # the smallest images come first: before the work, not after it
                    raise DataError(f"{examples[0].pair.stem} is too small to measure: {error}") from error
                features = self.measures.features(filled)
                known_change = None if method.kind == "baseline" else _known_change(prediction, image, mask)
                deque(written, maxlen=0)  # a line in the cache promises the image
                cache.append(_entries(examples, values, known_change, seconds), features)
        return cache

    def _open(self, name: str, predictions: str = "") -> ResultCache:
        measures = self.measures
        made_of = f"{measures.definition} {measures.columns} {dict(measures.feature_sizes)} {measures.files}"
        identity = {
            "images or masks": self.task.fingerprint,
            "measures": hashlib.sha256(made_of.encode()).hexdigest()[:16],
            "predictions": predictions,
        }
        return ResultCache(self.cache_dir, name, identity, measures.feature_sizes)

    def _stream(
        self, what: str, pairs: Sequence[Pair], predictions: Predictions | None, cache: ResultCache
    ) -> Iterator[tuple[list[Example], Tensor, Tensor]]:
        """Batches of what the cache lacks: examples, image and mask on the device."""
        self.on_progress(what, len(cache), len(pairs))
        remaining = pairs[len(cache) :]
        for examples in read_batches(self.task, remaining, predictions, self.pixels_at_once):
            image = image_tensor([example.image for example in examples], self.device)
            yield examples, image, mask_tensor([example.hole for example in examples], self.device)
            self.on_progress(what, len(cache), len(pairs))

    def _predict(
        self, method: Method, examples: Sequence[Example], image: Tensor, mask: Tensor
    ) -> tuple[Tensor, float | None]:
        """Predictions in whole 255ths, and the seconds each took to make where they were made here."""
        if method.files is not None:
            files = [example.prediction for example in examples if example.prediction is not None]
            return image_tensor(files, self.device), None
        synchronise = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        synchronise()
        start = time.perf_counter()
        prediction = fill_in_8_bits(method, image, mask)
        synchronise()
        return prediction, (time.perf_counter() - start) / len(examples)


def describe_device(device: torch.device) -> str:
    """The name of a GPU, or a CPU's threads, for a report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} thread(s)"


def _count_saved(pairs: Sequence[Pair], folder: Path) -> int:
    """How many of the first images lie in a folder already; the folder is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot save images in {str(folder)!r}: {error.strerror}") from error
    lacking = (i for i, pair in enumerate(pairs) if not (folder / f"{pair.stem}.png").is_file())
    return next(lacking, len(pairs))


def _entries(
    examples: Sequence[Example],
    values: Mapping[str, Tensor],
    known_change: Sequence[dict[str, float]] | None,
    seconds: float | None,
) -> list[dict[str, Any]]:
    """A cache's lines of a batch."""
    entries = []
    for index, example in enumerate(examples):
        numbers = {key: value[index].item() for key, value in values.items()}
        if not example.hole.any():  # what is measured over the hole is not defined
            numbers = {key: number for key, number in numbers.items() if not math.isnan(number)}
        entries.append(
            {
                "stem": example.pair.stem,
                "hole_ratio": example.hole_ratio,
                "values": numbers,
                "known_change": known_change and known_change[index],
                "seconds": seconds,
            }
        )
    return entries


def _known_change(prediction: Tensor, image: Tensor, mask: Tensor) -> list[dict[str, float]]:
    """What a prediction changed in the known region and in the hole of each image, in 8-bit levels."""
    levels = ((prediction - image).abs() * 255).round().to(torch.int64)
    hole = mask > 0.5
    known_levels = levels.masked_fill(hole, 0)
    sums = {
        "known": (~hole).flatten(1).sum(dim=1),
        "known_sum": known_levels.flatten(1).sum(dim=1),
        "pixels": known_levels.amax(dim=1).gt(0).flatten(1).sum(dim=1),
        "worst": known_levels.flatten(1).amax(dim=1),
        "hole": hole.flatten(1).sum(dim=1),
        "hole_sum": levels.masked_fill(~hole, 0).flatten(1).sum(dim=1),
    }
    columns = torch.stack(list(sums.values()), dim=1).tolist()
    return [dict(zip(sums, row, strict=True)) for row in columns]


def _row(
    method: Method, entries: Entries, of_sets: Mapping[str, Value], measures: Measures, save: Path | None
) -> Row:
    images = tuple(
        ImageScores(entry["stem"], entry["hole_ratio"], entry["values"])
        for entry in sorted(entries, key=lambda entry: entry["stem"])
    )
    means = means_of(images, measures.columns) | dict(of_sets)
    folder, seconds = save and save / method.slug, None
    if method.files is not None:
        folder = method.files.folder
    else:
        seconds = math.fsum(entry["seconds"] for entry in entries) / len(entries)
    return Row(
        name=method.name,
        kind=method.kind,
        values={column.key: means[column.key] for column in measures.columns if column.key in means},
        bins=bins_of(images, measures.columns),
        images=images,
        known_change=None if method.kind == "baseline" else _sum_of_changes(entries),
        seconds_per_image=seconds,
        folder=None if folder is None else str(folder),
        missing=() if method.files is None else method.files.missing,
    )


def _sum_of_changes(entries: Entries) -> KnownChange:
    changes = [entry["known_change"] for entry in entries]
    pixels = sum(change["pixels"] for change in changes) / max(1, sum(change["known"] for change in changes))
    worst = max(change["worst"] for change in changes)
    return KnownChange(pixels, _mean_change(entries, "known"), worst)


def _mean_change(entries: Entries, region: str) -> float:
    """Mean absolute difference over a region before compositing, in 8-bit levels."""
    pixels = sum(entry["known_change"][region] for entry in entries)
    return sum(entry["known_change"][f"{region}_sum"] for entry in entries) / max(1, 3 * pixels)


def _warn_of_task(task: Task, measures: Measures, truth: Entries) -> list[str]:
    warnings = []
    if task.missing:
        left_out, given = few(sorted(task.missing)), len(task.missing) + len(truth)
        warnings.append(f"{len(task.missing)} of {given} images have no mask and are left out: {left_out}.")
    if whole := sorted(entry["stem"] for entry in truth if entry["hole_ratio"] == 0):
        warnings.append(
            f"{len(whole)} of {len(truth)} images have no hole: {few(whole)}. What is measured over the hole "
            "leaves them out; is white the hole in the masks?"
        )
    titles = {column.key: column.title for column in measures.columns}
    sizes = {titles[key]: dims for key, dims in measures.feature_sizes.items() if len(truth) < dims}
    if sizes:
        named = ", ".join(f"{title} ({dims:,} features)" for title, dims in sizes.items())
        warnings.append(
            f"N = {len(truth)} is below the number of features of {named}: such distances are biased upward; "
            "compare them only at equal N, and mind the intervals."
        )
    return warnings


def _warn_of_files(method: Method, entries: Entries) -> list[str]:
    warnings, name, files = [], method.name, method.files
    if files is None:
        return []
    if files.missing:
        warnings.append(
            f"{name}: {len(files.missing)} of {len(files.missing) + len(entries)} images have no prediction: "
            f"{few(files.missing)}. Its numbers are over the others: compare them with no other row."
        )
    if files.jpegs:
        warnings.append(f"{name}: {files.jpegs} of {len(entries)} predictions are lossy JPEG; save PNG.")
    known, hole = _mean_change(entries, "known"), _mean_change(entries, "hole")
    if known > 2 * hole:  # a network whose output is kept as it is may err everywhere alike
        warnings.append(
            f"{name}: the known region differs more from the truth ({known:.2f} levels) than the hole does "
            f"({hole:.2f}): was it made with masks of the other polarity (white must be the hole)?"
        )
    return warnings
