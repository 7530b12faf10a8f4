"""Images side by side: the original, what a method saw, what each one made of it, and where it is wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.report.tables import remark_of
from eval.report.worst import Rank, worst_first
from eval.results import Report, Row
from eval.tasks.pairs import Pair, Predictions, Task, find_predictions, find_task
from inpaint.errors import InpaintError

MOST_CASES = 24
MOST_BYTES = 9_000_000  # of all images together, in the page; further cases are left out, and that is said
SIDE = 256  # larger images are shrunk to this, for the page only
QUALITY = 82
AMPLIFIED = 4
DIFFERENCE_NOTE = (
    f"Difference: absolute, mean of the three channels, {AMPLIFIED} times amplified, inside the hole only; "
    f"black is no error, white is {255 // AMPLIFIED + 1} of 255 levels or more."
)


@dataclass(frozen=True)
class Result:
    """What one method made of an image.

    Attributes:
        name: of the method.
        kind: ``baseline`` or empty.
        values: titles and texts.
        composite: data URI; empty where there is no image, then ``note`` says why.
        difference: data URI.
        note: what is not shown, and why.
    """

    name: str
    kind: str
    values: tuple[tuple[str, str], ...]
    composite: str = ""
    difference: str = ""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """One image with all methods; ``note`` says why original and masked image are empty."""

    rank: Rank
    original: str
    masked: str
    note: str
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Gallery:
    """Cases, worst first, the rule of the order, and what could not be shown."""

    rule: str
    cases: tuple[Case, ...]
    remarks: tuple[str, ...]


def build_gallery(report: Report) -> Gallery:
    """Read the images of the worst cases; whatever is missing on disk is said, not raised.

    Args:
        report: its folders are read as they are now.

    Returns:
        At most ``MOST_CASES`` cases, fewer where their images would be too much for one page.
    """
    rule, ranks = worst_first(report)
    album = _Album(report, ranks)
    cases: list[Case] = []
    size = 0
    for rank in ranks[:MOST_CASES]:
        case = album.case(rank)
        size += sum(map(len, _pictures_of(case)))
        if cases and size > MOST_BYTES:
            break
        cases.append(case)
    remarks = list(album.remarks)
    if len(cases) < len(ranks):
        remarks.append(f"{len(cases)} of {len(ranks)} images are shown, so that the page stays small.")
    return Gallery(rule, tuple(cases), tuple(remarks))


class _Album:
    """The images of a report on disk, as far as they are there."""

    def __init__(self, report: Report, ranks: list[Rank]) -> None:
        self.report = report
        self.remarks: list[str] = []
        self.task = self._find_task(ranks)
        self.pairs = {} if self.task is None else {pair.stem: pair for pair in self.task.pairs}
        self.predictions = {row.name: self._find_predictions(row) for row in report.rows}
        if self.task is not None and (names := [row.name for row in report.rows if row.folder is None]):
            self.remarks.append(f"Not kept, so not shown: the images of {', '.join(names)}.")

    def case(self, rank: Rank) -> Case:
        """Everything about one image."""
        pair = self.pairs.get(rank.stem)
        if self.task is None or pair is None:
            note = "" if self.task is None else "this image or its mask is no longer there"
            return Case(rank, "", "", note, tuple(self._result(row, rank.stem) for row in self.report.rows))
        try:
            image, hole = self.task.read(pair)
        except InpaintError as error:
            results = tuple(self._result(row, rank.stem) for row in self.report.rows)
            return Case(rank, "", "", str(error), results)
        results = tuple(self._result(row, rank.stem, pair, image, hole) for row in self.report.rows)
        return Case(rank, picture_uri(image), picture_uri(_hatched(image, hole)), "", results)

    def _result(
        self,
        row: Row,
        stem: str,
        pair: Pair | None = None,
        image: NDArray[np.uint8] | None = None,
        hole: NDArray[np.bool_] | None = None,
    ) -> Result:
        values = next((picture.values for picture in row.images if picture.stem == stem), None)
        columns = self.report.columns
        texts = tuple((c.title, c.format(values.get(c.key))) for c in columns if values and not c.of_set)
        name, kind = row.name, remark_of(row)
        predictions = self.predictions[row.name]
        if values is None:
            return Result(name, kind, texts, note="no prediction")
        if pair is None or image is None or hole is None or predictions is None:
            return Result(name, kind, texts)
        if stem not in predictions.files:
            return Result(name, kind, texts, note="its image is no longer there")
        try:
            prediction = predictions.read(pair, image.shape[:2])
        except InpaintError as error:
            return Result(name, kind, texts, note=str(error))
        composite = np.where(hole[..., None], prediction, image)
        return Result(
            name, kind, texts, picture_uri(composite), picture_uri(difference_map(composite, image, hole))
        )

    def _find_task(self, ranks: list[Rank]) -> Task | None:
        images, masks = self.report.images, self.report.masks
        if images is None or masks is None:
            self.remarks.append("Originals and masks are not shown: the report does not say where they lie.")
            return None
        hole_ratios = {rank.stem: rank.hole_ratio for rank in ranks}
        problem = "its masks are not those that were scored"
        for task in _possible_tasks(Path(images), Path(masks), self.report.size):
            try:
                if isinstance(task, InpaintError):
                    raise task
                pair = next((pair for pair in task.pairs if pair.stem in hole_ratios), None)
                if pair and abs(task.read(pair)[1].mean() - hole_ratios[pair.stem]) < 1e-6:
                    return task
            except InpaintError as error:
                problem = str(error)
        self.remarks.append(f"Originals and masks are not shown: {problem}.")
        return None

    def _find_predictions(self, row: Row) -> Predictions | None:
        if self.task is None or row.folder is None:
            return None
        try:
            return find_predictions(Path(row.folder), self.task, allow_missing=True)
        except InpaintError as error:
            self.remarks.append(f"{row.name}: its images are not shown: {error}.")
            return None


def difference_map(
    composite: NDArray[np.uint8], image: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Where a fill is wrong: black over red and yellow to white, transparent outside the hole.

    Args:
        composite: ``(H, W, 3)``.
        image: the truth, as ``composite``.
        hole: ``(H, W)``, True = hole.

    Returns:
        ``(H, W, 4)``.
    """
    error = np.abs(composite.astype(np.float32) - image).mean(axis=-1, keepdims=True)
    heat = np.clip(AMPLIFIED * error / 255, 0, 1)
    colours = np.clip(3 * heat - np.arange(3), 0, 1)
    return np.concatenate([np.rint(255 * colours), np.where(hole[..., None], 255, 0)], axis=-1).astype(
        np.uint8
    )


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """An image as a data URI: WebP, at most ``SIDE`` pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail(
        (SIDE, SIDE), Image.Resampling.BOX if picture.mode == "RGBA" else Image.Resampling.LANCZOS
    )
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _hatched(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with stripes in the hole: no photo has them, so they read as missing."""
    rows, columns = np.indices(hole.shape)
    width = max(4, min(hole.shape) // 32)
    stripes = np.where((rows + columns) // width % 2, 244, 214).astype(np.uint8)
    return np.where(hole[..., None], stripes[..., None], image)


def _possible_tasks(images: Path, masks: Path, size: str) -> Iterator[Task | InpaintError]:
    """The ways in which images and masks may have been paired: a report does not say which it was."""
    height, _, width = size.partition(" x ")
    side = int(height) if height.isdigit() and height == width else None
    for cycle_masks in (False, True):
        for square in dict.fromkeys((None, side)):
            try:
                yield find_task(images, masks, size=square, cycle_masks=cycle_masks, allow_missing=True)
            except InpaintError as error:
                yield error


def _pictures_of(case: Case) -> list[str]:
    return [case.original, case.masked, *(uri for r in case.results for uri in (r.composite, r.difference))]
