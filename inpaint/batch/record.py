"""What became of a batch, as a file for another program or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from inpaint.atomic import atomic_write
from inpaint.batch.plan import Job
from inpaint.batch.run import BatchReport, JobResult
from inpaint.errors import DataError

RECORD_FORMATS = (".csv", ".json")
_COLUMNS: tuple[str, ...] = ("image", "mask", "output", "status", "seconds", "reason", "notes")


def result_row(result: JobResult) -> dict[str, str | float]:
    """A result as plain values, in the columns of the record."""
    told = {"status": result.status, "seconds": round(result.seconds, 3), "reason": result.reason}
    return _job_row(result.job) | told | {"notes": "; ".join(result.notes)}


def report_rows(report: BatchReport) -> list[dict[str, str | float]]:
    """A row for every image and every file without a clear partner, as :func:`result_row` gives it.

    The status is ``done``, ``skipped``, ``failed``, ``unfinished`` (after Ctrl-C), or ``passed over`` for a
    file that is not an image and a mask without an image.
    """
    rows = [result_row(result) for result in report.results]
    empty = dict.fromkeys(_COLUMNS, "") | {"seconds": 0.0}
    for problem in report.problems:
        status = "passed over" if problem.harmless else "failed"
        rows.append(empty | {"image": str(problem.path), "status": status, "reason": problem.reason})
    return rows + [empty | _job_row(job) | {"status": "unfinished"} for job in report.unfinished]


def _job_row(job: Job) -> dict[str, str | float]:
    return {"image": str(job.image), "mask": str(job.mask), "output": str(job.output)}


def write_record(report: BatchReport, path: Path) -> None:
    """Write the report's rows, whole or not at all; an existing file is replaced.

    Args:
        report: of the batch.
        path: its suffix decides the format, one of ``RECORD_FORMATS``; its folder must exist.

    Raises:
        DataError: the file cannot be written, or has another suffix.
    """
    rows = report_rows(report)
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    elif path.suffix.lower() == ".json":
        content = json.dumps(rows, indent=2) + "\n"
    else:
        raise DataError(f"got {path.name!r} for the record, expected {' or '.join(RECORD_FORMATS)}")
    try:
        with atomic_write(path) as file:
            # A name that is no text in any encoding must not cost the record of 5,000 images.
            file.write(content.encode(errors="backslashreplace"))
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r} ({error.strerror}): check the path and the disk"
        ) from None
