"""``inpaint train``: learn a prior, then a generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from inpaint.cli.options import DEVICE

if TYPE_CHECKING:
    from inpaint.train.config import RunConfig
    from inpaint.train.monitor import Progress

Config = TypeVar("Config", bound="RunConfig")
# Seconds between lines where the output is no terminal, such as a log file.
LINE_EVERY_S = 30.0
PROBLEMS_SHOWN = 5


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``config`` and the options that :func:`_train` takes to a command."""
    command = click.option(
        "--dry-run",
        is_flag=True,
        help="Read the config, open the data, build the networks, try a step on a few invented pictures, "
        "tell what the run needs, and stop. Nothing is trained.",
    )(command)
    command = click.option(
        "--device", type=DEVICE, metavar="DEVICE", help="Where to compute, instead of the config's."
    )(command)
    command = click.option(
        "--minutes",
        type=click.FloatRange(0, min_open=True),
        metavar="M",
        help="Let the run fit into this time: its pace is measured first, length and schedule follow. The "
        "same command resumes it, with the length it was given then.",
    )(command)
    command = click.option(
        "--images",
        type=click.IntRange(1),
        metavar="N",
        help="Images to see in the whole run, instead of the config's. The cosine of the learning rate ends "
        "there; give the same number again to resume.",
    )(command)
    command = click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder for states, sample pictures and the checkpoint, instead of the config's.",
    )(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


@click.group(short_help="Train a prior (mae, fcmae), then a generator (acr).")
def train() -> None:
    """Train a network from a config file; the same command again resumes where it stopped.

    On several GPUs: accelerate launch -m inpaint train mae CONFIG
    """


@train.command()
@_training_options
def mae(config: Path, **options: Any) -> None:
    """Train a masked autoencoder, the prior."""
    from inpaint.train.config import MaeRunConfig, read_config

    run = read_config(config, MaeRunConfig)
    from inpaint.train.mae import fit_mae, mae_step, start_mae

    _train(run, fit_mae, start_mae, mae_step, **options)


@train.command()
@_training_options
def fcmae(config: Path, **options: Any) -> None:
    """Train a fully convolutional masked autoencoder, a prior of ConvNeXt V2 blocks."""
    from inpaint.train.config import FcmaeRunConfig, read_config

    run = read_config(config, FcmaeRunConfig)
    from inpaint.train.fcmae import fcmae_step, fit_fcmae, start_fcmae

    _train(run, fit_fcmae, start_fcmae, fcmae_step, **options)


@train.command()
@_training_options
def acr(config: Path, **options: Any) -> None:
    """Train adapter and generator on top of a trained prior."""
    from inpaint.train.config import AcrRunConfig, read_config

    run = read_config(config, AcrRunConfig)
    from inpaint.train.acr import acr_step, fit_acr, start_acr

    _train(run, fit_acr, start_acr, acr_step, **options)


@train.command()
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Checkpoint to write.")
def average(checkpoints: tuple[Path, ...], output: Path) -> None:
    """Average the weights of CHECKPOINTS that went on from the same network.

    The mean of a run with a discriminator and one without is often better than either.
    """
    from inpaint.train.average import average_checkpoints

    average_checkpoints(checkpoints, output)
    click.echo(f"mean of {len(checkpoints)}: {click.format_filename(output)}")


def _train(
    run: RunConfig,
    fit: Callable[..., Path],
    start: Callable[..., Any],
    step: Callable[..., Any],
    *,
    images: int | None,
    minutes: float | None,
    out: Path | None,
    device: str | None,
    dry_run: bool,
) -> None:
    """Do what a command's options say with its run."""
    if images is not None and minutes is not None:
        raise click.UsageError(f"got --images {images} and --minutes {minutes:g}, expected one of them")
    run = _override(run, images, out, device)
    if minutes is not None:
        run = _fit_to_time(run, minutes, start, step)
    if dry_run:
        _rehearse(run, start, step)
    else:
        _fit(fit, run)


def _fit_to_time(run: Config, minutes: float, start: Callable[..., Any], step: Callable[..., Any]) -> Config:
    """Measure the run's pace, and tell the length that follows."""
    from inpaint.train.distributed import join_processes
    from inpaint.train.time_budget import fit_to_time

    processes = join_processes(run.device, run.threads)
    run = fit_to_time(run, minutes, start, step, processes)
    if processes.is_main:
        click.echo(f"{minutes:g} minutes: {run.images:,} images", err=True)
    return run


def _fit(fit: Callable[..., Path], run: RunConfig) -> None:
    """Run a training loop to its end, showing how far it is."""
    from inpaint.train.distributed import launched_place
    from inpaint.train.monitor import Stopped

    place, _ = launched_place()
    try:
        with _shown_progress(run) as show:
            checkpoint = fit(run, on_progress=show)
    except Stopped as stopped:
        if place == 0:
            click.echo(str(stopped), err=True)
        raise SystemExit(stopped.exit_code) from None
    if place == 0:
        click.echo(f"trained: {click.format_filename(checkpoint)}")


def _rehearse(run: RunConfig, start: Callable[..., Any], step: Callable[..., Any]) -> None:
    """Try a run out and tell what it needs."""
    from inpaint.data.batches import Batches
    from inpaint.device import GIB
    from inpaint.train.distributed import join_processes
    from inpaint.train.dry_run import dry_run
    from inpaint.train.state import list_states

    processes = join_processes(run.device, run.threads)
    found = dry_run(run, start, step, processes)
    problems: list[str] = []
    photos = len(Batches(run, processes.device, problems.append, processes.rows(run.batch_size)))
    states = list_states(run.out)
    values = "  ".join(f"{name} {value:.4g}" for name, value in found.values.items())
    for line in (
        f"networks  {found.parameters:,} parameters, {found.trained:,} trained",
        f"photos    {photos:,} of {run.size} pixels; problems: {len(problems)}",
        *(f"          {problem}" for problem in problems[:PROBLEMS_SHOWN]),
        f"run       {run.images:,} images, {-(-run.images // run.batch_size):,} steps of {run.batch_size}, "
        f"{run.images / photos:.1f} epochs",
        f"one step  with 2 images in {found.seconds:.1f} s on {run.device}: {values}",
        f"memory    about {found.bytes / GIB:.2f} GiB for each of {processes.count} processes: "
        f"{found.fixed_bytes / GIB:.2f} for networks and optimizers, "
        f"{found.bytes_per_image / GIB:.3f} for each of {found.images_at_once} images at once",
        f"out       {run.out}: " + (f"goes on from {states[-1].name}" if states else "a new run"),
    ):
        click.echo(line)
    processes.leave()


def _override(run: Config, images: int | None, out: Path | None, device: str | None) -> Config:
    """The run with what the command line changes, on a device that is here."""
    from inpaint.device import choose_device
    from inpaint.train.config import change_config

    chosen = choose_device(device or run.device)
    return change_config(run, images=images or run.images, out=out or run.out, device=str(chosen))


@contextmanager
def _shown_progress(run: RunConfig) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, a line now and then elsewhere; nothing but for the main process."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from inpaint.train.distributed import launched_place

    console = Console(stderr=True)
    place, _ = launched_place()
    if place > 0 or not console.is_terminal:
        yield _line_teller()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(run.name, total=run.images, visible=False)
        yield lambda progress: bars.update(
            bar, visible=True, completed=progress.images_seen, description=_say(run.name, progress)
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
    left = timedelta(seconds=round(progress.seconds_left))
    values = "  ".join(f"{what} {value:.4g}" for what, value in progress.values.items())
    return f"{name}  {progress.images_per_second:.1f} images/s  {left} left  {values}".strip()
