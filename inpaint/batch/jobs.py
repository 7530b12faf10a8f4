"""Where results go, and a run that no bad file stops."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from inpaint.batch.pairing import Pair, Problem, identity
from inpaint.errors import ImageError, InpaintError
from inpaint.images import MAX_PIXELS, WRITABLE_FORMATS, read_file, read_masks, write_file

Repair = Callable[[Any, Image.Image], Any]
"""``(image, mask) -> filled image``, as a pipeline: images are Pillow's or arrays of their own depth."""


@dataclass(frozen=True)
class Job:
    """One picture to repair; ``skip`` says that its output is there already and shall stay."""

    image: Path
    mask: Path
    output: Path
    skip: bool = False


@dataclass(frozen=True)
class JobResult:
    """What became of a job; ``reason`` is one line where it failed, ``notes`` say what was not kept."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    seconds: float
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch. ``unfinished`` jobs are those an interruption (Ctrl-C) left over."""

    results: tuple[JobResult, ...]
    problems: tuple[Problem, ...] = ()
    unfinished: tuple[Job, ...] = ()

    def count(self, status: Literal["done", "skipped", "failed"]) -> int:
        """Count the results with this status."""
        return sum(result.status == status for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 where every picture is repaired or was skipped on purpose, else 1."""
        return 1 if self.count("failed") or self.problems or self.unfinished else 0


def plan_batch(
    pairs: Sequence[Pair], output: Path, *, skip_existing: bool = False
) -> tuple[list[Job], list[Problem]]:
    """Decide where each result goes: the picture's own name, ``.png`` where its format cannot be written.

    The tree of subfolders that pictures were found in stays as it is.

    Args:
        pairs: what ``pair_files`` found.
        output: folder for the results; it need not exist, and is not made here.
        skip_existing: mark jobs whose output file exists already. Files are written whole or not at all, so
            an interrupted batch goes on where it stopped.

    Returns:
        Jobs in the order of the pairs, and a problem for each picture whose output another would write, too.

    Raises:
        ImageError: ``output`` is a file or looks like one, or an input would be overwritten.
    """
    output = Path(output)
    name = repr(str(output))
    if output.is_dir():
        beside = {(pair.image.parent, output / pair.folder) for pair in pairs}
        if any(there.is_dir() and there.samefile(folder) for folder, there in beside):
            raise ImageError(
                f"the output folder {name} is the images folder, expected another: name a new one"
            )
    elif output.exists() or output.suffix.lower() in WRITABLE_FORMATS:
        raise ImageError(f"got the file name {name} as output of a batch, expected a folder: name one")
    outputs = [output / pair.folder / _output_name(pair.image) for pair in pairs]
    inputs = {identity(path) for pair in pairs for path in (pair.image, pair.mask)}
    pairs_to: dict[Path, list[Pair]] = defaultdict(list)
    for pair, path in zip(pairs, outputs, strict=True):
        pairs_to[path].append(pair)
    jobs, problems = [], []
    for pair, path in zip(pairs, outputs, strict=True):
        exists = path.exists()
        if exists and identity(path) in inputs:
            raise ImageError(f"{str(path)!r} is an input and would be replaced: name another output folder")
        if twins := [twin.image.name for twin in pairs_to[path] if twin is not pair]:
            reason = f"its output {path.name} would also be that of {', '.join(twins)}: rename one"
            problems.append(Problem(pair.image, reason))
        else:
            jobs.append(Job(pair.image, pair.mask, path, skip=skip_existing and exists))
    return jobs, problems


def run_batch(
    jobs: Sequence[Job],
    repair: Repair,
    *,
    on_result: Callable[[JobResult], None],
    problems: Sequence[Problem] = (),
    invert_mask: bool = False,
    max_pixels: int = MAX_PIXELS,
    quality: int | None = None,
    strip_metadata: bool = False,
) -> BatchReport:
    """Repair one picture after the other. A failure costs its own picture, never the batch.

    Args:
        jobs: what ``plan_batch`` planned.
        repair: for one picture. What it raises is the reason.
        on_result: called after each job, for progress bars and logs.
        problems: from pairing and planning; they belong in the report and count for its exit code.
        invert_mask: exchange hole and known in every mask.
        max_pixels: larger pictures fail, before they are decoded.
        quality: as for :func:`inpaint.images.write_file`.
        strip_metadata: as for :func:`inpaint.images.write_file`.

    Returns:
        The report. Ctrl-C ends the batch early, but not with an exception: what is done is kept, the rest is
        named.
    """
    results: list[JobResult] = []
    try:
        for job in jobs:
            results.append(run_job(job, repair, invert_mask, max_pixels, quality, strip_metadata))
            on_result(results[-1])
    except KeyboardInterrupt:
        pass
    return BatchReport(tuple(results), tuple(problems), tuple(jobs[len(results) :]))


def run_job(
    job: Job,
    repair: Repair,
    invert_mask: bool,
    max_pixels: int,
    quality: int | None = None,
    strip_metadata: bool = False,
) -> JobResult:
    """Repair one picture; whatever goes wrong is its result's reason. As for :func:`run_batch`."""
    if job.skip:
        return JobResult(job, "skipped", 0.0)
    start = time.perf_counter()
    try:
        image = read_file(job.image, max_pixels=max_pixels)
        masks = read_masks(job.mask, invert=invert_mask, max_pixels=max_pixels)
        job.output.parent.mkdir(parents=True, exist_ok=True)  # before the long part
        image.fill(repair, masks)
        notes = tuple(write_file(image, job.output, quality=quality, strip=strip_metadata))
    except Exception as error:
        return JobResult(job, "failed", time.perf_counter() - start, _say_in_one_line(error))
    return JobResult(job, "done", time.perf_counter() - start, notes=notes)


def _output_name(image: Path) -> str:
    return image.name if image.suffix.lower() in WRITABLE_FORMATS else f"{image.stem}.png"


def _say_in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, InpaintError):
        return " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")
