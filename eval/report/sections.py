"""A report as a document: sections of words and tables, which every form of it shares."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.measures.statistics import BETTER, INTERVAL, NOISE, WORSE, Difference, against_baselines
from eval.report.tables import Table, bins_table, known_change_table, score_lines, scores_table, value_cell
from eval.results import Report, to_plain

KNOWN_CHANGE_NOTE = (
    "What each method changed where the image was known. The scores do not see it: a prediction is "
    "composited, so that outside the hole it is the original."
)


@dataclass(frozen=True)
class Section:
    """A part of a report; what is empty is not printed.

    ``entries`` are of a list, as (word in front, text); the word may be empty. A warning is to be read before
    any number is trusted.
    """

    title: str
    table: Table | None = None
    text: str = ""
    entries: tuple[tuple[str, str], ...] = ()
    is_warning: bool = False


@dataclass(frozen=True)
class Document:
    """What a command found, for every form: title and sections for Markdown and the page, numbers for others.

    The page shows the images of ``report`` and its details; without one there is neither page nor CSV.
    """

    title: str
    sections: Sequence[Section]
    plain: Mapping[str, Any]  # for JSON
    lines: Sequence[Mapping[str, Any]] = ()  # for CSV
    report: Report | None = None


def report_document(report: Report) -> Document:
    """The whole report: scores with intervals, baselines, bins, what is unmeasured, and how to repeat it."""
    sections = [Section("Scores", table=scores_table(report)), *warnings_of(report), *against_of(report)]
    title = f"Scores by the {report.protocol} protocol"
    return Document(title, sections, to_plain(report), score_lines(report), report)


def warnings_of(report: Report) -> list[Section]:
    """What a reader must know before trusting a number."""
    entries = tuple(("", warning) for warning in report.warnings)
    return [Section("Warnings", entries=entries, is_warning=True)] if entries else []


def against_of(report: Report) -> list[Section]:
    """Each method that is no baseline against the best baseline of each measure."""
    sections = []
    for name, differences in against_baselines(report).items():
        entries = []
        for found in differences:
            cell = value_cell(found.value, found.column, signed=True)
            text = " ".join(filter(None, (cell.text, cell.interval, f"({found.other})")))
            entries.append((found.column.title, text))
        if text := in_words(differences):
            title = f"{name} against the best baseline of each measure"
            sections.append(Section(title, text=f"{text[0].upper()}{text[1:]}.", entries=tuple(entries)))
    return sections


def in_words(differences: Sequence[Difference], verdicts: Iterable[str] = (BETTER, WORSE, NOISE)) -> str:
    """In which measures the verdict is which: ``better in SSIM; within sampling error in PSNR, sqd``."""
    parts = []
    for verdict in verdicts:
        if titles := [found.column.title for found in differences if found.verdict == verdict]:
            parts.append(f"{verdict} in {', '.join(titles)}")
    return "; ".join(parts)


def details_of(report: Report | None) -> list[Section]:
    """What stands behind the scores: what is unmeasured, bins, changes outside the hole, how to repeat it."""
    sections = []
    if report is None:
        return sections
    if report.unmeasured:
        sections.append(Section("Not measured", entries=tuple(report.unmeasured.items())))
    if bins := bins_table(report):
        sections.append(Section("By hole ratio", table=bins))
    if known_change := known_change_table(report):
        sections.append(Section("Outside the hole", text=KNOWN_CHANGE_NOTE, table=known_change))
    facts = {
        "Protocol": f"{report.protocol}, {report.size}, N = {report.n}, mean hole ratio "
        f"{100 * report.hole_ratio:.1f} %",
        "Definitions": report.definition,
        "Intervals": f"{INTERVAL}; differences are paired by image",
        "Hash of the images": report.images_hash,
        "Hash of the masks": report.masks_hash,
        **report.notes,
    }
    entries = tuple((title, text) for title, text in facts.items() if text)
    return [*sections, Section("What was measured", entries=entries)]


def to_markdown(document: Document) -> str:
    """A document as Markdown, ending in a newline."""
    sections = [*document.sections, *details_of(document.report)]
    return f"# {document.title}\n\n{sections_to_markdown(sections)}"


def sections_to_markdown(sections: Iterable[Section]) -> str:
    """Sections one after the other, ending in a newline."""
    parts = []
    for section in sections:
        title = f"### {escaped(section.title)}" if section.title else ""
        table = table_to_markdown(section.table) if section.table else ""
        entries = [f"{escaped(word)}: " * bool(word) + _prose(text) for word, text in section.entries]
        items = "\n".join(f"- {entry}" for entry in entries)
        parts += [part for part in (title, _prose(section.text), table, items) if part]
    return "\n\n".join(parts) + "\n"


def table_to_markdown(table: Table) -> str:
    """A table; where a line has intervals, they stand in a line of their own under it."""
    lines = [_line(table.headings), "|---" + "|--:" * (len(table.headings) - 1) + "|"]
    for line in table.lines:
        name = f"{escaped(line.name)} ({line.kind})" if line.kind else escaped(line.name)
        lines.append(_line([name, *(f"**{cell.text}**" if cell.best else cell.text for cell in line.cells)]))
        if any(cell.interval for cell in line.cells):
            lines.append(_line(["95 %", *(cell.interval for cell in line.cells)]))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text on one line that means nothing to Markdown: names come from folders, and may hold anything."""
    return "".join(f"\\{sign}" if sign in "\\`*<|" else sign for sign in " ".join(text.split()))


def _prose(text: str) -> str:
    """A sentence on one line: it may quote commands, but not bring HTML."""
    return " ".join(text.split()).replace("<", "\\<")


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
