"""``inpaint train``: learn a prior, then a generator."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from inpaint.cli.options import DEVICES

if TYPE_CHECKING:
    from inpaint.train.config import RunConfig
    from inpaint.train.watch import Progress

Config = TypeVar("Config", bound="RunConfig")
# Seconds between lines where the output is no terminal, such as a log file.
LINE_EVERY_S = 30.0


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``config``, ``out`` and ``device`` to a command."""
    command = click.option(
        "--device", type=click.Choice(DEVICES), help="Where to compute, instead of the config's."
    )(command)
    command = click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder for states, sample pictures and the checkpoint, instead of the config's.",
    )(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


@click.group(short_help="Train a prior (mae), then a generator (acr).")
def train() -> None:
    """Train a network from a config file; the same command again resumes where it stopped."""


@train.command()
@_training_options
def mae(config: Path, out: Path | None, device: str | None) -> None:
    """Train a masked autoencoder, the prior."""
    from inpaint.train.config import MaeRunConfig, read_config

    run = _override(read_config(config, MaeRunConfig), out, device)
    from inpaint.train.mae import fit_mae

    _fit(fit_mae, run)


@train.command()
@_training_options
def acr(config: Path, out: Path | None, device: str | None) -> None:
    """Train adapter and generator on top of a trained prior."""
    from inpaint.train.config import AcrRunConfig, read_config

    run = _override(read_config(config, AcrRunConfig), out, device)
    from inpaint.train.acr import fit_acr

    _fit(fit_acr, run)


def _fit(fit: Callable[..., Path], run: RunConfig) -> None:
    """Run a training loop to its end, showing how far it is."""
    with _shown_progress(run) as show:
        checkpoint = fit(run, on_progress=show)
    click.echo(f"trained: {click.format_filename(checkpoint)}")


def _override(run: Config, out: Path | None, device: str | None) -> Config:
    """The run with what the command line changes, on a device that is here."""
    from inpaint.device import choose_device

    chosen = choose_device(device or run.device)
    return dataclasses.replace(run, out=out or run.out, device=str(chosen))


@contextmanager
def _shown_progress(run: RunConfig) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_teller()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        bar = bars.add_task(run.name, total=run.images)
        yield lambda progress: bars.update(
            bar, completed=progress.images_seen, description=_say(run.name, progress)
        )


def _line_teller() -> Callable[[Progress], None]:
    """A function that tells progress in a line, unless it did so only just now."""
    last = -LINE_EVERY_S

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S or progress.images_seen >= progress.images:
            last = time.monotonic()
            click.echo(f"{progress.images_seen:>9} of {progress.images}  {_say('', progress)}", err=True)

    return tell


def _say(name: str, progress: Progress) -> str:
    values = "  ".join(f"{what} {value:.4g}" for what, value in progress.values.items())
    return f"{name}  {progress.images_per_second:.1f} images/s  {values}".strip()
