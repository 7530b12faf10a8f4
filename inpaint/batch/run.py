"""A run that no bad file stops. While a network works, the next images are read and the last written."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from PIL import Image

from inpaint.batch.plan import Job
from inpaint.batch.record import BatchReport, FileResult
from inpaint.errors import ImageError, InpaintError, MaskError
from inpaint.images import MAX_PIXELS, ImageFile, read_file, read_masks, write_file
from inpaint.images.formats import FORMATS, WRITABLE_FORMATS
from inpaint.images.read import first_line

Inpaint = Callable[[Any, Image.Image], Any]
"""``(image, mask) -> filled image``, as a pipeline: images are Pillow's or arrays of their own depth."""
_AHEAD = 2


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


@dataclass
class _Attempt:
    """A job on its way: its files, the error that ended it, and the seconds it has taken so far."""

    job: Job
    file: ImageFile | None = None
    masks: list[Image.Image] = field(default_factory=list)
    error: Exception | None = None
    seconds: float = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step; an error ends the attempt, not the batch."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.file, self.error = None, error
        self.seconds += time.perf_counter() - start


def run_batch(
    jobs: Sequence[Job],
    inpaint: Inpaint,
    *,
    on_result: Callable[[FileResult], None],
    options: FileOptions = PLAIN_FILES,
    together: int = 1,
    fill_all: Callable[[Callable[[_Attempt], _Attempt], Sequence[_Attempt]], Iterable[_Attempt]] = map,
) -> BatchReport:
    """Inpaint one image after the other. A failure costs its own image, never the batch.

    One thread reads ahead and one writes while ``inpaint`` works in this one. At most two images, or
    ``together``, are read but not inpainted, and as many inpainted but not written. What ``inpaint`` raises
    is a result's reason. ``on_result`` is called here after each job, in the order they are done.
    ``fill_all`` inpaints ``together`` images at once, as :meth:`inpaint.batch.passes.SharedPasses.map`.

    Returns a report with a result for each job. Ctrl-C ends the batch early, but not with an exception: what
    is done is kept, the rest is ``unfinished``.
    """
    done: dict[int, FileResult] = {}
    begun, busy = time.perf_counter(), 0.0
    waiting, ahead = deque(enumerate(jobs)), max(_AHEAD, together)
    reads: deque[tuple[int, Future[_Attempt]]] = deque()
    writes: dict[int, Future[FileResult]] = {}

    def finish(number: int, result: FileResult) -> None:
        done[number] = result
        on_result(result)

    def read_on() -> None:
        while waiting and len(reads) < ahead:
            number, job = waiting.popleft()
            if job.skip:
                finish(number, job.result("skipped"))
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
                    writes[number] = writer.submit(_write, attempt, options)
                for number in list(writes):
                    if len(writes) > ahead or writes[number].done():
                        finish(number, writes[number].result())
                        del writes[number]  # only now: Ctrl-C may come at any line
        except KeyboardInterrupt:
            reader.shutdown(wait=False, cancel_futures=True)
        for number, written in writes.items():
            if number not in done:
                finish(number, written.result())
    return BatchReport(results_of(jobs, done), busy / (time.perf_counter() - begun))


def results_of(jobs: Sequence[Job], done: Mapping[int, FileResult]) -> tuple[FileResult, ...]:
    """A result for each job, from those that were finished by number."""
    return tuple(done.get(number) or job.result("unfinished") for number, job in enumerate(jobs))


def run_job(job: Job, inpaint: Inpaint, options: FileOptions) -> FileResult:
    """Inpaint one image; whatever goes wrong is its result's reason."""
    return _write(_fill(_read(job, options), inpaint), options)


def _read(job: Job, options: FileOptions) -> _Attempt:
    attempt = _Attempt(job)
    with attempt.step():
        attempt.file = read_file(job.image, max_pixels=options.max_pixels)
        masks = read_masks(job.mask, invert=options.invert_mask, max_pixels=options.max_pixels)
        attempt.masks = list(_fitted(masks, attempt.file)) if options.fit_mask else masks
        if job.output.suffix != job.image.suffix and job.image.suffix.lower() in WRITABLE_FORMATS:
            content = FORMATS[attempt.file.format].called
            attempt.file.notes.append(f"{job.image.name} is a {content} file, whatever its suffix")
        job.output.parent.mkdir(parents=True, exist_ok=True)  # before the long part
    return attempt


def _fill(attempt: _Attempt, inpaint: Inpaint) -> _Attempt:
    if attempt.file is not None:
        with attempt.step():
            try:
                attempt.file.fill(inpaint, attempt.masks)
            except MaskError as error:
                if attempt.masks[0].size == attempt.file.size:
                    raise
                raise MaskError(f"{error}, or scale it with --fit-mask") from error
    return attempt


def _write(attempt: _Attempt, options: FileOptions) -> FileResult:
    job, notes = attempt.job, []
    if (file := attempt.file) is not None:
        with attempt.step():
            if not job.output.parent.is_dir():
                raise ImageError(f"the output folder {str(job.output.parent)!r} is gone")
            notes = write_file(file, job.output, quality=options.quality, strip=options.strip_metadata)
    if (error := attempt.error) is not None:
        kind = f"{type(error).__name__}: " if str(error) and not isinstance(error, InpaintError) else ""
        named = repr(str(job.image))  # which whoever tells the result does anyway
        reason = kind + first_line(error).removeprefix(f"{named}: ").removeprefix(f"{named} ")
        return job.result("failed", seconds=attempt.seconds, reason=reason)
    return job.result("done", seconds=attempt.seconds, notes=tuple(notes))


def _fitted(masks: Sequence[Image.Image], file: ImageFile) -> Iterator[Image.Image]:
    for mask in masks:
        if mask.size != file.size:
            width, height = mask.size
            file.notes.append(f"the mask was scaled from {width} x {height} pixels")
            mask = mask.resize(file.size, Image.Resampling.BILINEAR)
        yield mask
