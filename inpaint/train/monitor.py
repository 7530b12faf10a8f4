"""Monitor a run: its folder, its curves, its sample grids, its states, and when to stop."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from inpaint.atomic import atomic_write
from inpaint.checkpoint import save_checkpoint
from inpaint.errors import DataError, InpaintError, require
from inpaint.train import state
from inpaint.train.config import RunConfig, plain_config
from inpaint.train.distributed import Processes
from inpaint.train.sample_grid import write_sample_grid


class Progress(NamedTuple):
    """How far a run is."""

    images_seen: int
    images: int
    images_per_second: float
    values: Mapping[str, float]
    problems: int = 0  # how many there are in ``problems.jsonl``


class Stopped(InpaintError):
    """The run was asked to stop; its state is saved. A program ends with ``exit_code``."""

    def __init__(self, images_seen: int, images: int, number: int) -> None:
        super().__init__(f"stopped at {images_seen} of {images} images; the same command resumes from there")
        self.exit_code = 128 + number


class Monitor:
    """Write the files of one run into its folder; of several processes only the main one writes.

    ``stats.jsonl``, ``samples/``, ``config.json``, ``problems.jsonl``, ``state-*.pt``, the checkpoint and, if
    asked for, ``tensorboard/``.

    Args:
        config: of the run, as ``config.json`` records it.
        processes: this process among those of the run.
        on_progress: called after each log line.

    Raises:
        DataError: the folder cannot be written.
        InpaintError: TensorBoard is wanted, but not installed.
    """

    def __init__(
        self, config: RunConfig, processes: Processes, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self._config, self._processes, self._on_progress = config, processes, on_progress
        self.folder = config.out
        self._images_seen = self._last_images = self._signal = 0
        self._window: dict[str, tuple[Tensor, int]] = {}  # since the last log line: sums and counts
        self._noted: set[str] = set()
        self._every_s = {"sample": config.sample_every_s, "save": config.save_every_s}
        self._due = dict.fromkeys([*self._every_s, "stop"], False)
        self._last = dict.fromkeys([*self._every_s, "log"], time.monotonic())
        self._board = None
        if config.tensorboard:
            require("tensorboard", "tensorboard = true", "train")
        if not processes.is_main:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / "config.json") as file:
                file.write((json.dumps(plain_config(config), indent=2) + "\n").encode())
            self._noted = {record["problem"] for record in state.read_stats(self.folder / "problems.jsonl")}
        except OSError as error:
            raise DataError(f"cannot write into the run's folder {self.folder}: {error.strerror}") from error

    def report_problem(self, problem: str) -> None:
        """Record a problem that does not stop the run in one line, once."""
        if self._processes.is_main and problem not in self._noted:
            self._noted.add(problem)
            state.append_stats(self.folder / "problems.jsonl", {"problem": problem})

    def resume(self, parts: Mapping[str, state.Stateful]) -> int:
        """Bring the run's parts to its newest state, if that fits; gives the images seen, 0 without one."""
        saved = state.load_latest_state(self.folder, self.report_problem) or {"images_seen": 0}
        self._processes.check_agreed(saved["images_seen"], "images_seen")
        if saved["images_seen"]:
            state.restore(parts, saved, self.folder)
            self._window = saved.get("window", {})
        return saved["images_seen"]

    def save(self, parts: Mapping[str, state.Stateful], network: nn.Module, **notes: str) -> Path:
        """Write a state and the checkpoint; nothing, but an InpaintError, if something is not finite."""
        window = self._average_window()
        path = self.folder / f"{self._config.name}.safetensors"
        states = {name: part.state_dict() for name, part in parts.items()}
        self._require_finite({name: total for name, (total, _) in window.items()} | states)
        if self._processes.is_main:
            states["window"] = {name: [total.cpu(), count] for name, (total, count) in window.items()}
            state.save_state(self.folder, self._images_seen, states)
            notes |= {"run": self._config.name, "images_seen": str(self._images_seen)}
            save_checkpoint(path, network, {**notes, "processes": str(self._processes.count)})
        return path

    @contextmanager
    def running(self, images_seen: int) -> Iterator[None]:
        """Monitor a run from this many images on; Ctrl-C and SIGTERM stop it after the present step."""
        self._images_seen = self._last_images = images_seen
        self._last = dict.fromkeys(self._last, time.monotonic())
        if self._processes.is_main:
            state.trim_stats(self.folder / "stats.jsonl", images_seen)
            if self._config.tensorboard:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(self.folder / "tensorboard", purge_step=images_seen + 1)
        try:
            with _handling_signals(lambda number: setattr(self, "_signal", number)):
                yield
        finally:
            if self._board is not None:
                self._board.close()

    def raise_if_stopped(self) -> None:
        """Raise Stopped if the run was asked to stop before its last image."""
        if self._due["stop"] and self._images_seen < self._config.images:
            raise Stopped(self._images_seen, self._config.images, self._signal or signal.SIGTERM)

    def is_unfinished(self) -> bool:
        """Are there images left, and nobody asked to stop?"""
        return self._images_seen < self._config.images and not self._due["stop"]

    def step(self, images_seen: int, values: Mapping[str, Tensor]) -> None:
        """Take in one step's values; every ``log_every`` steps their means are logged, if they are finite."""
        self._images_seen = images_seen
        for name, value in values.items():
            total, count = self._window.get(name, (0.0, 0))
            self._window[name] = (total + value.detach().float(), count + 1)
        config = self._config
        if images_seen // config.batch_size % config.log_every == 0 or images_seen >= config.images:
            self._log()
        self._agree_what_is_due()

    def due(self, what: str) -> bool:
        """Has the time come for it, such as to ``save``? The same answer in every process."""
        return self._due[what]

    def sample(self, columns: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write a sample grid, one row per image, one titled column per stage ``(B, C, h, w)``.

        ``columns`` makes the images; it is called in the main process only.
        """
        if self._processes.is_main:
            path = self.folder / "samples" / f"{self._images_seen:09d}.png"
            grid = write_sample_grid(path, columns())
            if self._board is not None:
                self._board.add_image("samples", grid, self._images_seen, dataformats="HWC")

    def _log(self) -> None:
        means = {name: float(total) / count for name, (total, count) in self._average_window().items()}
        self._window = {}
        self._require_finite(means)
        now = time.monotonic()
        rate = (self._images_seen - self._last_images) / max(now - self._last["log"], 1e-9)
        self._last["log"], self._last_images = now, self._images_seen
        if not self._processes.is_main:
            return
        record = {"images_seen": self._images_seen, "images_per_second": round(rate, 2)} | means
        state.append_stats(self.folder / "stats.jsonl", record)
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, self._images_seen)
        if self._on_progress is not None:
            self._on_progress(Progress(self._images_seen, self._config.images, rate, means, len(self._noted)))

    def _average_window(self) -> dict[str, tuple[Tensor, int]]:
        """Bring what was summed up since the last log line to its mean over the processes."""
        self._processes.average_([self._window[name][0] for name in sorted(self._window)])
        return self._window

    def _agree_what_is_due(self) -> None:
        """Let the main process's clock, and a signal to any process, speak for all."""
        now, main = time.monotonic(), self._processes.is_main
        due = [main and now - self._last[what] >= wait for what, wait in self._every_s.items()]
        agreed = self._processes.any_raised([*due, self._signal != 0])
        self._due = dict(zip(self._due, agreed, strict=True))
        self._last |= {what: now for what in self._every_s if self._due[what]}

    def _require_finite(self, values: Mapping[str, Any]) -> None:
        if (bad := state.find_not_finite(values)) is not None:
            states = state.list_states(self.folder)
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
