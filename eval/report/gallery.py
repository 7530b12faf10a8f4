"""Images side by side, the worst first: original, masked image, each method's fill and its error."""

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.report.tables import remark_of
from eval.results import Report
from eval.tasks.pairs import Pair, Predictions, Task, find_predictions, find_task
from inpaint.errors import DataError, InpaintError

RANKED_BY = ("hole_psnr", "psnr")  # the first that was measured; else the first measure of single images
MOST_CASES = 24
SIDE = 256  # larger images are shrunk to this, for the page only
QUALITY = 82
AMPLIFIED = 4
DIFFERENCE_NOTE = (
    f"Difference: absolute, mean of the three channels, {AMPLIFIED} times amplified, inside the hole only; "
    f"black is no error, white is {255 // AMPLIFIED + 1} of 255 levels or more."
)


class Result(NamedTuple):
    """What one method made of an image: texts by title, two data URIs, or a note on why there are none."""

    name: str
    kind: str
    values: tuple[tuple[str, str], ...]
    composite: str = ""
    difference: str = ""
    note: str = ""


class Case(NamedTuple):
    """One image with all methods, and why it stands where it does; ``note`` says why it is not shown."""

    stem: str
    hole_ratio: float
    reason: str
    original: str = ""  # data URIs
    masked: str = ""
    note: str = ""
    results: tuple[Result, ...] = ()


class Gallery(NamedTuple):
    """Cases, worst first, the rule of the order, and what could not be shown."""

    rule: str
    cases: tuple[Case, ...]
    remarks: tuple[str, ...]


def build_gallery(report: Report) -> Gallery:
    """Read the images of the worst ``MOST_CASES``; whatever is missing on disk is said, not raised."""
    rule, ranked = worst_first(report)
    remarks, task, predictions = list[str](), None, dict[str, Predictions]()
    try:
        task = _find_task(report)
    except InpaintError as error:
        remarks.append(f"Originals and masks are not shown: {error}.")
    if task is not None:
        for row in report.rows:
            try:
                if row.folder is not None:
                    predictions[row.name] = find_predictions(Path(row.folder), task, allow_missing=True)
            except InpaintError as error:
                remarks.append(f"{row.name}: its images are not shown: {error}.")
        if names := [row.name for row in report.rows if row.folder is None]:
            remarks.append(f"Not kept, so not shown: the images of {', '.join(names)}.")
    cases = [_with_images(case, report, task, predictions) for case in ranked[:MOST_CASES]]
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


def difference_map(
    composite: NDArray[np.uint8], image: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Where a fill ``(H, W, 3)`` is wrong in the hole: black over red and yellow to white, ``(H, W, 4)``.

    Outside the hole (``(H, W)``, True = hole) it is transparent.
    """
    error = np.abs(composite.astype(np.float32) - image).mean(axis=-1, keepdims=True)
    heat = np.clip(AMPLIFIED * error / 255, 0, 1)
    colours = np.rint(255 * np.clip(3 * heat - np.arange(3), 0, 1))
    return np.concatenate([colours, np.where(hole[..., None], 255, 0)], axis=-1).astype(np.uint8)


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """An image as a data URI: WebP, at most ``SIDE`` pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX if image.mode == "RGBA" else Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _with_images(
    case: Case, report: Report, task: Task | None, predictions: Mapping[str, Predictions]
) -> Case:
    pair = next((pair for pair in task.pairs if pair.stem == case.stem), None) if task else None
    truth = None
    try:
        if task is not None:
            image, hole = truth = _read_truth(case, task, pair)
            case = case._replace(original=image_uri(image), masked=image_uri(_hatched(image, hole)))
    except InpaintError as error:
        case = case._replace(note=str(error))
    results = []
    for row in report.rows:
        values = next((image.values for image in row.images if image.stem == case.stem), None)
        texts = tuple(
            (c.title, c.format(values.get(c.key))) for c in report.columns if values and not c.of_set
        )
        shown, files = {}, predictions.get(row.name)
        if values is None:
            shown = {"note": "no prediction"}
        elif pair is not None and truth is not None and files is not None:
            shown = _composite_and_difference(files, pair, *truth)
        results.append(Result(row.name, remark_of(row), texts, **shown))
    return case._replace(results=tuple(results))


def _read_truth(case: Case, task: Task, pair: Pair | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    if pair is None:
        raise DataError("this image or its mask is no longer there")
    image, hole = task.read(pair)
    if abs(hole.mean() - case.hole_ratio) > 1e-6:
        raise DataError("its mask is not the one that was scored")
    return image, hole


def _composite_and_difference(
    predictions: Predictions, pair: Pair, image: NDArray[np.uint8], hole: NDArray[np.bool_]
) -> dict[str, str]:
    if pair.stem not in predictions.files:
        return {"note": "its image is no longer there"}
    try:
        composite = np.where(hole[..., None], predictions.read(pair, hole.shape), image)
    except InpaintError as error:
        return {"note": str(error)}
    difference = difference_map(composite, image, hole)
    return {"composite": image_uri(composite), "difference": image_uri(difference)}


def _find_task(report: Report) -> Task:
    if report.images is None or report.masks is None:
        raise DataError("the report does not say where they lie")
    how = {"size": report.resized_to, "cycle_masks": report.cycled_masks, "allow_missing": True}
    return find_task(Path(report.images), Path(report.masks), **how)


def _hatched(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with stripes in the hole: no photo has them, so they read as missing."""
    rows, columns = np.indices(hole.shape)
    width = max(4, min(hole.shape) // 32)
    stripes = np.where((rows + columns) // width % 2, 244, 214).astype(np.uint8)
    return np.where(hole[..., None], stripes[..., None], image)
