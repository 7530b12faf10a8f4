"""Many pictures at once: which mask belongs to which picture, where results go, a run no bad file stops.

    pair_files   images and masks on disk  -> pairs, and a problem for everything that has no clear partner
    plan_batch   pairs and an output folder -> jobs, checked: no input is overwritten, no output written twice
    run_batch    jobs and a repair function -> results, one for each job

Only ``run_batch`` opens pictures or writes anything. Nothing here prints or knows the network.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from inpaint.errors import ImageError, InpaintError, MaskError
from inpaint.image import MAX_PIXELS, WRITABLE_FORMATS, read_image, read_mask, write_image

READABLE_SUFFIXES = tuple(
    ".png .jpg .jpeg .jfif .webp .tif .tiff .bmp .gif .ppm .pgm .pbm .avif .jp2".split()
)
# Pictures to a person, but not to this program: named in the report instead of being passed over.
_UNREADABLE_SUFFIXES = tuple(
    ".heic .heif .jxl .psd .svg .eps .xcf .exr .hdr .tga .ico .raw .dng .cr2 .cr3 .nef .arw .orf .rw2".split()
)


@dataclass(frozen=True)
class Pair:
    """A picture and the mask that belongs to it."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Problem:
    """A file that cannot take part, and why, in one line."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Job:
    """One picture to repair; ``skip`` says that its output is there already and shall stay."""

    image: Path
    mask: Path
    output: Path
    skip: bool = False


@dataclass(frozen=True)
class JobResult:
    """What became of a job; ``reason`` is one line where it failed, else empty."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    seconds: float
    reason: str = ""


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


def pair_files(images: Path, masks: Path) -> tuple[list[Pair], list[Problem]]:
    """Find the mask of each picture.

    Two folders are paired by equal stems (``a.jpg`` and ``a.png``), case-sensitively; one mask file serves
    all pictures. Hidden files and subfolders are left alone; so are masks without a picture.

    Args:
        images: folder of pictures, or one picture file.
        masks: folder of masks, or one mask file. Where it lies among the pictures it is not taken for one.

    Returns:
        Pairs and problems, each sorted by name. A problem is a picture without mask, with several masks, with
        the same stem as another picture, or in a format that cannot be read.

    Raises:
        ImageError: ``images`` is missing or holds no pictures.
        MaskError: ``masks`` is missing, holds no pictures, or is the same as ``images``.
    """
    images, masks = Path(images), Path(masks)
    for path, what, error in ((images, "images", ImageError), (masks, "masks", MaskError)):
        if not path.exists():
            raise error(f"no such file or folder for the {what}: {str(path)!r}; check the path")
    if images.samefile(masks):
        raise MaskError(
            f"images and masks are both {str(images)!r}: masks need a file or folder of their own"
        )
    pictures, problems = _find_pictures(images)
    pictures = [path for path in pictures if not path.samefile(masks)]
    if not pictures and not problems:
        raise ImageError(
            f"no pictures in {str(images)!r}, expected {' '.join(READABLE_SUFFIXES)}: check the folder"
        )
    if not masks.is_dir():
        return [Pair(path, masks) for path in pictures], problems
    mask_files, unreadable = _find_pictures(masks)
    if not mask_files and not unreadable:
        raise MaskError(
            f"no masks in {str(masks)!r}, expected {' '.join(READABLE_SUFFIXES)}: check the folder"
        )
    pictures_of, masks_of = _by_stem(pictures), _by_stem(mask_files)
    pairs = []
    for path in pictures:
        twins = [other.name for other in pictures_of[_stem(path)] if other != path]
        found = masks_of.get(_stem(path), [])
        if twins:
            problems.append(Problem(path, f"same stem as {', '.join(twins)}: rename one, and its mask"))
        elif not found:
            problems.append(Problem(path, _say_no_mask(path, masks, mask_files, unreadable)))
        elif len(found) > 1:
            names = ", ".join(mask.name for mask in found)
            problems.append(Problem(path, f"several masks: {names}; keep one"))
        else:
            pairs.append(Pair(path, found[0]))
    return pairs, sorted(problems, key=lambda problem: problem.path.name)


