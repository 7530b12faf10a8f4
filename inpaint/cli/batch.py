"""``inpaint batch``: inpaint a folder of images."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inpaint.cli.options import inpainting_options, output_options
from inpaint.weights.terminal import locate_in_terminal

if TYPE_CHECKING:
    from inpaint.batch import BatchReport, FileOptions, Inpaint, Job, JobResult, Problem

_GPU_BATCH = 8  # images that share passes on a GPU
_WATCH_S = 2.0  # a file that did not change for so long is whole


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
@click.option("-r", "--recursive", is_flag=True, help="Search subfolders too; the results keep the tree.")
@click.option(
    "--mask-suffix",
    default="",
    metavar="TEXT",
    help="What a mask's name has beyond its image's: with _mask, a_mask.png belongs to a.jpg. Then IMAGES "
    "and MASKS may be one folder.",
)
@click.option("--fit-mask", is_flag=True, help="Scale a mask to images of another size.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Inpaint every image. Without it, results that are there and not older than their image and mask "
    "are kept: the same command resumes an interrupted batch.",
)
@click.option("--skip-existing", is_flag=True, hidden=True)  # the default since 0.1.0
@click.option("--dry-run", is_flag=True, help="Print which files belong together; change nothing.")
@click.option("--watch", is_flag=True, help="Wait for new images until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image as it is finished.")
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
    help="Processes of --cluster; by default one per GPU or core.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Images whose windows of one shape share a pass of the network.  [default: 8 on a GPU, 1 on a CPU]",
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
    fit_mask: bool,
    overwrite: bool,
    skip_existing: bool,
    dry_run: bool,
    watch: bool,
    as_json: bool,
    record: Path | None,
    cluster: str | None,
    workers: int | None,
    batch_size: int | None,
    model: str,
    accept_licence: bool,
    device: str,
    precision: str,
    invert_mask: bool,
    quality: int | None,
    strip_metadata: bool,
    **settings: Any,
) -> None:
    """Fill the holes of every image in the folder IMAGES.

    MASKS is a folder of masks with the same names (a.jpg and a.png belong together), or one mask for all.
    Failures are listed at the end; the exit code is 1. The same command resumes after an interruption.
    """
    if workers is not None and cluster is None:
        raise click.UsageError("--workers belongs to --cluster: add --cluster here")
    if batch_size is not None and cluster is not None:
        raise click.UsageError("--batch-size is for one process: leave out --cluster")
    if cluster is not None and ":" in device:
        raise click.UsageError(f"got --device {device} beside --cluster; Ray chooses the GPU: give cuda")
    if watch and (cluster is not None or dry_run):
        raise click.UsageError("--watch works in one process: leave out --cluster and --dry-run")

    from inpaint.batch import FileOptions, claim_folder, pair_files, plan_batch, write_record

    def plan() -> tuple[list[Job], list[Problem]]:
        pairs, unpaired = pair_files(
            images, masks, recursive=recursive, mask_suffix=mask_suffix, leave_out=[output]
        )
        jobs, unplanned = plan_batch(pairs, output, overwrite=overwrite)
        return jobs, [*unpaired, *unplanned]

    jobs, problems = plan()
    if dry_run:
        ctx.exit(_tell_plan(jobs, problems))
    files = FileOptions(invert_mask, fit_mask, quality=quality, strip_metadata=strip_metadata)
    build = partial(_build_inpaint, device=device, precision=precision, **settings)
    weights = locate_in_terminal(model, "inpainter", accept_licence=accept_licence)
    # With --cluster it only tells here what is wrong with the model; GPUs may be on other machines.
    inpaint = build(str(weights), **({"device": "cpu"} if cluster else {}))
    run = partial(_run, inpaint=inpaint, files=files, as_json=as_json, batch_size=batch_size)
    with claim_folder(output, jobs):
        if watch:
            report = _watch(plan, run)
        elif cluster is None:
            report = run(jobs, problems)
        else:
            report = _run_on_cluster(jobs, problems, model, build, files, as_json, cluster, workers)
    if record is not None:
        write_record(report, record)
    _tell(report, output, as_json)
    ctx.exit(report.exit_code)


def _build_inpaint(model: str, device: str, precision: Any, **settings: Any) -> partial[Any]:
    """What inpaints one image; in a batch on a cluster, made in each worker."""
    from inpaint.pipeline import InpaintPipeline

    pipeline = InpaintPipeline.from_pretrained(model, device=device, precision=precision)
    return partial(pipeline, **settings)


def _run(
    jobs: Sequence[Job],
    problems: Sequence[Problem],
    inpaint: partial[Any],
    files: FileOptions,
    as_json: bool,
    batch_size: int | None,
) -> BatchReport:
    from inpaint.batch import run_batch

    shared: dict[str, Any] = {}
    # A CPU is not faster with several images in a pass (docs/BATCH.md).
    size = batch_size or (1 if inpaint.func.device.type == "cpu" else _GPU_BATCH)
    if size > 1:
        from inpaint.batch.passes import SharedPasses

        passes = SharedPasses()
        inpaint = partial(inpaint.func.with_networks(passes.share), **inpaint.keywords)
        shared = {"together": size, "fill_all": passes.map}
    with _Shown(len(jobs), as_json) as shown:
        return run_batch(jobs, inpaint, on_result=shown, problems=problems, options=files, **shared)


def _run_on_cluster(
    jobs: Sequence[Job],
    problems: Sequence[Problem],
    model: str,
    build: partial[Inpaint],
    files: FileOptions,
    as_json: bool,
    address: str,
    workers: int | None,
) -> BatchReport:
    from inpaint.batch.cluster import run_on_cluster

    known = str(Path(model).absolute()) if Path(model).is_file() else model
    with _Shown(len(jobs), as_json) as shown:
        return run_on_cluster(
            jobs,
            partial(build, known),
            on_result=shown,
            address=address,
            workers=workers,
            use_gpus=build.keywords["device"] in ("auto", "cuda"),
            problems=problems,
            options=files,
        )


def _watch(
    plan: Callable[[], tuple[list[Job], list[Problem]]],
    run: Callable[[list[Job], list[Problem]], BatchReport],
) -> BatchReport:
    """Inpaint what is there and what comes, each version of a file once, until Ctrl-C."""
    from inpaint.batch import BatchReport
    from inpaint.errors import InpaintError

    results: dict[Path, JobResult] = {}
    tried: dict[Path, tuple[int, ...]] = {}
    before: dict[Path, tuple[int, ...]] = {}
    problems: list[Problem] = []
    left: tuple[Job, ...] = ()
    click.echo("waiting for images; Ctrl-C ends", err=True)
    try:
        while not left:
            try:
                jobs, problems = plan()
            except InpaintError:  # a folder that is still empty
                jobs = []
            now = {job.image: _version(job) for job in jobs}
            ready = [
                job
                for job in jobs
                if before.get(job.image) == now[job.image] != tried.get(job.image) and now[job.image]
            ]
            before = now
            if ready:
                tried |= {job.image: now[job.image] for job in ready}
                report = run(ready, [])
                results |= {result.job.image: result for result in report.results}
                left = report.unfinished
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        pass
    return BatchReport(tuple(results.values()), tuple(problems), left)


def _version(job: Job) -> tuple[int, ...]:
    """Size and time of a job's files; nothing where one is gone."""
    try:
        status = [path.stat() for path in (job.image, job.mask)]
    except OSError:
        return ()
    return tuple(value for one in status for value in (one.st_size, one.st_mtime_ns))


