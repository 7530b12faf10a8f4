"""``python -m eval roadmap`` from its face, and the page of the documentation that quotes it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from eval.__main__ import main
from inpaint.backbones.roadmap import STEPS

DOCS = Path(__file__).parents[2] / "docs"


def roadmap(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["roadmap", *map(str, arguments)])


def test_the_documentation_shows_what_the_command_prints_and_draws(tmp_path: Path) -> None:
    result = roadmap("--chart", tmp_path / "road.svg")
    assert result.exit_code == 0, result.output
    page = (DOCS / "ROADMAP.md").read_text(encoding="utf-8")
    assert page.endswith(result.stdout), "run the command at the top of docs/ROADMAP.md and paste its table"
    assert (DOCS / "roadmap.svg").read_text(encoding="utf-8") == (tmp_path / "road.svg").read_text(
        encoding="utf-8"
    ), "run the command at the top of docs/ROADMAP.md"


def test_the_table_holds_every_step_of_both_roads() -> None:
    lines = roadmap().stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 * (2 + len(STEPS)) and {line.count("|") for line in table} == {9}
    assert "| more width | `width=96` | 33.76 | 5.268 | 5.27 | +0.0 % | 80.50 | +2.22 |" in lines
    assert "| kernel 9 (tried) | `kernel=9` | 84.33 | 14.950 | 14.95 | +0.0 % | 82.27 | -0.03 |" in lines
    assert any(line.startswith("- LayerNorm: table 10 prints 4.46") for line in lines)


def test_a_chart_of_another_kind_costs_one_line(tmp_path: Path) -> None:
    result = roadmap("--chart", tmp_path / "road.png")
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "expected a name ending in .svg" in result.stderr and not list(tmp_path.iterdir())