def plan_batch(
    pairs: Sequence[Pair], output: Path, *, skip_existing: bool = False
) -> tuple[list[Job], list[Problem]]:
    """Decide where each result goes: the picture's own name, ``.png`` where its format cannot be written.

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
        if any(output.samefile(pair.image.parent) for pair in pairs):
            raise ImageError(
                f"the output folder {name} is the images folder, expected another: name a new one"
            )
    elif output.exists() or output.suffix.lower() in WRITABLE_FORMATS:
        raise ImageError(f"got the file name {name} as output of a batch, expected a folder: name one")
    outputs = [output / _output_name(pair.image) for pair in pairs]
    inputs = {_identity(path) for pair in pairs for path in (pair.image, pair.mask)}
    pairs_to: dict[Path, list[Pair]] = defaultdict(list)
    for pair, path in zip(pairs, outputs, strict=True):
        pairs_to[path].append(pair)
    jobs, problems = [], []
    for pair, path in zip(pairs, outputs, strict=True):
        exists = path.exists()
        if exists and _identity(path) in inputs:
            raise ImageError(f"{str(path)!r} is an input and would be replaced: name another output folder")
        if twins := [twin.image.name for twin in pairs_to[path] if twin is not pair]:
            reason = f"its output {path.name} would also be that of {', '.join(twins)}: rename one"
            problems.append(Problem(pair.image, reason))
        else:
            jobs.append(Job(pair.image, pair.mask, path, skip=skip_existing and exists))
    return jobs, problems


def run_batch(
    jobs: Sequence[Job],
    repair: Callable[[Image.Image, Image.Image], Image.Image],
    *,
    on_result: Callable[[JobResult], None],
    problems: Sequence[Problem] = (),
    invert_mask: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> BatchReport:
    """Repair one picture after the other. A failure costs its own picture, never the batch.

    Args:
        jobs: what ``plan_batch`` planned.
        repair: ``(image, mask) -> repaired image``; mask ``L``, 255 = hole. What it raises is the reason.
        on_result: called after each job, for progress bars and logs.
        problems: from pairing and planning; they belong in the report and count for its exit code.
        invert_mask: exchange hole and known in every mask.
        max_pixels: larger pictures fail, before they are decoded.

    Returns:
        The report. Ctrl-C ends the batch early, but not with an exception: what is done is kept, the rest is
        named.
    """
    results: list[JobResult] = []
    try:
        for job in jobs:
            results.append(_run_job(job, repair, invert_mask, max_pixels))
            on_result(results[-1])
    except KeyboardInterrupt:
        pass
    return BatchReport(tuple(results), tuple(problems), tuple(jobs[len(results) :]))


def _run_job(
    job: Job,
    repair: Callable[[Image.Image, Image.Image], Image.Image],
    invert_mask: bool,
    max_pixels: int,
) -> JobResult:
    if job.skip:
        return JobResult(job, "skipped", 0.0)
    start = time.perf_counter()
    try:
        image = read_image(job.image, max_pixels=max_pixels)
        mask = read_mask(job.mask, invert=invert_mask, max_pixels=max_pixels)
        job.output.parent.mkdir(parents=True, exist_ok=True)  # before the long part
        repaired = repair(image, mask)
        repaired.info = {**image.info, **repaired.info}  # a network knows no ICC profile
        write_image(repaired, job.output)
    except Exception as error:
        return JobResult(job, "failed", time.perf_counter() - start, _say_in_one_line(error))
    return JobResult(job, "done", time.perf_counter() - start)


def _find_pictures(path: Path) -> tuple[list[Path], list[Problem]]:
    """List the pictures in a folder by name, or the one file itself; a problem for each unreadable one."""
    if not path.is_dir():
        return [path], []
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    unreadable = [file for file in files if file.suffix.lower() in _UNREADABLE_SUFFIXES]
    problems = [
        Problem(file, f"{file.suffix} pictures cannot be read: convert it to .png") for file in unreadable
    ]
    return [file for file in files if file.suffix.lower() in READABLE_SUFFIXES], problems


def _stem(path: Path) -> str:
    """The stem as a person sees it: an accent may be one character or two, depending on the system."""
    return unicodedata.normalize("NFC", path.stem)


def _by_stem(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        found[_stem(file)].append(file)
    return dict(found)


def _say_no_mask(image: Path, masks: Path, files: Sequence[Path], unreadable: Sequence[Problem]) -> str:
    """Say that a picture has no mask, and name the file that may have been meant."""
    begin, hint = _stem(image).casefold(), "add one"
    for file in files:
        if _stem(file).casefold().startswith(begin):
            hint = f"{file.name} is there, but only an equal stem counts"
    for problem in unreadable:
        if _stem(problem.path) == _stem(image):
            hint = f"{problem.path.name} is there, but {problem.reason}"
    return f"no mask named {image.stem}.* in {str(masks)!r}: {hint}"


def _output_name(image: Path) -> str:
    return image.name if image.suffix.lower() in WRITABLE_FORMATS else f"{image.stem}.png"


def _identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common; a file that is gone is reported when its job runs."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _say_in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, InpaintError):
        return " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")
