"""The house: imports point down, folders and functions stay small, the whole stays under its line budget."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
    "inpaint.random_masks": 1,
    "inpaint.tokens": 1,
    "inpaint.features": 2,
    "inpaint.layers": 2,
    "inpaint.models": 3,
    "inpaint.checkpoint": 4,
    "inpaint.convert": 4,
    "inpaint.inference": 4,
    "inpaint.refine": 4,
    "inpaint.mask_sets": 4,
    "inpaint.weights": 4,
    "inpaint.backbones": 5,
    "inpaint.data": 5,
    "inpaint.fills": 5,
    "inpaint.inspect": 5,
    "inpaint.pipeline": 6,
    "inpaint.train": 6,  # without a module of its own
    "inpaint.train.config": 6,
    "inpaint.train.losses": 6,
    "inpaint.train.sample_grid": 6,
    "inpaint.train.state": 6,
    "inpaint.train.distributed": 6,
    "inpaint.train.optimise": 6.1,
    "inpaint.train.recipes": 6.2,
    "inpaint.train.monitor": 6.2,
    "inpaint.train.trial": 6.3,
    "inpaint.train.fit": 6.4,
    "inpaint.batch": 7,
    "eval": 8,  # without a module of its own
    "eval.published": 8,
    "eval.results": 8,
    "eval.measures": 8.1,
    "eval.tasks": 8.1,
    "eval.scoring": 8.3,
    "eval.report": 8.4,
    "eval.validation": 8.4,
    "inpaint.web": 8,
    "eval.studies": 9,
    "eval.commands": 10,
    "inpaint.cli": 10,
    "eval.__main__": 11,
    "inpaint.__main__": 11,
    "app": 11,
}
# Imports of a room on the same floor or above that are allowed, each with its reason.
ALLOWED = {
    ("inpaint.device", "inpaint.errors"),
    ("inpaint.strict", "inpaint.errors"),
    ("inpaint.convert", "inpaint.checkpoint"),  # a converted file is a checkpoint of ours
    ("inpaint.weights", "inpaint.convert"),  # what is fetched is converted
    ("inpaint.__main__", "inpaint.cli"),  # `python -m inpaint` is the command `inpaint`
    ("eval.commands", "inpaint.cli"),  # every command has the same --device
    ("app", "inpaint.cli"),  # `python app.py` is `inpaint serve`
}

# Neither imports the other, whatever their floors.
APART = [
    (a, b)
    for pair in (("inpaint.pipeline", "inpaint.train"), ("inpaint.web", "eval."))
    for a, b in (pair, pair[::-1])
]
STUDIES = ("eval.studies", "eval.commands")  # nothing else imports the studies

MODULES_PER_FOLDER = 12
FOLDERS = {"inpaint": 18}  # folders with a limit of their own
FUNCTION_LINES = 60  # from `def` to the last line, the docstring not counted
SOURCE_LINES = 22_000  # of inpaint and eval together


def room_of(module: str) -> str | None:
    """Return the room a module lives in, or None for a module that is not ours."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in FLOORS:
            return prefix
    return None


@cache
def nodes_of(source: str) -> list[ast.AST]:
    """Everything in a module; three checks read each."""
    return list(ast.walk(ast.parse(source)))


def faults(module: str, source: str) -> list[str]:
    """List every relative, homeless or upward import of one module, also the ones inside functions."""
    here = room_of(module)
    found = []
    for node in nodes_of(source):
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
            if any(module.startswith(a) and target.startswith(b) for a, b in APART):
                found.append(f"{module}:{node.lineno} imports {target}: these two stay apart")
            if target.startswith("eval.studies") and not module.startswith(STUDIES):
                found.append(f"{module}:{node.lineno} imports {target}, which only its commands may")
            if target == "inpaint.__version__":
                continue
            if there is None and target.startswith("inpaint"):
                found.append(f"{module}:{node.lineno} imports {target}: import from its own module instead")
            elif there is None or here is None or here == there:
                continue
            elif FLOORS[there] < FLOORS[here] or (here, there) in ALLOWED:
                continue
            elif FLOORS[there] > FLOORS[here]:
                found.append(f"{module}:{node.lineno} (floor {FLOORS[here]}) imports {target} above it")
            else:
                found.append(f"{module}:{node.lineno} imports its neighbour {target}")
    return found


def imports(source: str) -> set[str]:
    """Every dotted name a module imports; `from inpaint.models import mae` may name a module or a value."""
    found = set()
    for node in nodes_of(source):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def long_functions(module: str, source: str) -> dict[str, int]:
    """Functions of more lines than allowed, without their docstrings."""
    found = {}
    for node in nodes_of(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > FUNCTION_LINES:
                found[f"{module}.{node.name}"] = lines
    return found


@cache
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
    assert faults("inpaint.train.fit", "from inpaint.pipeline import InpaintPipeline")
    assert faults("inpaint.pipeline", "from inpaint.train.config import TrainConfig")
    assert faults("inpaint.mask", "from inpaint.images import read_image")
    assert faults("eval.report.page", "from eval.studies.ablation import Row")
    assert faults("inpaint.cli.run", "from eval.studies.ablation import Row")
    assert faults("eval.tasks.pairs", "from eval.measures.protocols import Measures")
    assert faults("eval.scoring", "from inpaint.web.page import build_page")
    assert not faults("inpaint.batch", "from inpaint.pipeline import InpaintPipeline")


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also not through imports inside functions."""
    known = modules()
    graph = {name: (imports(file.read_text(encoding="utf-8")) & known.keys()) - {name, "inpaint"}
             for name, file in known.items() if name != "inpaint"}  # fmt: skip
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_folders_have_few_modules() -> None:
    counts = Counter(str(file.parent.relative_to(ROOT)) for file in modules().values())
    over = {folder: n for folder, n in counts.items() if n > FOLDERS.get(folder, MODULES_PER_FOLDER)}
    assert over == {}


def test_functions_are_short() -> None:
    over = {}
    for module, file in modules().items():
        over |= long_functions(module, file.read_text(encoding="utf-8"))
    assert over == {}


def test_a_long_function_is_found_and_its_docstring_not_counted() -> None:
    body = "    x = 1\n" * FUNCTION_LINES
    assert long_functions("m", f"def f():\n{body}") == {"m.f": FUNCTION_LINES + 1}
    docstring = '    """' + "\n" * 99 + '"""\n'
    assert long_functions("m", f"def f():\n{docstring}{body[:-10]}") == {}


def test_the_source_stays_under_its_line_budget() -> None:
    files = [file for name, file in modules().items() if name != "app"]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= SOURCE_LINES


def test_every_floor_is_in_the_contributing_guide() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [room for room in FLOORS if room.split(".")[-1] not in guide]
    assert missing == []
