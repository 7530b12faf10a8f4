"""What the README tells people to type exists: commands, options, Python names, make targets, files."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

import inpaint

ROOT = Path(__file__).resolve().parents[1]
METHODS = sorted(f"docs/methods/{path.name}" for path in (ROOT / "docs" / "methods").glob("*.md"))
DOCUMENTS = [
    "README.md",
    "examples/README.md",
    "docs/EVALUATION.md",
    "docs/RECOGNITION.md",
    "docs/ROADMAP.md",
    "docs/CONVNEXT.md",
    *METHODS,
    "docs/WEB.md",
    "docs/BACKBONES.md",
]


def blocks(document: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def lines_with(*starts: str) -> list[str]:
    """Lines of the documents' blocks that begin with one of the words, comments cut off."""
    lines = [line for name in DOCUMENTS for _, text in blocks(name) for line in text.splitlines()]
    commands = [part.split("#")[0].strip() for line in lines for part in line.split("&&")]
    return [line for line in commands if line.startswith(starts)]


@pytest.mark.parametrize("line", lines_with("inpaint ", "python -m eval "))
def test_commands_and_their_options_exist(line: str) -> None:
    program, words = line.removeprefix("python -m ").split(" ", 1)
    arguments = shlex.split(words)
    command: click.Command = import_module({"inpaint": "inpaint.cli", "eval": "eval.__main__"}[program]).main
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None, line
        command = found
    command.make_context(program, arguments)  # parses everything, runs nothing


@pytest.mark.parametrize("line", lines_with("make "))
def test_make_targets_exist(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", lines_with("pip install"))
def test_extras_exist(line: str) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\w+", " ".join(re.findall(r"\[([\w,]+)\]", line))):
        assert re.search(rf"^{extra} = \[", pyproject, flags=re.MULTILINE), line


def test_python_uses_public_names_only() -> None:
    sources = [text for name in DOCUMENTS for language, text in blocks(name) if language == "python"]
    assert sources
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module == "inpaint":
                assert {alias.name for alias in node.names} <= set(inpaint.__all__)


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_pictures_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


@pytest.mark.parametrize("line", lines_with("inpaint train", "inpaint run examples"))
def test_files_that_are_named_exist(line: str) -> None:
    for word in shlex.split(line):
        if word.startswith(("configs/", "examples/")):
            assert (ROOT / word).is_file(), word


def test_something_can_be_run_by_line_25() -> None:
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25]
    assert any(line.startswith("make demo") for line in head)
    assert any("import InpaintPipeline" in line for line in head)
    assert any(line.startswith("inpaint run") for line in head)
