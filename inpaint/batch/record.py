"""What became of a batch, as a file for another program or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from inpaint.atomic import atomic_write
from inpaint.batch.jobs import BatchReport
from inpaint.errors import DataError

RECORD_FORMATS = (".csv", ".json")
_COLUMNS = ("image", "mask", "output", "status", "seconds", "reason", "notes")


def write_record(report: BatchReport, path: Path) -> None:
    """Write a row for every picture, whole or not at all; an existing file is replaced.

    A row has ``image``, ``mask``, ``output``, ``status``, ``seconds``, ``reason`` and ``notes`` (what was not
    kept). The status is ``done``,
    ``skipped``, ``failed`` (also for what had no clear partner, then without mask and output) or
    ``unfinished`` (after Ctrl-C).

    Args:
        report: of the batch.
        path: its suffix decides the format, one of ``RECORD_FORMATS``; its folder must exist.

    Raises:
        DataError: the file cannot be written, or has another suffix.
    """
    rows: list[tuple[object, ...]] = []
    for result in report.results:
        job = result.job
        told = (result.status, round(result.seconds, 3), result.reason, "; ".join(result.notes))
        rows.append((job.image, job.mask, job.output, *told))
    rows += [(problem.path, "", "", "failed", 0, problem.reason, "") for problem in report.problems]
    rows += [(job.image, job.mask, job.output, "unfinished", 0, "", "") for job in report.unfinished]
    plain = [tuple(str(value) if isinstance(value, Path) else value for value in row) for row in rows]
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        csv.writer(text).writerows([_COLUMNS, *plain])
        content = text.getvalue()
    elif path.suffix.lower() == ".json":
        content = json.dumps([dict(zip(_COLUMNS, row, strict=True)) for row in plain], indent=2) + "\n"
    else:
        raise DataError(f"got {path.name!r} for the record, expected {' or '.join(RECORD_FORMATS)}")
    try:
        with atomic_write(path) as file:
            # A name that is no text in any encoding must not cost the record of 5,000 pictures.
            file.write(content.encode(errors="backslashreplace"))
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r} ({error.strerror}): check the path and the disk"
        ) from None
