"""Images side by side, the worst first: original, masked image, each method's fill and its error."""

import base64
import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.report.tables import remark_of
from eval.results import Report
from eval.tasks.pairs import find_predictions, find_task
from inpaint.errors import InpaintError

RANKED_BY = ("hole_psnr", "psnr")  # the first that was measured; else the first measure of single images
MOST_CASES = 24
SIDE = 256  # larger images are shrunk to this, for the page only
QUALITY = 82
AMPLIFIED = 4
HOLE_GREY = 214
Pixels = NDArray[np.uint8]
DIFFERENCE_NOTE = (
    f"Difference: absolute, mean of the three channels, {AMPLIFIED} times amplified, inside the hole only; "
    f"black is no error, white is {255 // AMPLIFIED + 1} of 255 levels or more."
)


class Result(NamedTuple):
    """What one method made of an image: texts by title, two data URIs, or a note on why there are none."""

    name: str
    kind: str
    values: tuple[tuple[str, str], ...] = ()
    composite: str = ""
    difference: str = ""
    note: str = ""


class Case(NamedTuple):
    """One image with all methods, and why it stands where it does."""

    stem: str
    hole_ratio: float
    reason: str
    original: str = ""  # data URIs
    masked: str = ""
    results: tuple[Result, ...] = ()


class Gallery(NamedTuple):
    """Cases, worst first, the rule of the order, and what could not be shown."""

    rule: str
    cases: tuple[Case, ...]
    remarks: tuple[str, ...]


def build_gallery(report: Report) -> Gallery:
    """Read the images of the worst ``MOST_CASES``; where some are missing on disk, it is said, not raised."""
    rule, ranked = worst_first(report)
    cases = [case._replace(results=_results(report, case.stem)) for case in ranked[:MOST_CASES]]
    remarks = []
    try:
        cases = list(_with_images(cases, report))
    except (InpaintError, KeyError) as error:
        remarks.append(f"The images are not shown, as they are not those that were scored: {error}.")
    if names := [row.name for row in report.rows if row.folder is None]:
        remarks.append(f"Not kept, so not shown: the images of {', '.join(names)}.")
    if len(cases) < len(ranked):
        remarks.append(f"{len(cases)} of {len(ranked)} images are shown, so that the page stays small.")
    return Gallery(rule, tuple(cases), tuple(remarks))


def worst_first(report: Report) -> tuple[str, list[Case]]:
    """The rule of the order in words, and cases without images: by how far a method is behind the best row.

    Baselines are not judged; images on which no method is behind follow by their values. With a single
    method, or with baselines alone, they stand by the best row's value. None without a measure of one image.
    """
    columns = {column.key: column for column in report.columns if not column.of_set}
    column = next((columns[key] for key in RANKED_BY if key in columns), next(iter(columns.values()), None))
    if column is None:
        return "No measure of single images, so no order.", []
    sign = 1 if column.higher_is_better else -1
    judged = [row.name for row in report.rows if row.kind != "baseline"]
    found: dict[str, dict[str, float]] = {}
    hole_ratios = {}
    for row in report.rows:
        for image in row.images:
            if not math.isnan(value := image.values.get(column.key, math.nan)):
                found.setdefault(image.stem, {})[row.name] = value
                hole_ratios[image.stem] = image.hole_ratio
    ranked = []
    for stem, values in found.items():
        best = max(values, key=lambda name: sign * values[name])
        # Equal values are no gap, also where both are infinite.
        gaps = {
            name: 0.0 if values[name] == values[best] else sign * (values[best] - values[name])
            for name in judged
            if name in values
        }
        last = max(gaps, key=lambda name: gaps[name], default=best)
        gap = gaps.get(last, 0.0)
        text = f"{last}: {column.title} {column.format(values[last])}"
        if gap > 0:
            text += f", {column.format(gap)} behind {best}"
        ranked.append(((-gap, sign * values[last], stem), Case(stem, hole_ratios[stem], text)))
    ranked.sort()
    by_gap = bool(judged) and len(report.rows) > 1
    rule = f"by the gap in {column.title} to the best row" if by_gap else f"by {column.title}"
    return f"Worst first, {rule}.", [case for _, case in ranked]


def difference_map(composite: Pixels, image: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """Where a fill ``(H, W, 3)`` is wrong in the hole: black over red and yellow to white, ``(H, W, 4)``.

    Outside the hole (``(H, W)``, True = hole) it is transparent.
    """
    error = np.abs(composite.astype(np.float32) - image).mean(axis=-1, keepdims=True)
    heat = np.clip(AMPLIFIED * error / 255, 0, 1)
    colours = np.rint(255 * np.clip(3 * heat - np.arange(3), 0, 1))
    return np.concatenate([colours, np.where(hole[..., None], 255, 0)], axis=-1).astype(np.uint8)


def image_uri(pixels: Pixels) -> str:
    """An image as a data URI: WebP, at most ``SIDE`` pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX if image.mode == "RGBA" else Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _results(report: Report, stem: str) -> tuple[Result, ...]:
    """What was measured of every method on an image."""
    results = []
    for row in report.rows:
        values = next((image.values for image in row.images if image.stem == stem), None)
        if values is None:
            results.append(Result(row.name, remark_of(row), note="no prediction"))
        else:
            columns = (column for column in report.columns if not column.of_set)
            texts = tuple((column.title, column.format(values.get(column.key))) for column in columns)
            results.append(Result(row.name, remark_of(row), texts))
    return tuple(results)


def _with_images(cases: Iterable[Case], report: Report) -> Iterator[Case]:
    """Cases with their images; InpaintError or KeyError where those are not there any more."""
    how = {"size": report.resized_to, "cycle_masks": report.cycled_masks, "allow_missing": True}
    task = find_task(Path(report.images), Path(report.masks), **how)
    pairs = {pair.stem: pair for pair in task.pairs}
    folders = {row.name: row.folder for row in report.rows}
    predictions = {
        name: find_predictions(Path(folder), task, allow_missing=True)
        for name, folder in folders.items()
        if folder is not None
    }
    for case in cases:
        image, hole = task.read(pairs[case.stem])
        results = []
        for result in case.results:
            if result.name in predictions and not result.note:
                prediction = predictions[result.name].read(pairs[case.stem], hole.shape)
                composite = np.where(hole[..., None], prediction, image)
                difference = difference_map(composite, image, hole)
                result = result._replace(composite=image_uri(composite), difference=image_uri(difference))
            results.append(result)
        masked = np.where(hole[..., None], HOLE_GREY, image).astype(np.uint8)
        yield case._replace(original=image_uri(image), masked=image_uri(masked), results=tuple(results))
