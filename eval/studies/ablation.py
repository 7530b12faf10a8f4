"""An ablation for real: every row trained on an equal budget from one base, and scored.

A row is a config of a folder such as ``configs/ablation``; ``mae_*.toml`` are the priors some rows build on.
Priors are trained first, then the base, then the rows. What is finished is not repeated, and what was stopped
goes on.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from eval.results import Report
from eval.scoring import OnProgress
from eval.tasks.methods import load_models
from eval.validation import validate_methods
from inpaint.checkpoint import read_notes
from inpaint.device import choose_device
from inpaint.errors import CheckpointError, ConfigError
from inpaint.train.config import AcrRunConfig, MaeRunConfig, plain_config, read_config
from inpaint.train.fit import fit
from inpaint.train.monitor import Progress
from inpaint.train.state import read_stats

BASE = "base"
REFERENCE = "mixed_prior"
SECOND_SEED = "_again"
"""What the name of a row's second run ends in."""

TITLES = tomllib.loads(Path(__file__).with_name("ablation.toml").read_text(encoding="utf-8"))
"""What the rows of ``configs/ablation`` are, in the table's order; rows of other names come after them.

Each is followed by its run with a second seed."""

# Settings of the machine, not of the experiment; and paths differ from place to place.
_OF_THE_MACHINE = {
    "out", "device", "threads", "workers", "keep", "compile", "tensorboard", "accumulate", "log_every",
    "sample_every_s", "save_every_s",
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    name: str
    images: int
    minutes: float
    hardware: str


@dataclass(frozen=True)
class Run:
    """One training run of an ablation, named after its config file: a prior, the base, or a row."""

    name: str
    config: AcrRunConfig | MaeRunConfig

    @property
    def is_row(self) -> bool:
        """Whether it is scored: priors are not."""
        return isinstance(self.config, AcrRunConfig)

    @property
    def checkpoint(self) -> Path:
        """The file it leaves."""
        return (self.config.out / f"{self.config.name}.safetensors").resolve()

    @property
    def starts_from(self) -> tuple[Path, ...]:
        """The files it needs."""
        if isinstance(self.config, MaeRunConfig):
            return ()
        paths = (self.config.init_checkpoint, self.config.prior_checkpoint)
        return tuple(path.resolve() for path in paths if path is not None)

    def is_finished(self) -> bool:
        """Has it seen all its images? ConfigError if its folder holds a run with other settings."""
        before, ours = self._noted(), plain_config(self.config)
        for field in fields(self.config):
            name = field.name
            if name in _OF_THE_MACHINE or _holds_paths(getattr(self.config, name)):
                continue
            # A setting that did not exist then, or that was left to a default, says nothing.
            old, new = before.get(name), ours[name]
            if None not in (old, new) and _shared(old, new) != _shared(new, old):
                raise ConfigError(
                    f"{self.config.out} holds a run with {name} = {old!r}, the config of {self.name} has "
                    f"{new!r}; delete that folder to train anew"
                )
        if not self.checkpoint.is_file():
            return False
        return int(read_notes(self.checkpoint).get("images_seen", 0)) >= self.config.images

    def cost(self) -> Cost:
        """What it took, by its own log and notes."""
        noted = self._noted()
        device = choose_device(noted["device"])
        hardware = f"{device.type.upper()}, {noted['threads'] or torch.get_num_threads()} thread(s)"
        if device.type == "cuda":
            hardware = torch.cuda.get_device_name(device)
        seconds, before = 0.0, 0
        for record in read_stats(self.config.out / "stats.jsonl"):
            seconds += (record["images_seen"] - before) / max(record["images_per_second"], 1e-9)
            before = record["images_seen"]
        return Cost(self.name, self.config.images, seconds / 60, hardware)

    def _noted(self) -> dict[str, Any]:
        """The config that its folder records; empty before it began."""
        path = self.config.out / "config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def plan_ablation(
    folder: Path, rows: Sequence[str] = (), *, images: int | None = None, device: str | None = None
) -> list[Run]:
    """Read the configs of a folder and put the runs in order: priors that are needed, the base, the rows.

    Without ``rows`` all are wanted, and the base always is. ``images`` is the budget of a row in place of its
    config's, in folders of its own; priors and base keep theirs. ``device`` is in place of the configs'.

    Raises:
        ConfigError: a config is wrong, or a row is unknown.
        CheckpointError: a row starts from a file that is neither there nor made by an earlier run.
    """
    found = [Run(path.stem, _read(path, images, device)) for path in sorted(folder.glob("*.toml"))]
    by_name = {run.name: run for run in found if run.is_row}
    if unknown := sorted(set(rows) - set(by_name)):
        raise ConfigError(f"got row {', '.join(unknown)}; {folder} has {', '.join(by_name) or 'no row'}")
    listed = [name for title in TITLES for name in (title, title + SECOND_SEED)]
    known = [*listed, *sorted(set(by_name) - set(listed))]
    wanted = [by_name[name] for name in known if name in by_name and (not rows or name in (*rows, BASE))]
    if not wanted:
        raise ConfigError(f"got no config of a row in {folder}; expected files such as {REFERENCE}.toml")
    needed = {path for run in wanted for path in run.starts_from}
    runs = [run for run in found if not run.is_row and run.checkpoint in needed] + wanted
    made = set[Path]()
    for run in runs:
        for path in run.starts_from:
            if path not in made and not path.is_file():
                raise CheckpointError(f"{run.name} starts from {path}, which is missing")
        made.add(run.checkpoint)
    return runs


def train_ablation(runs: Sequence[Run], on_progress: OnProgress = lambda *_: None) -> None:
    """Train what is not trained yet; ``on_progress`` gets a run's name, the images it has seen, and all.

    InpaintError if a run cannot start, diverges, or was stopped; the same command goes on from there.
    """
    for run in [run for run in runs if not run.is_finished()]:

        def tell(progress: Progress, name: str = run.name) -> None:
            on_progress(name, progress.images_seen, progress.images)

        on_progress(run.name, 0, run.config.images)
        fit(run.config, tell)


def score_ablation(
    runs: Sequence[Run],
    data: Path,
    device: torch.device,
    *,
    command: str,
    limit: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Report:
    """Score the trained rows by the fixed validation protocol; ``command`` is for the report."""
    methods = []
    for run in runs:
        if run.is_row:
            (model,) = load_models([str(run.checkpoint)], device)
            methods.append(replace(model, name=run.name))
    report = validate_methods(data, methods, device, limit=limit, on_progress=on_progress)
    return replace(report, notes={"Command": command, **report.notes})


def _read(path: Path, images: int | None, device: str | None) -> AcrRunConfig | MaeRunConfig:
    config = read_config(path)
    assert isinstance(config, AcrRunConfig | MaeRunConfig)
    if device is not None:
        config = replace(config, device=device)
    if images is None or path.stem == BASE or isinstance(config, MaeRunConfig):
        return config
    warmup = config.warmup_images * images // config.images
    out = config.out.with_name(f"{config.out.name}-{images}")
    return replace(config, images=images, warmup_images=warmup, out=out)


def _holds_paths(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, tuple) and any(isinstance(v, Path) for v in value))


def _shared(value: Any, other: Any) -> Any:
    """Of a table only the keys that both have."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: value[key] for key in value.keys() & other.keys()}
    return value
