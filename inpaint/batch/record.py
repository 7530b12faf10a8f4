"""What became of every file of a batch, and its record for another program or a spreadsheet."""

import csv
import io
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from inpaint.atomic import atomic_write
from inpaint.errors import DataError

RECORD_FORMATS = (".csv", ".json")
Status = Literal["done", "skipped", "failed", "unfinished", "passed over"]


@dataclass(frozen=True)
class FileResult:
    """What became of a file; the fields are the columns of the record."""

    image: Path  # the file
    mask: Path | None = None  # None where it has no clear partner
    output: Path | None = None  # None like the mask
    # `skipped` where the result was there, `unfinished` after Ctrl-C, `passed over` for what is not an
    # image, and for a mask without an image
    status: Status = "failed"
    seconds: float = 0.0  # reading, inpainting and writing
    reason: str = ""  # why there is no result, in one line
    notes: tuple[str, ...] = ()  # what was not kept, one line each

    def row(self) -> dict[str, str | float]:
        """Plain values by column."""
        texts = {column: "" if value is None else str(value) for column, value in vars(self).items()}
        return texts | {"seconds": round(self.seconds, 3), "notes": "; ".join(self.notes)}


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch."""

    # one for each job, in the order of the jobs, and for each file that could not take part
    results: tuple[FileResult, ...]
    # share of the run's time in which the network worked; 0 on a cluster, where it is not measured
    busy: float = 0.0

    def count(self, status: Status) -> int:
        """Count the results with this status."""
        return sum(result.status == status for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 where every image has its result, else 1."""
        return 1 if self.count("failed") or self.count("unfinished") else 0


def write_record(report: BatchReport, path: Path) -> None:
    """Write a row for each result, whole or not at all; the suffix, one of ``RECORD_FORMATS``, decides how.

    DataError if the file cannot be written, or has another suffix.
    """
    rows = [result.row() for result in report.results]
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, [column.name for column in fields(FileResult)])
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
        reason = f"cannot write {str(path)!r} ({error.strerror}): check the path and the disk"
        raise DataError(reason) from None
