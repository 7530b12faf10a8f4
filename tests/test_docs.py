"""What the pages tell people to type exists and parses: commands, options, Python names, targets, files."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import inpaint
from inpaint.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "checkpoints/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)
PROGRAMS = {"inpaint": "inpaint.cli", "eval": "eval.__main__"}
COMMAND = re.compile(r"(?:python -m |[\w-]+ launch .*-m |torchrun .*-m )?(inpaint|eval) (.*)")


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def typed_lines() -> list[str]:
    """The lines of all blocks that are not of another language, without comments and variables."""
    texts = [
        text for page in PAGES for language, text in blocks(page) if language in ("", "sh", "bash", "shell")
    ]
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    commands = [part.split(" #")[0].strip() for line in lines for part in line.split("&&")]
    return sorted({re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*", "", command) for command in commands})


LINES = typed_lines()
INLINE = sorted(
    {
        found
        for page in PAGES
        for found in re.findall(r"`((?:inpaint|python -m eval) [^`\n]+)`", (ROOT / page).read_text("utf-8"))
    }
)


def find_command(text: str) -> tuple[click.Command, list[str]] | None:
    """The command that a line calls, and the words after its name."""
    match = COMMAND.fullmatch(text)
    if match is None or "…" in text:
        return None
    command: click.Command = import_module(PROGRAMS[match[1]]).main
    arguments = shlex.split(match[2])
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(click.Context(command), arguments[0])
        assert found is not None, f"{text}: there is no command {arguments[0]}"
        command, arguments = found, arguments[1:]
    return command, arguments


@pytest.mark.parametrize("line", [line for line in LINES if COMMAND.fullmatch(line)])
def test_commands_parse(line: str) -> None:
    found = find_command(line)
    assert found is not None
    command, arguments = found
    try:
        command.make_context("command", arguments)  # parses everything, runs nothing
    except click.exceptions.Exit as stop:  # --help
        assert stop.exit_code == 0
    for word in shlex.split(line):
        if word.startswith(("configs/", "examples/")):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("text", INLINE)
def test_commands_in_sentences_exist_with_their_options(text: str) -> None:
    found = find_command(text)
    if found is None:
        return
    command, arguments = found
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for word in arguments:
        if word.startswith("-") and not isinstance(command, click.Group):
            assert word.split("=")[0] in known | {"--help"}, text


# The pages on other methods also have commands of theirs.
@pytest.mark.parametrize(
    "line", [line for line in LINES if re.match(r"python (-m|benchmarks/|tests/)", line)]
)
def test_scripts_exist_with_their_options(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "-m":
        assert words[1] in ("eval", "inpaint", "pytest", "build", "pip", "venv"), line
    else:
        source = (ROOT / words[0]).read_text(encoding="utf-8")
        assert all(f'"{word}' in source for word in words if word.startswith("--")), line


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert line.split()[1] in targets


def test_extras_exist() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in PAGES:
        for names in re.findall(
            r"pip install [^\s`]*\[([\w,]+)\]", (ROOT / page).read_text(encoding="utf-8")
        ):
            for extra in names.split(","):
                assert re.search(rf"^{extra} = \[", pyproject, flags=re.MULTILINE), f"{page}: {extra}"


def test_every_extra_is_in_the_table() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = pyproject.split("[project.optional-dependencies]")[1].split("\n[")[0]
    table = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [
        name for name in re.findall(r"^(\w+) = \[", section, re.MULTILINE) if f"| `{name}` |" not in table
    ]
    assert missing == []


def test_python_uses_public_names_only() -> None:
    sources = [text for page in PAGES for language, text in blocks(page) if language == "python"]
    assert sources
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module == "inpaint":
                assert {alias.name for alias in node.names} <= set(inpaint.__all__)
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("inpaint."):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), source


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"({path.name}" not in index]
    assert [name for name in missing if name != "README.md"] == []


def test_the_readme_shows_and_gets_out_of_the_way() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    head = lines[:30]
    assert any(line.startswith("make demo") for line in head)
    assert any("import InpaintPipeline" in line for line in lines)
    assert any(line.startswith("inpaint run") for line in head)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README's commands are about: a photo, a mask, and folders of them."""
    monkeypatch.chdir(tmp_path)
    photo, mask = Image.open(ROOT / "examples/photo.jpg"), Image.open(ROOT / "examples/mask.png")
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for folder, name in (("photos", "a"), ("photos", "b"), (".", "photo")):
        photo.resize((96, 64)).save(tmp_path / folder / f"{name}.jpg")
    for folder, name in (("masks", "a"), ("masks", "b"), (".", "mask"), (".", "watermark")):
        mask.resize((96, 64), Image.Resampling.NEAREST).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/API.md"])
def test_the_python_code_runs(page: str, desk: Path) -> None:
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), {})


RUN = [
    line
    for line in LINES
    if re.match(r"inpaint (run photo|batch photos/|models$|backbones list$|masks )", line)
]


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN)
def test_what_costs_little_is_run(line: str, desk: Path) -> None:
    if re.search(r"--(cluster|watch|model) (?!lama-small|acr-small)|mine\.safetensors|--shapes", line):
        pytest.skip("needs Ray, somebody who stops it, weights or shapes that are not here")
    words = re.sub(r"--count \d+", "--count 3", line.removeprefix("inpaint "))
    if "--check" in words:  # of the set that the line before made
        made = words.replace("--check", "--kind thick --count 3")
        assert CliRunner().invoke(main, shlex.split(made)).exit_code == 0
    result = CliRunner().invoke(main, shlex.split(words))
    assert result.exit_code == 0, result.output
