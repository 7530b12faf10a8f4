"""Watch a run: its folder, its curve, its sample sheets, and when the next is due."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inpaint.errors import DataError, InpaintError
from inpaint.train.config import RunConfig, plain_config
from inpaint.train.state import append_stats, trim_stats, write_sheet


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it."""

    images_seen: int
    images: int
    images_per_second: float
    values: Mapping[str, float]


class Watch:
    """Keep the books of one run in its ``out`` folder: ``stats.jsonl``, ``samples/``, ``config.json``.

    Args:
        config: the run.
        on_progress: called after every logged step.
    """

    def __init__(self, config: RunConfig, on_progress: Callable[[Progress], None] | None = None) -> None:
        self.config = config
        self.folder = config.out
        self.problems = 0
        self._on_progress = on_progress
        self._steps = 0
        self._sums: dict[str, Tensor] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.json").write_text(json.dumps(plain_config(config), indent=2) + "\n")
        except OSError as error:
            raise DataError(f"cannot write into the run's folder {self.folder}: {error.strerror}") from error
        now = time.monotonic()
        self._last = {"sample": now, "save": now, "log": now}
        self._last_images = 0

    def note(self, problem: str) -> None:
        """Count a problem that does not stop the run, and keep its one line."""
        self.problems += 1
        append_stats(self.folder / "problems.jsonl", {"problem": problem})

    def start(self, images_seen: int) -> None:
        """Begin, or go on, at this many images."""
        trim_stats(self.folder / "stats.jsonl", images_seen)
        self._last["log"] = time.monotonic()
        self._last_images = images_seen

    def step(self, images_seen: int, values: Mapping[str, Tensor | float]) -> None:
        """Take in one step's values; every ``log_every`` steps their means are logged.

        Raises:
            InpaintError: if a logged value is not finite. Nothing is saved then: the last state is good.
        """
        for name, value in values.items():
            summed = self._sums.get(name)
            value = value.detach().float() if isinstance(value, Tensor) else torch.tensor(float(value))
            self._sums[name] = value if summed is None else summed + value
        self._steps += 1
        if self._steps < self.config.log_every and images_seen < self.config.images:
            return
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        now = time.monotonic()
        rate = (images_seen - self._last_images) / max(now - self._last["log"], 1e-9)
        self._steps, self._sums, self._last["log"], self._last_images = 0, {}, now, images_seen
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            raise InpaintError(
                f"the run diverged at {images_seen} images: {', '.join(bad)} not finite; the last state in "
                f"{self.folder} is good, start again with a lower learning_rate"
            )
        record: dict[str, Any] = {"images_seen": images_seen, "images_per_second": round(rate, 2)}
        append_stats(self.folder / "stats.jsonl", record | means)
        if self._on_progress is not None:
            self._on_progress(Progress(images_seen, self.config.images, rate, means))

    def due(self, what: str) -> bool:
        """Is it time for the next ``sample`` or ``save``? Asking starts the next interval."""
        interval = {"sample": self.config.sample_every_s, "save": self.config.save_every_s}[what]
        if time.monotonic() - self._last[what] < interval:
            return False
        self._last[what] = time.monotonic()
        return True

    def sheet(self, images_seen: int, columns: Mapping[str, Tensor]) -> None:
        """Write a sample sheet: one row a picture, one titled column a stage ``(B, C, h, w)``."""
        path = self.folder / "samples" / f"{images_seen:09d}.png"
        write_sheet(path, list(zip(*columns.values(), strict=True)), list(columns))
