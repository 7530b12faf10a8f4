"""``inpaint batch``: inpaint a folder of images."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from inpaint.cli.options import FILE, MASK_ADVICE, PATH, check_file, inpainting_options, progress_bar, say
from inpaint.weights.terminal import locate_in_terminal

if TYPE_CHECKING:
    from inpaint.batch import BatchReport, FileResult, Job

_GPU_BATCH = 8  # images that share passes on a GPU
_WATCH_S = 2.0  # a file that did not change for so long is whole


def _check_record(_ctx: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a record that could not be written before the hours of work it is about."""
    from inpaint.batch import RECORD_FORMATS

    if path is not None and path.suffix.lower() not in RECORD_FORMATS:
        raise click.BadParameter(f"got {path.name!r}, expected one ending in {' or '.join(RECORD_FORMATS)}")
    if path is not None:
        check_file(path)
        try:
            with tempfile.TemporaryFile(dir=path.resolve().parent):
                pass
        except OSError as error:
            raise click.BadParameter(f"cannot write {str(path)!r}: {error.strerror}; name another") from None
    return path


@click.command()
@click.argument("images", type=PATH)
@click.argument("masks", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the results.")
@click.option("-r", "--recursive", is_flag=True, help="Search subfolders too; the results keep the tree.")
@click.option(
    "--mask-suffix", metavar="TEXT",
    help="With _mask, a_mask.png belongs to a.jpg; then IMAGES and MASKS may be one folder.",
)  # fmt: skip
@click.option("--fit-mask", is_flag=True, help="Scale a mask to images of another size.")
@click.option("--overwrite", is_flag=True, help="Inpaint all images, also where an up-to-date result exists.")
@click.option("--skip-existing", is_flag=True, hidden=True)  # the default since 0.1.0
@click.option("--dry-run", is_flag=True, help="Print which files belong together; change nothing.")
@click.option("--watch", is_flag=True, help="Wait for new images until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image as it is finished.")
@click.option("--record", type=FILE, callback=_check_record, help="Also write results to a .csv or .json.")
@click.option(
    "--cluster", metavar="ADDRESS",
    help="Run in many processes with Ray: 'here' (this machine), 'auto' (its Ray cluster) or HOST:PORT.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), metavar="N", help="For --cluster; one per GPU or core.")
@click.option(
    "--batch-size", type=click.IntRange(1), metavar="N", help="Images per pass; 8 on GPUs by default, else 1."
)
@inpainting_options
@click.pass_context
def batch(ctx: click.Context, images: Path, masks: Path, output: Path, **options: Any) -> None:
    """Fill the holes of every image in the folder IMAGES.

    MASKS is a folder of masks with the same names (a.jpg and a.png belong together), or one mask for all.
    Failures are listed at the end; the exit code is 1. The same command resumes after an interruption.
    """
    asked = SimpleNamespace(**options)
    if asked.workers is not None and asked.cluster is None:
        raise click.UsageError("--workers belongs to --cluster: add --cluster here")
    if asked.batch_size is not None and asked.cluster is not None:
        raise click.UsageError("--batch-size is for one process: leave out --cluster")
    if asked.cluster is not None and ":" in asked.device:
        raise click.UsageError(f"got --device {asked.device} beside --cluster; Ray chooses GPUs: give cuda")
    if asked.watch and (asked.cluster is not None or asked.dry_run):
        raise click.UsageError("--watch works in one process: leave out --cluster and --dry-run")

    from inpaint.batch import BatchReport, claim_folder, pair_files, plan_batch, write_record

    def plan() -> tuple[list[Job], list[FileResult]]:
        names = {"recursive": asked.recursive, "mask_suffix": asked.mask_suffix or "", "leave_out": [output]}
        pairs, unpaired = pair_files(images, masks, may_be_empty=asked.watch, **names)
        jobs, unplanned = plan_batch(pairs, output, overwrite=asked.overwrite)
        return jobs, [*unpaired, *unplanned]

    ctx.meta["stopped"] = "stopped before the first image; the same command starts again"
    jobs, problems = plan()
    if asked.dry_run:
        ctx.exit(_tell_plan(jobs, problems))
    run = _runner(asked)
    del ctx.meta["stopped"]
    with claim_folder(output, jobs):
        report, problems = _watch(plan, run) if asked.watch else (run(jobs), problems)
    report = BatchReport((*report.results, *problems), report.busy)
    try:
        if asked.record is not None:
            write_record(report, asked.record)
    finally:
        _tell(report, output, asked.as_json)
    ctx.exit(report.exit_code)


def _runner(asked: SimpleNamespace) -> Callable[..., BatchReport]:
    """What runs jobs, here or on a cluster, and shows how far it is."""
    from inpaint.batch import FileOptions, run_batch

    settings = {name: getattr(asked, name) for name in ("precision", "dilate", "harmonise", "strict")}
    weights = locate_in_terminal(asked.model, "inpainter", accept_licence=asked.accept_licence)
    # With --cluster it only tells here what is wrong with the model; GPUs may be on other machines.
    inpaint = _build_inpaint(str(weights), device="cpu" if asked.cluster else asked.device, **settings)
    if asked.cluster is None:
        work = partial(run_batch, **{"inpaint": inpaint} | _sharing(inpaint, asked.batch_size))
    else:
        from inpaint.batch.cluster import run_on_cluster

        known = str(Path(asked.model).absolute()) if Path(asked.model).is_file() else asked.model
        build = partial(_build_inpaint, known, device=asked.device, **settings)
        on_gpus = asked.device in ("auto", "cuda")
        where = {"address": asked.cluster, "workers": asked.workers, "use_gpus": on_gpus}
        work = partial(run_on_cluster, build_inpaint=build, **where)
    kept = {"quality": asked.quality, "strip_metadata": asked.strip_metadata}
    files = FileOptions(asked.invert_mask, asked.fit_mask, **kept)

    def run(jobs: Sequence[Job]) -> BatchReport:
        with progress_bar(len(jobs), "inpainting") as advance:

            def show(result: FileResult) -> None:
                advance(result.image.name)
                if asked.as_json:
                    click.echo(json.dumps(result.row()))

            return work(jobs, on_result=show, options=files)

    return run


def _build_inpaint(model: str, device: str, precision: Any, **settings: Any) -> partial[Any]:
    """What inpaints one image; in a batch on a cluster, made in each worker."""
    from inpaint.pipeline import InpaintPipeline

    pipeline = InpaintPipeline.from_pretrained(model, device=device, precision=precision)
    return partial(pipeline, mask_advice=MASK_ADVICE, **settings)


def _sharing(inpaint: partial[Any], batch_size: int | None) -> dict[str, Any]:
    """Arguments of ``run_batch`` for images that share passes of the network."""
    # A CPU is hardly faster with several images in a pass (docs/BATCH.md).
    size = batch_size or (1 if inpaint.func.device.type == "cpu" else _GPU_BATCH)
    if size == 1:
        return {}
    from inpaint.batch.passes import SharedPasses

    passes = SharedPasses()
    shared = partial(inpaint.func.with_networks(passes.share), **inpaint.keywords)
    return {"inpaint": shared, "together": size, "fill_all": passes.map}


def _watch(
    plan: Callable[[], tuple[list[Job], list[FileResult]]], run: Callable[[list[Job]], BatchReport]
) -> tuple[BatchReport, list[FileResult]]:
    """Inpaint what is there and what comes, each version of a file once, until Ctrl-C."""
    from inpaint.batch import BatchReport
    from inpaint.errors import InpaintError

    report, problems, busy, worked = BatchReport(()), [], 0.0, 0.0
    results: dict[Path, FileResult] = {}
    tried: dict[Path, tuple[int, ...]] = {}
    before: dict[Path, tuple[int, ...]] = {}
    click.echo("waiting for images; Ctrl-C ends", err=True)
    with suppress(KeyboardInterrupt):
        while not report.count("unfinished"):
            try:
                jobs, problems = plan()
            except InpaintError:  # a folder that is gone for now
                jobs = []
            now = {job.image: _version(job) for job in jobs}
            # What has not changed since the last look, but since it was inpainted.
            ready = [
                j for j in jobs if before.get(j.image) == now[j.image] != tried.get(j.image) and now[j.image]
            ]
            before = now
            if ready:
                tried |= {job.image: now[job.image] for job in ready}
                start = time.perf_counter()
                report = run(ready)
                worked += (took := time.perf_counter() - start)
                busy += report.busy * took
                results |= {result.image: result for result in report.results}
            time.sleep(_WATCH_S)
    return BatchReport(tuple(results.values()), busy / (worked or 1)), problems


def _version(job: Job) -> tuple[int, ...]:
    """Size and time of a job's files; nothing where one is gone."""
    try:
        status = [path.stat() for path in (job.image, job.mask)]
    except OSError:
        return ()
    return tuple(value for one in status for value in (one.st_size, one.st_mtime_ns))


def _tell_plan(jobs: Sequence[Job], problems: Sequence[FileResult]) -> int:
    """One line for each image: its mask and its result, or why it has none; gives the exit code."""
    for job in jobs:
        image, mask, result = (click.format_filename(path) for path in (job.image, job.mask, job.output))
        say(f"{image} + {mask} -> {result}" + (" is there already" if job.skip else ""))
    failed = _tell_problems(problems)
    skipped = sum(job.skip for job in jobs)
    click.echo(f"would inpaint {len(jobs) - skipped}, skip {skipped}; {failed} cannot be inpainted")
    return 1 if failed else 0


def _tell_problems(results: Sequence[FileResult]) -> int:
    """A line on stderr for each file without a result, those that failed last; gives their number."""
    failed = [result for result in results if result.status == "failed"]
    for result in [*(result for result in results if result.status == "passed over"), *failed]:
        say(f"{result.status}: {click.format_filename(result.image)}: {result.reason}", err=True)
    return len(failed)


def _tell(report: BatchReport, output: Path, as_json: bool) -> None:
    """What was not kept, passed over or failed, a line each on stderr; then the counts on stdout."""
    for result in report.results:
        if as_json and result.status == "failed" and result.output is None:  # it never came to the work
            click.echo(json.dumps(result.row()))
        for note in result.notes:
            say(f"{click.format_filename(result.output or output)}: {note}", err=True)
    counts = {"inpainted": report.count("done"), "skipped": report.count("skipped")}
    counts |= {"failed": _tell_problems(report.results), "unfinished": report.count("unfinished")}
    if as_json:
        click.echo(json.dumps(counts | {"network_busy": round(report.busy, 3)}))
        return
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what != "unfinished")
    hint = " (the same command resumes)" if counts["unfinished"] else ""
    say(f"{click.format_filename(output)}: {told}{hint}")
