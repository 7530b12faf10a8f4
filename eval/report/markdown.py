"""A report as Markdown, to print or to paste."""

from __future__ import annotations

from collections.abc import Iterable

from eval.report.beside import comparison_sections
from eval.report.comparison import Comparison
from eval.report.sections import Section, details_of, sections_of
from eval.report.tables import Cell, Table
from eval.results import Report


def to_markdown(report: Report) -> str:
    """The whole report: scores with intervals, baselines, bins, what is unmeasured, and how to repeat it."""
    return sections_to_markdown(sections_of(report))


def comparison_to_markdown(comparison: Comparison) -> str:
    """Our rows beside the printed ones, what compares and what does not, and our report below."""
    return sections_to_markdown([*comparison_sections(comparison), *details_of(comparison.main)])


def sections_to_markdown(sections: Iterable[Section]) -> str:
    """Sections one after the other, ending in a newline."""
    parts = []
    for section in sections:
        title = f"### {escaped(section.title)}" if section.title else ""
        table = table_to_markdown(section.table) if section.table else ""
        entries = "\n".join(f"- {_entry(word, text)}" for word, text in section.entries)
        parts += [part for part in (title, _prose(section.text), table, entries) if part]
    return "\n\n".join(parts) + "\n"


def table_to_markdown(table: Table) -> str:
    """A table; where a line has intervals, they stand in a line of their own under it."""
    lines = [_line(table.headings), "|---" + "|--:" * (len(table.headings) - 1) + "|"]
    for line in table.lines:
        name = f"{escaped(line.name)} ({line.kind})" if line.kind else escaped(line.name)
        lines.append(_line([name, *map(_cell, line.cells)]))
        if any(cell.interval for cell in line.cells):
            lines.append(_line(["95 %", *(cell.interval for cell in line.cells)]))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text on one line that means nothing to Markdown: names come from folders, and may hold anything."""
    return "".join(f"\\{sign}" if sign in "\\`*<|" else sign for sign in " ".join(text.split()))


def _entry(word: str, text: str) -> str:
    return f"{escaped(word)}: {_prose(text)}" if word else _prose(text)


def _prose(text: str) -> str:
    """A sentence on one line: it may quote commands, but not bring HTML."""
    return " ".join(text.split()).replace("<", "\\<")


def _cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.best else cell.text


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
