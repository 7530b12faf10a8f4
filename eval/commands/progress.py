"""How far a run is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on stderr for as long as the context lasts.

    Yields:
        Call it with what is being scored, how many images are done, and of how many.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _told_in_lines()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:

        def show(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done)

        yield show


def _told_in_lines() -> Callable[[str, int, int], None]:
    """A line as something is begun, and one every few seconds."""
    told_what, told_at = "", 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told_what, told_at
        if what != told_what or time.monotonic() - told_at >= SECONDS_BETWEEN_LINES:
            click.echo(f"{what}: {done} of {total} images", err=True)
            told_what, told_at = what, time.monotonic()

    return tell
