"""A run that no bad file stops. While a network works, the next images are read and the last written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from PIL import Image

from inpaint.batch.pairing import Problem
from inpaint.batch.plan import Job
from inpaint.errors import InpaintError
from inpaint.images import MAX_PIXELS, ImageFile, read_file, read_masks, write_file

Inpaint = Callable[[Any, Image.Image], Any]
"""``(image, mask) -> filled image``, as a pipeline: images are Pillow's or arrays of their own depth."""
Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class FileOptions:
    """How the files of a batch are read and written: see ``read_file``, ``read_masks`` and ``write_file``.

    ``fit_mask`` scales a mask to an image of another size.
    """

    invert_mask: bool = False
    fit_mask: bool = False
    max_pixels: int = MAX_PIXELS
    quality: int | None = None
    strip_metadata: bool = False


PLAIN_FILES = FileOptions()


@dataclass(frozen=True)
class JobResult:
    """What became of a job; ``reason`` is one line where it failed, ``notes`` what was not kept."""

    job: Job
    status: Status
    seconds: float
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        results: one for each job that was finished, in the order of the jobs.
        problems: files that could not take part.
        unfinished: jobs that an interruption (Ctrl-C) left over.
        busy: share of the run's time in which the network worked; 0 on a cluster, where it is not measured.
    """

    results: tuple[JobResult, ...]
    problems: tuple[Problem, ...] = ()
    unfinished: tuple[Job, ...] = ()
    busy: float = 0.0

    def count(self, status: Status) -> int:
        """Count the results with this status."""
        return sum(result.status == status for result in self.results)

    @property
    def failures(self) -> list[Problem]:
        """Every file without a result, and why."""
        failed = [Problem(r.job.image, r.reason) for r in self.results if r.status == "failed"]
        return failed + [problem for problem in self.problems if not problem.harmless]

    @property
    def exit_code(self) -> int:
        """0 where every image has its result, else 1."""
        return 1 if self.failures or self.unfinished else 0


class _Attempt(NamedTuple):
    """A job on its way: its files, or the error that ended it, and the seconds it has taken so far."""

    file: ImageFile | None
    masks: list[Image.Image]
    error: Exception | None
    seconds: float


def run_batch(
    jobs: Sequence[Job],
    inpaint: Inpaint,
    *,
    on_result: Callable[[JobResult], None],
    problems: Sequence[Problem] = (),
    options: FileOptions = PLAIN_FILES,
    ahead: int = 2,
    together: int = 1,
    fill_all: Callable[[Callable[[_Attempt], _Attempt], Sequence[_Attempt]], Iterable[_Attempt]] = map,
) -> BatchReport:
    """Inpaint one image after the other. A failure costs its own image, never the batch.

    One thread reads ahead and one writes while ``inpaint`` works in this one.

    Args:
        jobs: what ``plan_batch`` planned.
        inpaint: for one image. What it raises is the reason.
        on_result: called here after each job, for progress bars and logs.
        problems: from pairing and planning; they count for the exit code.
        options: how files are read and written.
        ahead: images read but not inpainted, and inpainted but not written, at most; memory follows it.
        together: images that are inpainted at once, by ``fill_all``.
        fill_all: calls a function with each of them, as :meth:`inpaint.batch.passes.SharedPasses.map`.

    Returns:
        The report. Ctrl-C ends the batch early, but not with an exception: what is done is kept, the rest is
        named.
    """
    done: dict[int, JobResult] = {}
    begun, busy = time.perf_counter(), 0.0
    waiting, ahead = deque(enumerate(jobs)), max(ahead, together)
    reads: deque[tuple[int, Future[_Attempt]]] = deque()
    writes: dict[int, Future[JobResult]] = {}

    def finish(number: int, result: JobResult) -> None:
        done[number] = result
        on_result(result)

    def read_on() -> None:
        while waiting and len(reads) < ahead:
            number, job = waiting.popleft()
            if job.skip:
                finish(number, JobResult(job, "skipped", 0.0))
            else:
                reads.append((number, reader.submit(_read, job, options)))

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        try:
            read_on()
            while reads:
                group = [reads.popleft() for _ in range(min(together, len(reads)))]
                attempts = [read.result() for _, read in group]
                read_on()
                start = time.perf_counter()
                attempts = list(fill_all(partial(_fill, inpaint=inpaint), attempts))
                busy += time.perf_counter() - start
                for (number, _), attempt in zip(group, attempts, strict=True):
                    writes[number] = writer.submit(_write, jobs[number], attempt, options)
                for number in list(writes):
                    if len(writes) > ahead or writes[number].done():
                        finish(number, writes[number].result())
                        del writes[number]  # only now: Ctrl-C may come at any line
        except KeyboardInterrupt:
            reader.shutdown(wait=False, cancel_futures=True)
        for number, written in writes.items():
            if number not in done:
                finish(number, written.result())
    results = tuple(done[number] for number in sorted(done))
    unfinished = tuple(job for number, job in enumerate(jobs) if number not in done)
    return BatchReport(results, tuple(problems), unfinished, busy / (time.perf_counter() - begun))


def run_job(job: Job, inpaint: Inpaint, options: FileOptions) -> JobResult:
    """Inpaint one image; whatever goes wrong is its result's reason."""
    if job.skip:
        return JobResult(job, "skipped", 0.0)
    return _write(job, _fill(_read(job, options), inpaint), options)


def _read(job: Job, options: FileOptions) -> _Attempt:
    start, file, masks = time.perf_counter(), None, []
    try:
        file = read_file(job.image, max_pixels=options.max_pixels)
        masks = read_masks(job.mask, invert=options.invert_mask, max_pixels=options.max_pixels)
        if options.fit_mask:
            masks = list(_fitted(masks, file))
        job.output.parent.mkdir(parents=True, exist_ok=True)  # before the long part
    except Exception as error:
        return _Attempt(None, [], error, time.perf_counter() - start)
    return _Attempt(file, masks, None, time.perf_counter() - start)


def _fill(attempt: _Attempt, inpaint: Inpaint) -> _Attempt:
    if attempt.file is None:
        return attempt
    start, error = time.perf_counter(), None
    try:
        attempt.file.fill(inpaint, attempt.masks)
    except Exception as problem:
        error = problem
    return attempt._replace(error=error, seconds=attempt.seconds + time.perf_counter() - start)


def _write(job: Job, attempt: _Attempt, options: FileOptions) -> JobResult:
    start, error, notes = time.perf_counter(), attempt.error, ()
    if attempt.file is not None and error is None:
        try:
            notes = tuple(
                write_file(attempt.file, job.output, quality=options.quality, strip=options.strip_metadata)
            )
        except Exception as problem:
            error = problem
    seconds = attempt.seconds + time.perf_counter() - start
    if error is not None:
        return JobResult(job, "failed", seconds, _one_line(error))
    return JobResult(job, "done", seconds, notes=notes)


def _fitted(masks: Sequence[Image.Image], file: ImageFile) -> Iterator[Image.Image]:
    for mask in masks:
        if mask.size != file.size:
            width, height = mask.size
            file.notes.append(f"the mask was scaled from {width} x {height} pixels")
            mask = mask.resize(file.size, Image.Resampling.BILINEAR)
        yield mask


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, InpaintError):
        return " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")
