"""A report as CSV: a line for each method, or a line for each method and image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.tables import pictures_of
from eval.results import Report, Row

_DETAILS = (
    "seconds_per_image known_pixels_changed known_change_mean known_change_worst protocol size images_hash "
    "masks_hash"
).split()


def to_csv(report: Report) -> str:
    """One line for each method, with every number at full precision."""
    return write_sheet([_method(row, report) for row in report.rows], _method_fields(report))


def to_images_csv(report: Report) -> str:
    """One line for each method and image: what a plot or a test of one's own starts from."""
    keys = [column.key for column in report.columns if not column.of_set]
    lines = [
        {"method": row.name, "image": picture.stem, "hole_ratio": picture.hole_ratio, **picture.values}
        for row in report.rows
        for picture in row.images
    ]
    return write_sheet(lines, ["method", "image", "hole_ratio", *keys])


def write_sheet(lines: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """CSV text of lines given by field name; what a line does not hold stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _method_fields(report: Report) -> list[str]:
    keys = [column.key for column in report.columns]
    measured = [name for key in keys for name in (key, f"{key}_low", f"{key}_high")]
    return ["method", "kind", "n", *measured, *_DETAILS]


def _method(row: Row, report: Report) -> dict[str, Any]:
    line: dict[str, Any] = {
        "method": row.name,
        "kind": row.kind,
        "n": pictures_of(row, report),
        "seconds_per_image": row.seconds_per_image,
        "protocol": report.protocol,
        "size": report.size,
        "images_hash": report.images_hash,
        "masks_hash": report.masks_hash,
    }
    for column in report.columns:
        if (value := row.values.get(column.key)) is not None:
            line |= {
                column.key: value.value,
                f"{column.key}_low": value.low,
                f"{column.key}_high": value.high,
            }
    if (change := row.known_change) is not None:
        line |= {
            "known_pixels_changed": change.pixels,
            "known_change_mean": change.mean,
            "known_change_worst": change.worst,
        }
    return line
