"""``inpaint train``: learn a prior, then a generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from inpaint.cli.options import device_option


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``config``, ``out`` and ``device`` to a command."""
    command = device_option(command)
    command = click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of the run, instead of the config's: states, sample pictures and the checkpoint.",
    )(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


@click.group()
def train() -> None:
    """Train a network from a config file; the same command again resumes where it stopped."""


@train.command()
@_training_options
def mae(config: Path, out: Path | None, device: str) -> None:
    """Train a masked autoencoder, the prior."""
    from inpaint.train.mae import fit_mae

    fit_mae(config, out=out, device=device)


@train.command()
@_training_options
def acr(config: Path, out: Path | None, device: str) -> None:
    """Train adapter and generator on top of a trained prior."""
    from inpaint.train.acr import fit_acr

    fit_acr(config, out=out, device=device)