class _Shown:
    """A progress bar on a terminal, or a line of JSON for each result: to be called with each."""

    def __init__(self, total: int, as_json: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
        )
        self._bar = self._progress.add_task("inpainting", total=total)
        self._as_json = as_json

    def __enter__(self) -> _Shown:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, result: JobResult) -> None:
        from inpaint.batch import result_row

        self._progress.update(self._bar, advance=1, description=result.job.image.name)
        if self._as_json:
            click.echo(json.dumps(result_row(result)))


def _tell_plan(jobs: Sequence[Job], problems: Sequence[Problem]) -> int:
    """One line for each image: its mask and its result, or why it has none; gives the exit code."""
    from inpaint.batch import BatchReport

    for job in jobs:
        image, mask, result = (click.format_filename(path) for path in (job.image, job.mask, job.output))
        click.echo(f"{image} + {mask} -> {result}" + (" is there already" if job.skip else ""))
    failures = BatchReport((), tuple(problems)).failures
    _tell_problems(problems)
    skipped = sum(job.skip for job in jobs)
    click.echo(f"would inpaint {len(jobs) - skipped}, skip {skipped}; {len(failures)} cannot be inpainted")
    return 1 if failures else 0


def _tell_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        outcome = "passed over" if problem.harmless else "failed"
        click.echo(f"{outcome}: {click.format_filename(problem.path)}: {problem.reason}", err=True)


def _tell(report: BatchReport, output: Path, as_json: bool) -> None:
    """What was not kept, passed over or failed, a line each on stderr; then the counts on stdout."""
    for result in report.results:
        for note in result.notes:
            click.echo(f"{click.format_filename(result.job.output)}: {note}", err=True)
    _tell_problems([problem for problem in report.problems if problem.harmless])
    _tell_problems(report.failures)
    counts = {
        "inpainted": report.count("done"),
        "skipped": report.count("skipped"),
        "failed": len(report.failures),
        "unfinished": len(report.unfinished),
    }
    if as_json:
        click.echo(json.dumps(counts | {"network_busy": round(report.busy, 3)}))
        return
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what != "unfinished")
    hint = " (the same command resumes)" if report.unfinished else ""
    click.echo(f"{click.format_filename(output)}: {told}{hint}")
