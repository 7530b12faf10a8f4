"""``inpaint batch``: repair a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inpaint.cli.options import repair_options

if TYPE_CHECKING:
    from inpaint.batch import BatchReport


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("masks", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results."
)
@click.option("--skip-existing", is_flag=True, help="Keep results that are there already.")
@repair_options
@click.pass_context
def batch(
    ctx: click.Context,
    images: Path,
    masks: Path,
    output: Path,
    skip_existing: bool,
    model: str,
    device: str,
    invert_mask: bool,
    dilate: int,
) -> None:
    """Fill the holes of every picture in the folder IMAGES.

    MASKS is a folder of masks with the same names (a.jpg and a.png belong together), or one mask for all.
    A picture that cannot be repaired costs one line at the end, and exit code 1.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from inpaint.batch import pair_files, plan_batch, run_batch
    from inpaint.pipeline import InpaintPipeline

    pairs, unpaired = pair_files(images, masks)
    jobs, unplanned = plan_batch(pairs, output, skip_existing=skip_existing)
    pipeline = InpaintPipeline.from_pretrained(model, device=device)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("repairing", total=len(jobs))
        report = run_batch(
            jobs,
            lambda image, mask: pipeline(image, mask, dilate=dilate),
            on_result=lambda result: progress.update(bar, advance=1, description=result.job.image.name),
            problems=[*unpaired, *unplanned],
            invert_mask=invert_mask,
        )
    _tell(report, output)
    ctx.exit(report.exit_code)


def _tell(report: BatchReport, output: Path) -> None:
    """One line for each picture that failed on stderr, then the counts on stdout."""
    failed = [(result.job.image, result.reason) for result in report.results if result.status == "failed"]
    for path, reason in [*failed, *((problem.path, problem.reason) for problem in report.problems)]:
        click.echo(f"failed: {click.format_filename(path)}: {reason}", err=True)
    counts = [
        f"{report.count('done')} repaired",
        f"{report.count('skipped')} skipped",
        f"{len(failed) + len(report.problems)} failed",
    ]
    if report.unfinished:
        counts.append(f"{len(report.unfinished)} unfinished (go on with --skip-existing)")
    click.echo(f"{click.format_filename(output)}: {', '.join(counts)}")
