"""The scoring engine: images stream through, values land on disk, a killed run goes on where it stood.

Threads decode a few batches ahead of the device. Every prediction is composited with the ground truth outside
the hole before anything is measured; what it changed there is recorded first. Apart from names and numbers
nothing is kept in memory, so images may be as many as there are.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.measures.build import Measures
from eval.results import Report
from eval.summary import summarise
from eval.tasks.cache import ResultCache
from eval.tasks.methods import Method, check_names, fill_in_8_bits
from eval.tasks.pairs import Pair, Predictions, Task
from eval.tasks.stream import THREADS, Example, image_tensor, mask_tensor, read_batches
from inpaint.errors import DataError, InpaintError
from inpaint.images import tensor_to_image, write_image
from inpaint.mask import composite

# In images of 256 x 256: more than 4 at once cost a CPU a fifth of its time in fresh memory pages.
PIXELS_AT_ONCE = {"cpu": 4 * 256 * 256, "cuda": 64 * 256 * 256, "mps": 16 * 256 * 256}

OnProgress = Callable[[str, int, int], None]
"""What is being scored, how many images are done, and of how many."""


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


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
    on_progress: OnProgress = no_progress,
) -> Report:
    """Score methods on a task, or go on with it.

    Args:
        task: images and masks.
        methods: rows of the table, in its order.
        measures: what to measure, on ``device``.
        protocol: name of what they measure, for the report.
        cache_dir: keeps values and features; those of an earlier, equal run are continued.
        device: where to compute.
        save: folder for the composites of fills as PNG, one folder a method.
        pixels_at_once: size of a batch; as suits the device.
        on_progress: called after each batch.

    Raises:
        InpaintError: names clash, ``cache_dir`` holds another run, a file cannot be read or written, or a
            fill fails.
    """
    check_names(methods)
    run = _Run(task, measures, cache_dir, device, pixels_at_once or PIXELS_AT_ONCE[device.type], on_progress)
    try:
        targets = run.measure_targets()
        caches = {method: run.measure(method, save and save / method.slug) for method in methods}
    except torch.OutOfMemoryError as error:
        raise InpaintError(f"out of memory on {device}; use --device cpu, or a smaller --size") from error
    notes = {**task.notes, "device": describe_device(device), "torch": torch.__version__}
    if models := [f"{m.name} ({m.identity[:16]})" for m in methods if m.kind == "model" and m.identity]:
        notes["SHA-256 of models"] = ", ".join(models)
    if measures.files:
        files = "; ".join(f"{titles}: {file}" for titles, file in measures.files.items())
        notes["SHA-256 of feature networks"] = files
    return summarise(protocol, task, measures, targets, caches, cache_dir=cache_dir, save=save, notes=notes)


class _Run:
    """What the passes over the images of one run share."""

    def __init__(
        self,
        task: Task,
        measures: Measures,
        cache_dir: Path,
        device: torch.device,
        pixels_at_once: int,
        on_progress: OnProgress,
    ) -> None:
        self._task = task
        self._measures = measures
        self._cache_dir = cache_dir
        self._device = device
        self._pixels_at_once = pixels_at_once
        self._on_progress = on_progress

    @torch.inference_mode()
    def measure_targets(self) -> ResultCache:
        """Features of the ground truth, once for all methods, and what a report says of the images."""
        cache = self._open("targets")
        for examples, image, _ in self._stream("ground truth", self._task.pairs, None, cache):
            entries = [
                {
                    "stem": example.pair.stem,
                    "shape": example.hole.shape,
                    "hole_ratio": example.hole_ratio,
                    "sha256": hashlib.sha256(example.image.tobytes()).hexdigest(),
                }
                for example in examples
            ]
            cache.append(entries, self._features(image))
        return cache

    @torch.inference_mode()
    def measure(self, method: Method, save: Path | None) -> ResultCache:
        """Values and features of one method's composites; those of a fill are saved where ``save`` says."""
        cache = self._open(f"method-{method.slug}", method.identity)
        pairs: Sequence[Pair] = self._task.pairs
        predictions = method.source if isinstance(method.source, Predictions) else None
        if predictions is not None:
            pairs, save = [pair for pair in pairs if pair.stem in predictions.files], None
        if save is not None:
            cache.cut(min(len(cache), _count_saved(pairs, save)))
        with ThreadPoolExecutor(THREADS) as writers:
            for examples, image, mask in self._stream(method.name, pairs, predictions, cache):
                prediction, seconds = self._predict(method, examples, image, mask)
                filled = composite(prediction, image, mask)
                files = [] if save is None else [save / f"{example.pair.stem}.png" for example in examples]
                written = writers.map(_write_filled, filled.cpu(), files) if files else ()
                values = self._measures.per_image(filled, image, mask)
                features = self._features(filled)
                known_change = None if method.kind == "baseline" else _known_change(prediction, image, mask)
                deque(written, maxlen=0)  # a line in the cache promises the image
                cache.append(_entries(examples, values, known_change, seconds), features)
        return cache

    def _open(self, name: str, predictions: str = "") -> ResultCache:
        measures = self._measures
        made_of = f"{measures.definition} {measures.columns} {dict(measures.feature_sizes)} {measures.files}"
        identity = {
            "images or masks": self._task.fingerprint,
            "measures": hashlib.sha256(made_of.encode()).hexdigest()[:16],
            "predictions": predictions,
        }
        return ResultCache(self._cache_dir, name, identity, measures.feature_sizes)

    def _stream(
        self, what: str, pairs: Sequence[Pair], predictions: Predictions | None, cache: ResultCache
    ) -> Iterator[tuple[list[Example], Tensor, Tensor]]:
        """Batches of what the cache lacks: examples, image and mask on the device."""
        self._on_progress(what, len(cache), len(pairs))
        remaining = pairs[len(cache) :]
        for examples in read_batches(self._task, remaining, predictions, self._pixels_at_once):
            image = image_tensor([example.image for example in examples], self._device)
            yield examples, image, mask_tensor([example.hole for example in examples], self._device)
            self._on_progress(what, len(cache), len(pairs))

    def _predict(
        self, method: Method, examples: Sequence[Example], image: Tensor, mask: Tensor
    ) -> tuple[Tensor, float | None]:
        """Predictions in whole 255ths, and the seconds each took to make where they were made here."""
        if isinstance(method.source, Predictions):
            files = [example.prediction for example in examples if example.prediction is not None]
            return image_tensor(files, self._device), None
        synchronise = torch.cuda.synchronize if self._device.type == "cuda" else lambda: None
        synchronise()
        start = time.perf_counter()
        prediction = fill_in_8_bits(method, image, mask)
        synchronise()
        return prediction, (time.perf_counter() - start) / len(examples)

    def _features(self, image: Tensor) -> dict[str, NDArray[np.float32]]:
        return {key: feature.numpy() for key, feature in self._measures.features(image).items()}


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


def _write_filled(image: Tensor, path: Path) -> None:
    write_image(tensor_to_image(image), path)


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
