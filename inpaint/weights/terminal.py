"""Fetching weights in front of a person: the licence, a progress bar, and lines on stderr."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inpaint.errors import WeightsError
from inpaint.weights.catalogue import Kind, find_model
from inpaint.weights.store import fetch, find_model_file, locate

if TYPE_CHECKING:
    from rich.progress import TaskID


def locate_in_terminal(name_or_path: str | Path, *kinds: Kind, accept_licence: bool = False) -> Path:
    """:func:`inpaint.weights.locate` by way of :func:`fetch_in_terminal`."""
    return locate(name_or_path, partial(fetch_in_terminal, kinds=kinds, accept_licence=accept_licence))


def fetch_in_terminal(name: str, *, kinds: tuple[Kind, ...] = (), accept_licence: bool = False) -> Path:
    """:func:`inpaint.weights.fetch` of a model of one of ``kinds``; asks about the licence, shows progress.

    Without a terminal nobody can be asked, so that only ``accept_licence`` permits the download.
    """
    entry = find_model(name)
    if kinds and entry.kind not in kinds:
        raise WeightsError(f"{name} is a {entry.kind}, expected a model of kind {' or '.join(kinds)}")
    here = find_model_file(entry) is not None
    if entry.non_commercial and not (accept_licence or here) and sys.stdin.isatty():
        told = f"{name} is published under {entry.licence}: for non-commercial use only"
        click.echo(f"{told} (https://creativecommons.org/licenses/by-nc/4.0/).", err=True)
        accept_licence = click.confirm("Accept this licence and download?", err=True)
    if here:
        return fetch(entry)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    name_column = TextColumn("{task.description}", markup=False)
    columns = name_column, BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def show(file: str, done: int, total: int) -> None:
            if file not in bars:
                bars[file] = progress.add_task(file)
            progress.update(bars[file], completed=done, total=total or None)

        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        return fetch(entry, accept_licence=accept_licence, progress=show, say=say)
