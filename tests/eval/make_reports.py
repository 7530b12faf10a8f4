"""Reports made by hand: small, with known numbers, and with their images on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.measures.statistics import means_of
from eval.results import FORMAT, Bin, Column, ImageScores, KnownChange, Report, Row, RowKind, Value

PSNR = Column("psnr", "PSNR", 3, True)
HOLE_PSNR = Column("hole_psnr", "hole PSNR", 3, True)
L1 = Column("l1", "L1", 4, False)
FID = Column("fid", "FID", 2, False, of_set=True)
COLUMNS = (PSNR, HOLE_PSNR, L1, FID)
STEMS = ("a", "b", "c")


def make_row(
    name: str,
    psnr: Sequence[float],
    *,
    l1: float = 0.1,
    fid: float = 50.0,
    kind: RowKind = "model",
    folder: Path | None = None,
    bins: tuple[Bin, ...] = (),
) -> Row:
    """A row whose hole PSNR lies 5 dB below its PSNR on every image."""
    pictures = tuple(
        ImageScores(stem, 0.25, {"psnr": value, "hole_psnr": value - 5, "l1": l1})
        for stem, value in zip(STEMS, psnr, strict=False)
    )
    values = means_of(pictures, COLUMNS) | {"fid": Value(fid, fid - 10, fid + 10)}
    return Row(name, kind, values, bins, pictures, None, None, None if folder is None else str(folder))


def make_report(*rows: Row, folder: Path | None = None, protocol: str = "standard") -> Report:
    """A report of three images; with a folder, of those :func:`write_pictures` puts there."""
    return Report(
        protocol=protocol,
        definition="PSNR: as in the textbook.",
        n=3,
        size="8 x 8",
        hole_ratio=0.25,
        images_hash="1" * 64,
        masks_hash="2" * 64,
        columns=COLUMNS,
        unmeasured={"LPIPS": "weights are missing; get them with python -m eval weights"},
        rows=rows,
        warnings=("FID of 3 images is biased upward.",),
        notes={"device": "by hand"},
        images=str((folder or Path("nowhere")) / "gt"),
        masks=str((folder or Path("nowhere")) / "mask"),
    )


def read_report(path: Path) -> Report:
    """The report of a JSON file."""
    return from_plain(json.loads(path.read_text(encoding="utf-8")))


def from_plain(plain: Mapping[str, Any]) -> Report:
    """The report of its JSON; a key that is missing or one too many is a TypeError."""
    values = _with_numbers({key: value for key, value in plain.items() if key != "format"})
    assert plain["format"] == FORMAT
    rows = []
    for row in values["rows"]:
        row["values"] = {key: Value(**value) for key, value in row["values"].items()}
        row["known_change"] = row["known_change"] and KnownChange(**row["known_change"])
        row["bins"] = tuple(Bin(**each) for each in row["bins"])
        row["images"] = tuple(ImageScores(**each) for each in row["images"])
        rows.append(Row(**row))
    columns = tuple(Column(**column) for column in values["columns"])
    return Report(**values | {"rows": tuple(rows), "columns": columns})


def _with_numbers(value: Any) -> Any:
    """Text for what JSON has no number for as numbers, and lists as tuples."""
    if isinstance(value, dict):
        return {key: _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return tuple(map(_with_numbers, value))
    return float(value) if value in ("inf", "-inf", "nan") else value


def write_pictures(folder: Path, predictions: Mapping[str, int], size: int = 8) -> None:
    """Images of level 100, holes in the upper left quarter, and predictions of one level each."""
    hole = np.zeros((size, size), np.uint8)
    hole[: size // 2, : size // 2] = 255
    for stem in STEMS:
        _write(folder / "gt" / f"{stem}.png", np.full((size, size, 3), 100, np.uint8))
        _write(folder / "mask" / f"{stem}.png", hole)
        for name, level in predictions.items():
            _write(folder / "pred" / name / f"{stem}.png", np.full((size, size, 3), level, np.uint8))


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
