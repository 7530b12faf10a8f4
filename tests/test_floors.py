"""Imports point down: a module may import only from lower floors, or from its own room."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Longest matching prefix wins. Rooms on one floor do not import each other; a package is one room.
FLOORS = {
    "inpaint.atomic": 0,
    "inpaint.device": 0,
    "inpaint.errors": 0,
    "inpaint.strict": 0,
    "inpaint.baselines": 1,
    "inpaint.framing": 1,
    "inpaint.images": 1,
    "inpaint.mask": 1,
    "inpaint.metrics": 1,
    "inpaint.published_metrics": 1,
    "inpaint.random_masks": 1,
    "inpaint.tokens": 1,
    "inpaint.features": 2,
    "inpaint.layers": 3,
    "inpaint.models": 4,
    "inpaint.convert": 5,
    "inpaint.checkpoint": 5,
    "inpaint.mask_sets": 5,
    "inpaint.weights": 5,
    "inpaint.backbones": 6,
    "inpaint.data": 6,
    "inpaint.pipeline": 7,
    "inpaint.train": 7,
    "inpaint.batch": 8,
    "eval": 9,
    "inpaint.web": 9,
    "inpaint.cli": 10,
    "inpaint.__main__": 11,
    "app": 11,
}
# Neighbours on one floor that may still be used, each with its reason.
NEIGHBOURS = {
    ("inpaint.device", "inpaint.errors"),
    ("inpaint.strict", "inpaint.errors"),
    ("inpaint.batch", "inpaint.pipeline"),  # many pictures = one picture, often
    ("inpaint.convert", "inpaint.models"),  # a foreign file is matched against our presets
    ("inpaint.published_metrics", "inpaint.metrics"),  # variants of one formula
    ("inpaint.cli", "eval"),  # `inpaint eval` is a door to the harness in the clone
    ("inpaint.cli", "inpaint.web"),  # `inpaint serve` opens the page
    ("inpaint.__main__", "inpaint.cli"),  # `python -m inpaint` is the command `inpaint`
    ("app", "inpaint.cli"),  # `python app.py` is `inpaint serve`
}


def room_of(module: str) -> str | None:
    """Return the room a module lives in, or None for a module that is not ours."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in FLOORS:
            return prefix
    return None


def faults(module: str, source: str) -> list[str]:
    """List every relative, homeless or upward import of one module, also the ones inside functions."""
    here = room_of(module)
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                found.append(f"{module}:{node.lineno} imports relatively")
                continue
            # `from inpaint.models import mae` may name a module or a value: judge the longer path.
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        for target in targets:
            if target.split(".")[0] not in ("inpaint", "eval", "app"):
                continue
            there = room_of(target)
            if there is None and target.startswith("inpaint") and FLOORS.get(here or "") != 6:
                found.append(f"{module}:{node.lineno} imports {target}: import from its own module instead")
            elif there is None or here is None or here == there:
                continue
            elif FLOORS[there] > FLOORS[here]:
                found.append(f"{module}:{node.lineno} (floor {FLOORS[here]}) imports {target} above it")
            elif FLOORS[there] == FLOORS[here] and (here, there) not in NEIGHBOURS:
                found.append(f"{module}:{node.lineno} imports its neighbour {target}")
    return found


def modules() -> dict[str, Path]:
    """Every Python module of the house by dotted name."""
    files = [*(ROOT / "inpaint").rglob("*.py"), *(ROOT / "eval").rglob("*.py"), *ROOT.glob("app.py")]
    names = {}
    for file in sorted(files):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    if module != "inpaint":  # the lazy public surface reaches every floor by design
        assert room_of(module), f"{module} has no floor: give it one here and in CONTRIBUTING.md"
        assert faults(module, modules()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("from inpaint.pipeline import InpaintPipeline", "above"),
        ("def late():\n    from inpaint.weights import locate", "above"),
        ("import inpaint.pipeline", "above"),
        ("from inpaint import pipeline", "above"),
        ("from inpaint import InpaintPipeline", "own module"),
        ("from ..pipeline import InpaintPipeline", "relatively"),
        ("from . import norm", "relatively"),
        ("import eval.report as report", "above"),
    ],
)
def test_a_bad_import_in_a_layer_is_caught(source: str, word: str) -> None:
    assert any(word in fault for fault in faults("inpaint.layers.ffc", source))


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from inpaint.errors import ShapeError",
        "from inpaint.tokens import patchify",
        "from inpaint.layers.norm import LayerNorm2d",
    ],
)
def test_a_good_import_in_a_layer_passes(source: str) -> None:
    assert faults("inpaint.layers.ffc", source) == []


def test_neighbours_on_one_floor_stay_apart() -> None:
    assert faults("inpaint.train.acr", "from inpaint.pipeline import InpaintPipeline")
    assert faults("inpaint.pipeline", "from inpaint.train.config import TrainConfig")
    assert faults("inpaint.mask", "from inpaint.images import read_image")
    assert not faults("inpaint.batch", "from inpaint.pipeline import InpaintPipeline")


def test_every_floor_is_in_the_contributing_guide() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [room for room in FLOORS if room.split(".")[-1] not in guide]
    assert missing == []
