"""``inpaint models``: which models there are."""

from __future__ import annotations

import click


@click.command(short_help="List the models that can be used by name.")
def models() -> None:
    """List the models that can be used by name, and whether their weights are on this machine."""
    from inpaint.weights import list_models

    entries = list_models()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        here = "here" if entry.path() else "to fetch" if entry.repo else "missing"
        click.echo(
            f"{entry.name:<{width}} {entry.size / 1e6:7.1f} MB  {entry.licence:<14} {here:<9} {entry.summary}"
        )
