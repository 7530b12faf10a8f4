"""``inpaint batch``: inpaint a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.cli.options import inpainting_options, output_options
from inpaint.weights.terminal import locate_in_terminal

if TYPE_CHECKING:
    from inpaint.batch import BatchReport, Job, JobResult, Problem, Repair


def _check_record(_ctx: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a record that could not be written before the hours of work it is about."""
    from inpaint.batch import RECORD_FORMATS

    if path is not None and path.suffix.lower() not in RECORD_FORMATS:
        raise click.BadParameter(
            f"got {path.name!r}, expected a name that ends in {' or '.join(RECORD_FORMATS)}"
        )
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}, make it first")
    return path


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("masks", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results."
)
@click.option("-r", "--recursive", is_flag=True, help="Subfolders too; the results keep the tree.")
@click.option(
    "--mask-suffix",
    default="",
    metavar="TEXT",
    help="What a mask's name has beyond its image's: with _mask, a_mask.png belongs to a.jpg. Then IMAGES "
    "and MASKS may be one folder.",
)
@click.option("--skip-existing", is_flag=True, help="Keep results that are there already.")
@click.option(
    "--dry-run", is_flag=True, help="Say what belongs together and where results would go; change nothing."
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    callback=_check_record,
    help="Also write what became of every image into this .csv or .json file.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Work in many processes, with Ray: 'here' on all of this machine's GPUs or cores; 'auto' on the Ray "
    "cluster this machine belongs to, or HOST:PORT, where all machines see the same files.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes of --cluster; one a GPU or core if unsaid.",
)
@inpainting_options
@output_options
@click.pass_context
def batch(
    ctx: click.Context,
    images: Path,
    masks: Path,
    output: Path,
    recursive: bool,
    mask_suffix: str,
    skip_existing: bool,
    dry_run: bool,
    record: Path | None,
    cluster: str | None,
    workers: int | None,
    model: str,
    accept_licence: bool,
    device: str,
    invert_mask: bool,
    dilate: int | None,
    strict: bool,
    quality: int | None,
    strip_metadata: bool,
) -> None:
    """Fill the holes of every image in the folder IMAGES.

    MASKS is a folder of masks with the same names (a.jpg and a.png belong together), or one mask for all.
    Failures are listed at the end; the exit code is then 1. After an interruption, the same command with
    --skip-existing resumes.
    """
    if workers is not None and cluster is None:
        raise click.UsageError("--workers belongs to --cluster: add --cluster here")
    if cluster is not None and ":" in device:
        raise click.UsageError(f"got --device {device} beside --cluster; Ray chooses the GPU: give cuda")
    from inpaint.batch import pair_files, plan_batch, run_batch, write_record

    pairs, unpaired = pair_files(
        images, masks, recursive=recursive, mask_suffix=mask_suffix, leave_out=[output]
    )
    jobs, unplanned = plan_batch(pairs, output, skip_existing=skip_existing)
    problems = [*unpaired, *unplanned]
    if dry_run:
        _tell_plan(jobs, problems)
        ctx.exit(1 if problems else 0)

    weights = locate_in_terminal(model, "inpainter", accept_licence=accept_licence)
    files: dict[str, Any] = {"invert_mask": invert_mask, "quality": quality}
    files["strip_metadata"] = strip_metadata
    build = partial(_build_fill, device=device, dilate=dilate, strict=strict)
    with _progress(len(jobs)) as show:
        if cluster is None:
            report = run_batch(jobs, build(str(weights)), on_result=show, problems=problems, **files)
        else:
            from inpaint.batch.cluster import run_on_cluster

            _build_fill(str(weights), "cpu", dilate, strict)  # tells here what is wrong with it
            report = run_on_cluster(
                jobs,
                partial(build, _as_workers_know_it(model)),
                on_result=show,
                address=cluster,
                workers=workers,
                use_gpus=device in ("auto", "cuda"),
                problems=problems,
                **files,
            )
    if record is not None:
        write_record(report, record)
    _tell(report, output)
    ctx.exit(report.exit_code)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[JobResult], None]]:
    """A bar on a terminal, which what comes out of it moves on by one result."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("inpainting", total=total)
        yield lambda result: progress.update(bar, advance=1, description=result.job.image.name)


def _as_workers_know_it(model: str) -> str:
    """A model's name, or the whole path of a checkpoint: workers may be in another folder."""
    return str(Path(model).absolute()) if Path(model).is_file() else model


def _build_fill(model: str, device: str, dilate: int | None, strict: bool) -> Repair:
    """What inpaints one image; in a batch on a cluster, made in each worker."""
    from inpaint.pipeline import InpaintPipeline

    return partial(InpaintPipeline.from_pretrained(model, device=device), dilate=dilate, strict=strict)


def _tell_plan(jobs: Sequence[Job], problems: Sequence[Problem]) -> None:
    """One line for each image: its mask and its result, or why it has none."""
    for job in jobs:
        image, mask, result = (click.format_filename(path) for path in (job.image, job.mask, job.output))
        click.echo(f"{image} + {mask} -> {result}" + (" is there already" if job.skip else ""))
    _tell_problems(problems)
    skipped = sum(job.skip for job in jobs)
    click.echo(f"would inpaint {len(jobs) - skipped}, skip {skipped}; {len(problems)} cannot be inpainted")


def _tell_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        click.echo(f"failed: {click.format_filename(problem.path)}: {problem.reason}", err=True)


def _tell(report: BatchReport, output: Path) -> None:
    """One line for each note and each image that failed on stderr, then the counts on stdout."""
    from inpaint.batch import Problem

    for result in report.results:
        for note in result.notes:
            click.echo(f"{click.format_filename(result.job.output)}: {note}", err=True)
    failed = [Problem(r.job.image, r.reason) for r in report.results if r.status == "failed"]
    failed += report.problems
    _tell_problems(failed)
    counts = [
        f"{report.count('done')} inpainted",
        f"{report.count('skipped')} skipped",
        f"{len(failed)} failed",
    ]
    if report.unfinished:
        counts.append(f"{len(report.unfinished)} unfinished (resume with --skip-existing)")
    click.echo(f"{click.format_filename(output)}: {', '.join(counts)}")
