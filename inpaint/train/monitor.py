"""Monitor a run: its folder, its curves, its sample grids, its states, and when to stop."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from inpaint.atomic import atomic_write
from inpaint.checkpoint import save_checkpoint
from inpaint.errors import ConfigError, DataError, InpaintError
from inpaint.train.config import RunConfig, plain_config
from inpaint.train.distributed import Processes
from inpaint.train.sample_grid import write_sample_grid
from inpaint.train.state import (
    Stateful,
    append_stats,
    find_not_finite,
    list_states,
    load_latest_state,
    read_stats,
    restore,
    save_state,
    trim_stats,
)


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    images_seen: int
    images: int
    images_per_second: float
    values: Mapping[str, float]

    @property
    def seconds_left(self) -> float:
        """At the present speed."""
        return (self.images - self.images_seen) / max(self.images_per_second, 1e-9)


class Stopped(InpaintError):
    """The run was asked to stop; its state is saved. A program ends with ``exit_code``."""

    def __init__(self, images_seen: int, images: int, number: int) -> None:
        super().__init__(f"stopped at {images_seen} of {images} images; the same command resumes from there")
        self.exit_code = 128 + number


class Monitor:
    """Write the files of one run into its ``out`` folder; of several processes only the main one writes.

    ``stats.jsonl``, ``samples/``, ``config.json``, ``problems.jsonl``, ``state-*.pt``, the checkpoint and, if
    the config asks for it, ``tensorboard/``.

    Raises:
        DataError: the folder cannot be written.
        ConfigError: the config wants TensorBoard, which is not installed.
    """

    def __init__(
        self,
        config: RunConfig,
        processes: Processes,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.config, self.folder = config, config.out
        self._processes, self._on_progress = processes, on_progress
        self._images_seen = self._last_images = self._signal = 0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._noted: set[str] = set()
        self._due = {"sample": False, "save": False, "stop": False}
        self._last: dict[str, float] = dict.fromkeys(("sample", "save", "log"), time.monotonic())
        self._board = None
        self._board_kind = _tensorboard() if config.tensorboard else None
        if not processes.is_main:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / "config.json") as file:
                file.write((json.dumps(plain_config(config), indent=2) + "\n").encode())
            self._noted = {record["problem"] for record in read_stats(self.folder / "problems.jsonl")}
        except OSError as error:
            raise DataError(f"cannot write into the run's folder {self.folder}: {error.strerror}") from error

    def report_problem(self, problem: str) -> None:
        """Record a problem that does not stop the run in one line, once."""
        if self._processes.is_main and problem not in self._noted:
            self._noted.add(problem)
            append_stats(self.folder / "problems.jsonl", {"problem": problem})

    def resume(self, parts: Mapping[str, Stateful]) -> int:
        """Bring the run's parts to its newest state, if that fits; gives the images seen, 0 without one."""
        saved = load_latest_state(self.folder, self.report_problem) or {"images_seen": 0}
        self._processes.check_agreed(saved["images_seen"], "images_seen")
        if saved["images_seen"]:
            restore(parts, saved, self.folder)
            for name, (total, count) in saved.get("window", {}).items():
                self._sums[name], self._counts[name] = total, count
        return saved["images_seen"]

    def save(self, parts: Mapping[str, Stateful], network: nn.Module, **notes: str) -> Path:
        """Write a state and the checkpoint; nothing, but an InpaintError, if something is not finite."""
        self._average_window()
        path = self.folder / f"{self.config.name}.safetensors"
        state = {name: part.state_dict() for name, part in parts.items()}
        self._require_finite(self._sums)
        self._require_finite(state)
        if self._processes.is_main:
            window = {name: [total.cpu(), self._counts[name]] for name, total in self._sums.items()}
            save_state(self.folder, self._images_seen, {**state, "window": window})
            notes |= {"run": self.config.name, "images_seen": str(self._images_seen)}
            notes |= {"processes": str(self._processes.count)}
            save_checkpoint(path, network, notes)
        return path

    @contextmanager
    def running(self, images_seen: int) -> Iterator[None]:
        """Monitor a run from this many images on; Ctrl-C and SIGTERM stop it after the present step."""
        self._images_seen = self._last_images = images_seen
        self._last = dict.fromkeys(self._last, time.monotonic())
        if self._processes.is_main:
            trim_stats(self.folder / "stats.jsonl", images_seen)
            if self._board_kind is not None:
                self._board = self._board_kind(self.folder / "tensorboard", purge_step=images_seen + 1)
        try:
            with _handling_signals(lambda number: setattr(self, "_signal", number)):
                yield
        finally:
            if self._board is not None:
                self._board.close()

    def raise_if_stopped(self) -> None:
        """Raise Stopped if the run was asked to stop before its last image."""
        if self._due["stop"] and self._images_seen < self.config.images:
            raise Stopped(self._images_seen, self.config.images, self._signal or signal.SIGTERM)

    def is_unfinished(self) -> bool:
        """Are there images left, and nobody asked to stop?"""
        return self._images_seen < self.config.images and not self._due["stop"]

    def step(self, images_seen: int, values: Mapping[str, Tensor]) -> None:
        """Take in one step's values; every ``log_every`` steps their means are logged, if they are finite."""
        self._images_seen = images_seen
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name].to(value.device) + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        step = images_seen // self.config.batch_size
        if step % self.config.log_every == 0 or images_seen >= self.config.images:
            self._log()
        self._agree_what_is_due()

    def due(self, what: str) -> bool:
        """Is it time for a ``sample`` or to ``save``? The same answer in every process."""
        return self._due[what]

    def sample(self, columns: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write a sample grid, one row per image, one titled column per stage ``(B, C, h, w)``.

        ``columns`` makes the images; it is called in the main process only.
        """
        if self._processes.is_main:
            made = columns()
            path = self.folder / "samples" / f"{self._images_seen:09d}.png"
            grid = write_sample_grid(path, list(zip(*made.values(), strict=True)), list(made))
            if self._board is not None:
                self._board.add_image("samples", grid, self._images_seen, dataformats="HWC")

    def _log(self) -> None:
        self._average_window()
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        self._require_finite(means)
        now = time.monotonic()
        rate = (self._images_seen - self._last_images) / max(now - self._last["log"], 1e-9)
        self._last["log"], self._last_images = now, self._images_seen
        if not self._processes.is_main:
            return
        record = {"images_seen": self._images_seen, "images_per_second": round(rate, 2)} | means
        append_stats(self.folder / "stats.jsonl", record)
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, self._images_seen)
        if self._on_progress is not None:
            self._on_progress(Progress(self._images_seen, self.config.images, rate, means))

    def _average_window(self) -> None:
        """Bring what was summed up since the last log line to its mean over the processes."""
        self._processes.average_([self._sums[name] for name in sorted(self._sums)])

    def _agree_what_is_due(self) -> None:
        """Let the main process's clock, and a signal to any process, speak for all."""
        now, main = time.monotonic(), self._processes.is_main
        intervals = {"sample": self.config.sample_every_s, "save": self.config.save_every_s}
        due = {what: main and now - self._last[what] >= wait for what, wait in intervals.items()}
        agreed = self._processes.any_raised([*due.values(), self._signal != 0])
        self._due = dict(zip([*due, "stop"], agreed, strict=True))
        self._last |= {what: now for what in due if self._due[what]}

    def _require_finite(self, values: Mapping[str, Any]) -> None:
        bad = find_not_finite(values)
        if bad is None:
            return
        states = list_states(self.folder)
        rest = f"{states[-1].name} in {self.folder} is good" if states else "no state was saved yet"
        raise InpaintError(
            f"the run diverged at {self._images_seen} images: {bad} is not finite; {rest}, "
            "restart with a lower learning_rate"
        )


@contextmanager
def _handling_signals(on_signal: Callable[[int], None]) -> Iterator[None]:
    """Tell of the first Ctrl-C or SIGTERM; a second one acts as it always does."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: Any) -> None:
        signal.signal(number, before[signal.Signals(number)])
        on_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tensorboard() -> Any:
    """The class that writes TensorBoard's files."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "tensorboard is true, but the package is not installed; run: pip install tensorboard"
        ) from None
    return SummaryWriter
