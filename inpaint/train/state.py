"""What a run needs to resume after an interruption: its states and its statistics."""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.atomic import atomic_write
from inpaint.errors import CheckpointError
from inpaint.images.read import first_line

STATES_KEPT = 2
STATE_FORMAT = 2  # 1, without a number: before 0.1.0, with averaged weights of another form
_STATE_NAME = re.compile(r"state-\d{9,}\.pt")

Stateful = nn.Module | torch.optim.Optimizer
"""A part of a run whose state is saved: a network, an optimizer, averaged weights."""


def save_state(folder: Path, images_seen: int, payload: Mapping[str, Any]) -> Path:
    """Write `state-000012345.pt`, atomically, and delete all but the last two states.

    The payload is state dicts and plain values: what `torch.load(weights_only=True)` accepts.
    """
    path = folder / f"state-{images_seen:09d}.pt"
    with atomic_write(path) as file:
        torch.save({**payload, "images_seen": images_seen, "format": STATE_FORMAT}, file)
        file.flush()
        os.fsync(file.fileno())
    for old in list_states(folder)[:-STATES_KEPT]:
        old.unlink(missing_ok=True)
    return path


def find_not_finite(payload: Any, name: str = "") -> str | None:
    """Name the first tensor or number in nested mappings and sequences that holds NaN or infinity."""
    if isinstance(payload, Mapping | list | tuple):
        items = payload.items() if isinstance(payload, Mapping) else enumerate(payload)
        inside = (find_not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in items)
        return next(filter(None, inside), None)
    is_number = isinstance(payload, Tensor | float)
    return name if is_number and not torch.as_tensor(payload).isfinite().all() else None


def restore(parts: Mapping[str, Stateful], saved: Mapping[str, Any], folder: Path) -> None:
    """Bring a run's parts to a state that was loaded; CheckpointError if it is of other networks or older."""
    if saved.get("format") != STATE_FORMAT:
        raise CheckpointError(
            f"the states in {folder} were written by another version of inpaint and cannot be resumed; "
            "finish the run with that version, or name a new out folder and start there from the old "
            "folder's checkpoint with init_checkpoint"
        )
    for name, part in parts.items():
        try:
            part.load_state_dict(saved[name])
        except (RuntimeError, ValueError, KeyError, CheckpointError) as problem:
            reason = " ".join(str(problem).split())[:200]
            raise CheckpointError(
                f"the states in {folder} do not fit this config: {name} differs ({reason}); "
                "restore the config's old values, or name a new out folder"
            ) from None


def load_latest_state(
    folder: Path, on_problem: Callable[[str], None] = lambda _: None
) -> dict[str, Any] | None:
    """Read the newest state that is whole, onto the CPU; None if the run has no state yet.

    CheckpointError if there are states, but none can be read: better to stop than to start over silently.
    """
    states = list_states(folder)
    for path in reversed(states):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # a truncated file raises many kinds of errors
            on_problem(f"{path.name}: cannot be read, trying the state before it ({first_line(problem)})")
    if states:
        raise CheckpointError(f"no state in {folder} can be read; delete state-*.pt to start over")
    return None


def list_states(folder: Path) -> list[Path]:
    """List the states of a run, oldest first."""
    found = [path for path in folder.glob("state-*.pt") if _STATE_NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("state-")))


def append_stats(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_stats(path: Path) -> list[dict[str, Any]]:
    """Read what `append_stats` wrote; a last line that was cut off is passed over. No file: no records."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def trim_stats(path: Path, images_seen: int) -> None:
    """Drop lines beyond `images_seen`, so that a resumed run does not tell the same images twice."""
    kept = [record for record in read_stats(path) if record.get("images_seen", 0) <= images_seen]
    if path.exists():
        with atomic_write(path) as file:
            file.write("".join(json.dumps(record) + "\n" for record in kept).encode())
