"""Many uploaded photos at once: pictures with one mask, or a zip of pairs; back comes a zip with a report."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from inpaint.batch import (
    READABLE_SUFFIXES,
    BatchReport,
    FileOptions,
    JobResult,
    Problem,
    pair_files,
    plan_batch,
    run_batch,
)
from inpaint.errors import ImageError, MaskError
from inpaint.images import mask_from_image, write_image
from inpaint.web.marks import grow, mask_picture
from inpaint.web.photos import Limits, read_upload, safe_name
from inpaint.web.service import Service

REPORT = "report.csv"
_MASK_ENDING = re.compile(r"[_-]mask$", re.IGNORECASE)
_PART = 2**20  # bytes unpacked between two looks at the limit


def fill_pictures(
    service: Service,
    pictures: Sequence[Path],
    mask: Path,
    model: str,
    *,
    growth: int = 0,
    on_result: Callable[[int, int, JobResult], None] = lambda done, total, result: None,
) -> tuple[Path, BatchReport]:
    """Fill the same holes in several pictures.

    Args:
        service: what does the work.
        pictures: uploaded files; each should have the mask's size, or it fails in the report.
        mask: white or opaque is a hole.
        model: a key of ``service.fills.choices()``.
        growth: pixels by which the holes grow first.
        on_result: called with how many are done, how many there are, and the last result.

    Returns:
        A zip of the results with ``report.csv``, and the report.

    Raises:
        InpaintError: nothing to do, too many files, or an unreadable mask: before anything is filled.
    """
    work = _make_work(service)
    if not pictures:
        raise ImageError("got no pictures; choose some first")
    if len(pictures) > service.limits.files:
        raise ImageError(f"got {len(pictures)} pictures, the limit is {service.limits.files}; send fewer")
    try:
        drawn = mask_from_image(read_upload(mask, service.limits, safe_name(mask.name)))
    except ImageError as error:
        raise MaskError(f"cannot read the mask: {error}") from error
    write_image(drawn, work / "mask.png")
    problems = []
    for picture in pictures:
        target = work / "images" / safe_name(picture.name)
        if target.exists():
            problems.append(Problem(target, "another picture has the same name: rename one"))
        else:
            shutil.copyfile(picture, target)
    return _fill(service, work, work / "mask.png", model, growth, problems, on_result)


def fill_zip(
    service: Service,
    archive: Path,
    model: str,
    *,
    growth: int = 0,
    on_result: Callable[[int, int, JobResult], None] = lambda done, total, result: None,
) -> tuple[Path, BatchReport]:
    """Fill the pairs of a zip: ``images/x.jpg`` and ``masks/x.png``, or ``x.jpg`` and ``x_mask.png``.

    Arguments, results and errors as in :func:`fill_pictures`; also refused are zips that are damaged, locked,
    unpack to more than the limits, or hold paths that lead out of them.
    """
    work = _make_work(service)
    unpack_pairs(archive, work, service.limits)
    return _fill(service, work, work / "masks", model, growth, [], on_result)


def unpack_pairs(archive: Path, work: Path, limits: Limits) -> None:
    """Unpack pictures into ``work/images`` and masks into ``work/masks``, by name; nothing else is written.

    Raises:
        ImageError: the zip is unfit, see :func:`fill_zip`.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _is_picture(member)]
            if not members:
                raise ImageError(
                    "the zip holds no pictures; expected images/ and masks/, or x.jpg and x_mask.png"
                )
            if len(members) > 2 * limits.files:
                raise ImageError(
                    f"the zip holds {len(members)} pictures, the limit is {2 * limits.files}; send fewer"
                )
            room = limits.file_bytes * 4
            for member in members:
                room -= _unpack(opened, member, work, limits, room)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"the zip cannot be read ({reason}); make it again, without a password") from error


def _is_picture(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ImageError(f"the zip holds {member.filename!r}, a path that leads out of it; make it again")
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not member.is_dir() and not hidden and path.suffix.lower() in READABLE_SUFFIXES


def _unpack(opened: zipfile.ZipFile, member: zipfile.ZipInfo, work: Path, limits: Limits, room: int) -> int:
    """Write one member where it belongs; what it says of its size is not believed. Returns its bytes."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    folders = {part.lower() for part in path.parts[:-1]}
    is_mask = bool(folders & {"masks", "mask"}) or _MASK_ENDING.search(path.stem) is not None
    stem = _MASK_ENDING.sub("", path.stem) if is_mask else path.stem
    target = work / ("masks" if is_mask else "images") / safe_name(f"{stem}{path.suffix}")
    if target.exists():
        raise ImageError(f"the zip holds {target.name!r} twice as {target.parent.name}; rename one")
    most, written = min(limits.file_bytes, room), 0
    with opened.open(member) as source, open(target, "xb") as file:
        while part := source.read(_PART):
            written += len(part)
            if written > most:
                raise ImageError(f"{path.name} unpacks to more than {most / 2**20:.0f} MB; send less at once")
            file.write(part)
    return written


def _make_work(service: Service) -> Path:
    service.sweep()
    work = service.folder / secrets.token_hex(8)
    for name in ("images", "masks"):
        (work / name).mkdir(parents=True)
    return work


def _fill(
    service: Service,
    work: Path,
    masks: Path,
    model: str,
    growth: int,
    problems: list[Problem],
    on_result: Callable[[int, int, JobResult], None],
) -> tuple[Path, BatchReport]:
    pipeline = service.fills.pipeline(model)
    pairs, unpaired = pair_files(work / "images", masks)
    jobs, unplanned = plan_batch(pairs, work / "results")
    done = 0

    def repair(picture: Image.Image, mask: Image.Image) -> Image.Image:
        holes = grow(np.asarray(mask) > 0, growth)
        with service.computing:
            return pipeline(picture, mask_picture(holes), dilate=0)

    def count(result: JobResult) -> None:
        nonlocal done
        done += 1
        on_result(done, len(jobs), result)

    all_problems = [*problems, *unpaired, *unplanned]
    report = run_batch(
        jobs,
        repair,
        on_result=count,
        problems=all_problems,
        options=FileOptions(max_pixels=service.limits.pixels),
    )
    report = _without_paths(report, work)
    return _pack(work, report), report


def _without_paths(report: BatchReport, work: Path) -> BatchReport:
    """Name files in reasons as their owner does: the server's folders are nobody's business."""

    def tell(reason: str) -> str:
        for folder in ("images", "masks", "results", ""):
            reason = reason.replace(str(work / folder) + "/", "").replace(str(work / folder), folder)
        return reason

    return dataclasses.replace(
        report,
        results=tuple(dataclasses.replace(r, reason=tell(r.reason)) for r in report.results),
        problems=tuple(dataclasses.replace(p, reason=tell(p.reason)) for p in report.problems),
    )


def _pack(work: Path, report: BatchReport) -> Path:
    """Zip the results, which are compressed already, and the report."""
    path = work / "filled.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for result in report.results:
            if result.status == "done":
                packed.write(result.job.output, result.job.output.name)
        packed.writestr(REPORT, report_csv(report))
    return path


def report_csv(report: BatchReport) -> str:
    """One line a picture: name, status, seconds, reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "status", "seconds", "reason"])
    for result in report.results:
        writer.writerow([result.job.image.name, result.status, f"{result.seconds:.2f}", result.reason])
    for problem in report.problems:
        writer.writerow([problem.path.name, "left out", "", problem.reason])
    return text.getvalue()
