"""``inpaint train``: train a prior or an inpainter from a config file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.cli.options import DEVICE, DIR, PATH, check_file, progress_bar

if TYPE_CHECKING:
    from inpaint.train.config import RunConfig
    from inpaint.train.distributed import Processes
    from inpaint.train.monitor import Progress

LINE_EVERY_S = 30.0  # where the output is no terminal, such as a log file
PROBLEMS_SHOWN = 5


class _TrainCommand(click.Command):
    """``train CONFIG``, beside which ``train average`` is a command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] == "average":
            return average.make_context(f"{info_name} average", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Checkpoint to write.")
def average(checkpoints: tuple[Path, ...], output: Path) -> None:
    """Average the weights of CHECKPOINTS that were trained from the same network.

    The mean of a run with a discriminator and one without is often better than either.
    """
    from inpaint.checkpoint import average_checkpoints

    check_file(output)
    average_checkpoints(checkpoints, output)
    click.echo(f"mean of {len(checkpoints)}: {click.format_filename(output)}")


def _print_keys(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from inpaint.train.config import config_reference

        click.echo(config_reference(), nl=False)
        context.exit()


@click.command(
    cls=_TrainCommand,
    short_help="Train a prior or an inpainter from a config file.",
    epilog="To average the weights of several checkpoints: inpaint train average --help",
)
@click.argument("config", type=PATH)
@click.option("--out", type=DIR, help="Folder of the run, instead of the config's.")
@click.option(
    "--images", type=click.IntRange(1), metavar="N",
    help="Length of the run and its schedule, instead of the config's; the same again to resume.",
)  # fmt: skip
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), metavar="M",
    help="Time budget: steps are timed first, and length and schedule of the run set to fit.",
)  # fmt: skip
@click.option("--device", type=DEVICE, help="Where to compute, instead of the config's choice.")
@click.option("--dry-run", is_flag=True, help="Try one step on random images and print what a run needs.")
@click.option(
    "--keys", is_flag=True, is_eager=True, expose_value=False, callback=_print_keys,
    help="Print every config key with its type, default and meaning as Markdown, and stop.",
)  # fmt: skip
def train(
    config: Path, out: Path | None, images: int | None, minutes: float | None, device: Any, dry_run: bool
) -> None:
    """Train a prior (kind = "mae" or "fcmae") or an inpainter (kind = "acr") from a TOML file.

    The same command again resumes where the run stopped.

    On several GPUs: accelerate launch -m inpaint train CONFIG
    """
    if images is not None and minutes is not None:
        raise click.UsageError(f"got --images {images} and --minutes {minutes:g}, expected one of them")
    from inpaint.device import choose_device
    from inpaint.train.config import read_config
    from inpaint.train.distributed import join_processes
    from inpaint.train.optimise import choose_precision
    from inpaint.train.trial import fit_to_time, with_length

    run = read_config(config)
    run = replace(run, out=out or run.out, device=str(choose_device(device or run.device)))
    if images not in (None, run.images):
        run = with_length(run, images)
    processes = join_processes(run.device, run.threads)
    chosen, reason = choose_precision(run.precision, processes)
    if run.precision == "auto" and processes.is_main:
        click.echo(f"precision {chosen}: {reason}", err=True)
    run = replace(run, precision=chosen)
    if minutes is not None:
        run = fit_to_time(run, minutes, processes)
        if processes.is_main:
            click.echo(f"{minutes:g} minutes: {run.images:,} images", err=True)
    if dry_run:
        _dry_run(run, processes)
        return
    from inpaint.train.fit import fit
    from inpaint.train.monitor import Stopped
    from inpaint.train.state import list_states

    if processes.is_main and (states := list_states(run.out)):
        click.echo(f"resumes from {states[-1].name} in {click.format_filename(run.out)}", err=True)
    try:
        with _shown_progress(run.name, run.images, processes.is_main) as show:
            checkpoint = fit(run, on_progress=show)
    except Stopped as stopped:
        if processes.is_main:
            click.echo(str(stopped), err=True)
        raise SystemExit(stopped.exit_code) from None
    if processes.is_main:
        click.echo(f"trained: {click.format_filename(checkpoint)}")


def _dry_run(run: RunConfig, processes: Processes) -> None:
    """Try a run out and print what it needs."""
    from inpaint.data.batches import Batches
    from inpaint.device import GIB
    from inpaint.train.state import list_states
    from inpaint.train.trial import trial_step

    found = trial_step(run, processes)
    problems: list[str] = []
    photos = len(Batches(run, processes.device, problems.append, processes.rows(run.batch_size)))
    states = list_states(run.out)
    values = "  ".join(f"{name} {value:.4g}" for name, value in found.values.items())
    memory = f"{found.peak_bytes / GIB:.2f} GiB" if found.peak_bytes else "unknown"
    for line in (
        f"networks  {found.parameters:,} parameters, {found.trained:,} trained",
        f"photos    {photos:,} of {run.size} pixels; problems: {len(problems)}",
        *(f"          {problem}" for problem in problems[:PROBLEMS_SHOWN]),
        f"run       {run.images:,} images, {-(-run.images // run.batch_size):,} steps of {run.batch_size}, "
        f"{run.images / photos:.1f} epochs",
        f"one step  {found.images} images, {found.seconds:.1f} s on {run.device}, {run.precision}: {values}",
        f"memory    {memory} at the peak of that step",
        f"out       {run.out}: " + (f"resumes from {states[-1].name}" if states else "a new run"),
    ):
        click.echo(line)
    processes.leave()


@contextmanager
def _shown_progress(name: str, images: int, is_main: bool) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal, and a line now and then elsewhere."""
    if is_main and sys.stderr.isatty():
        with progress_bar(images, name) as show:
            yield lambda progress: show(_describe(name, progress), progress.images_seen)
        return
    last = -LINE_EVERY_S

    def print_line(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S or progress.images_seen >= progress.images:
            last = time.monotonic()
            click.echo(f"{progress.images_seen:>9} of {progress.images}  {_describe('', progress)}", err=True)

    yield print_line


def _describe(name: str, progress: Progress) -> str:
    seconds = (progress.images - progress.images_seen) / max(progress.images_per_second, 1e-9)
    left = timedelta(seconds=round(seconds))
    values = "  ".join(f"{what} {value:.4g}" for what, value in progress.values.items())
    problems = f"  {progress.problems} in problems.jsonl" * (progress.problems > 0)
    return f"{name}  {progress.images_per_second:.1f} images/s  {left} left  {values}{problems}".strip()
