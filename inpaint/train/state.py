"""What a run leaves on disk while it goes: states to resume from, statistics, sheets of sample pictures."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from inpaint.errors import CheckpointError

STATES_KEPT = 2
_STATE_NAME = re.compile(r"state-(\d{9,})\.pt")
_GAP = 4  # pixels between the pictures of a sheet
_TITLE_HEIGHT = 14


class Stateful(Protocol):
    """A part of a run whose state is saved: a network, an optimizer, averaged weights."""

    def state_dict(self) -> dict[str, Any]:
        """Give what `torch.load(weights_only=True)` accepts."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take it back."""
        ...


def save_state(folder: Path | str, images_seen: int, payload: Mapping[str, Any]) -> Path:
    """Write everything a run needs to go on, atomically, and delete all but the last two states.

    Args:
        folder: of the run; made if missing.
        images_seen: how far the run is; names the file and is stored as `images_seen`.
        payload: state dicts and plain values: what `torch.load(weights_only=True)` accepts.

    Returns:
        The path `state-000012345.pt`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{images_seen:09d}.pt"
    temporary = folder / f".{path.name}.part"
    try:
        with temporary.open("wb") as file:
            torch.save({**payload, "images_seen": images_seen}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for old in list_states(folder)[:-STATES_KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_latest_state(
    folder: Path | str, on_problem: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """Read the newest state that is whole, onto the processor.

    Args:
        folder: of the run; may not exist.
        on_problem: called with one line per state that cannot be read and is passed over.

    Returns:
        What was saved, with `images_seen`; None if the run has no state yet.

    Raises:
        CheckpointError: there are states, but none can be read: better to stop than to start over silently.
    """
    states = list_states(folder)
    for path in reversed(states):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as problem:  # a truncated file raises many kinds of errors
            reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            if on_problem is not None:
                on_problem(f"{path.name}: cannot be read, trying the state before it ({reason})")
    if states:
        raise CheckpointError(
            f"none of {len(states)} states in {folder} can be read; delete state-*.pt there to start anew"
        )
    return None


def list_states(folder: Path | str) -> list[Path]:
    """List the states of a run, oldest first."""
    found = [
        (match, path)
        for path in Path(folder).glob("state-*.pt")
        if (match := _STATE_NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, key=lambda entry: int(entry[0][1]))]


def append_stats(path: Path | str, record: Mapping[str, Any]) -> None:
    """Add one line of JSON; single-value tensors become numbers, values that are not finite become null."""
    line = json.dumps({key: _plain_number(value) for key, value in record.items()})
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_stats(path: Path | str) -> list[dict[str, Any]]:
    """Read what `append_stats` wrote; a last line that was cut off is passed over. No file: no records."""
    path = Path(path)
    records = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return records


def trim_stats(path: Path | str, images_seen: int) -> None:
    """Drop lines beyond `images_seen`, so that a resumed run does not tell the same images twice."""
    path = Path(path)
    if not path.exists():
        return
    kept = [record for record in read_stats(path) if record.get("images_seen", 0) <= images_seen]
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    os.replace(temporary, path)


def write_sheet(
    path: Path | str, rows: Iterable[Sequence[Tensor] | Tensor], titles: Sequence[str] = ()
) -> None:
    """Write pictures as one PNG grid, atomically.

    Args:
        path: ends in `.png`; its folder is made if missing.
        rows: each a sequence of pictures (3, h, w) or (1, h, w) in [0, 1], or a tensor (N, C, h, w);
            smaller pictures (an attention map) are enlarged, without smoothing.
        titles: of the columns, written above them.
    """
    path = Path(path)
    grid = [[_to_picture(picture) for picture in row] for row in rows]
    height = max((picture.height for row in grid for picture in row), default=1)
    width = max((picture.width for row in grid for picture in row), default=1)
    top = _TITLE_HEIGHT if titles else 0
    columns = max([len(titles), *(len(row) for row in grid)])
    sheet = Image.new(
        "RGB", (columns * (width + _GAP) + _GAP, top + len(grid) * (height + _GAP) + _GAP), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((_GAP + column * (width + _GAP), 1), title, fill="black")
    for line, row in enumerate(grid):
        for column, picture in enumerate(row):
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (_GAP + column * (width + _GAP), top + _GAP + line * (height + _GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    sheet.save(temporary, format="PNG")
    os.replace(temporary, path)


def _to_picture(picture: Tensor) -> Image.Image:
    values = picture.detach().float().cpu().nan_to_num().clamp(0, 1)
    pixels = (values.expand(3, -1, -1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))


def _plain_number(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
