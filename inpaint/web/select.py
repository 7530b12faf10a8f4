"""From a rough hint at an object to its mask: by EfficientSAM where its weights are here, else by GrabCut."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inpaint.errors import InpaintError, MaskError
from inpaint.web.masks import Coordinate, Holes, Strict

SELECTOR = "efficientsam-ti"
"""The network's name in the catalogue of weights."""
_GRABCUT_SIDE = 480  # its time grows with the pixels it sees
_SAM_SIDE = 1024  # what EfficientSAM was trained on
_SAM_POINTS = 6  # what its published file takes
_NOTHING = "nothing stands out from its surroundings here: paint over it instead"
Pixels = NDArray[np.uint8]


class Rough(Strict):
    """A rough hint at an object: a box around it, a scribble over it, or a click on it."""

    kind: Literal["box", "scribble", "click"]
    points: list[tuple[Coordinate, Coordinate]] = Field(min_length=1, max_length=20_000)
    """Two opposite corners, a line, or a point."""
    radius: float = Field(default=1, ge=0.3, le=10_000)
    """Of the scribble's brush."""


def select_object(pixels: Pixels, rough: Rough, weights: Path | None = None) -> Holes:
    """Cut an object out of the photo ``(H, W, 3)`` by a rough hint: ``(H, W)`` bool.

    ``weights`` are those of EfficientSAM, as OpenCV publishes them; None for GrabCut, which takes no click.

    Raises:
        MaskError: the hint lies outside the photo, is too small, or nothing stands out there.
        InpaintError: the weights cannot be used.

    Source:
        Rother et al., *GrabCut* (SIGGRAPH 2004), as in OpenCV; Xiong et al., *EfficientSAM* (CVPR 2024).
    """
    height, width = pixels.shape[:2]
    points = np.array(rough.points)
    reach = rough.radius if rough.kind == "scribble" else 0.0
    (left, top), (right, bottom) = points.min(axis=0) - reach, points.max(axis=0) + reach
    if rough.kind == "click":
        if weights is None:
            raise MaskError("selecting by a click needs a network that is not here: draw a box or a scribble")
        if not (0 <= left < width and 0 <= top < height):
            raise MaskError("the click lies outside the photo")
        return _segment(pixels, rough, points, weights)
    left, right = max(0, int(left)), min(width, int(np.ceil(right)))
    top, bottom = max(0, int(top)), min(height, int(np.ceil(bottom)))
    if right - left < 4 or bottom - top < 4:
        raise MaskError("the selection is too small: draw a box around the object, or a longer line over it")
    # Background is learned from a frame around the box; a scribble may be much smaller than its object.
    share = (0.25 if rough.kind == "box" else 0.8) if weights is None else 1.0
    margin = max(8, int(max(right - left, bottom - top) * share))
    y0, x0 = max(0, top - margin), max(0, left - margin)
    part = pixels[y0 : min(height, bottom + margin), x0 : min(width, right + margin)]
    found = np.zeros((height, width), np.bool_)
    inside = found[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
    points = points - (x0, y0)
    inside[:] = _grab_cut(part, rough, points) if weights is None else _segment(part, rough, points, weights)
    return found


def with_rim(found: Holes) -> Holes:
    """An object and its soft edge, a hundredth of its size: without it an outline would stay in the photo."""
    reach = max(2, *(round(np.ptp(places) / 100) for places in np.nonzero(found)))
    return cv2.dilate(found.view(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0


def _segment(part: Pixels, rough: Rough, points: NDArray[np.float64], weights: Path) -> Holes:
    """What EfficientSAM takes for the object: of its proposals the one that it trusts most."""
    if rough.kind == "box":
        chosen, labels = np.stack([points.min(axis=0), points.max(axis=0)]), [2, 3]  # corners
    else:
        chosen = points[np.linspace(0, len(points) - 1, min(len(points), _SAM_POINTS)).round().astype(int)]
        labels = [1] * len(chosen)  # points of the object
    height, width = part.shape[:2]
    given = np.zeros((1, 1, _SAM_POINTS, 2), np.float32)
    given[0, 0, : len(chosen)] = chosen * _SAM_SIDE / (width, height)
    kinds = np.full((1, 1, _SAM_POINTS, 1), -1, np.float32)  # -1 is no point
    kinds[0, 0, : len(chosen), 0] = labels
    shrinks = max(height, width) > _SAM_SIDE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square = cv2.resize(part, (_SAM_SIDE, _SAM_SIDE), interpolation=method)
    image = square.transpose(2, 0, 1)[None].astype(np.float32) / 255
    network = _read_network(weights)
    try:
        names = ("batched_images", "batched_point_coords", "batched_point_labels")
        for name, value in zip(names, (image, given, kinds), strict=True):
            network.setInput(value, name)
        logits, trust = network.forward(["output_masks", "iou_predictions"])
    except cv2.error as error:
        raise InpaintError(f"{weights.name} cannot be run by OpenCV {cv2.__version__}: {error.err}") from None
    best = np.asarray(logits[0, 0, int(np.argmax(trust[0, 0]))], np.float32)
    cut = cv2.resize(best, (width, height), interpolation=cv2.INTER_LINEAR) >= 0
    if not cut.any() or cut.all():
        raise MaskError(_NOTHING)
    return cut


@lru_cache(maxsize=1)
def _read_network(weights: Path) -> Any:
    try:
        return cv2.dnn.readNet(str(weights))
    except cv2.error:
        raise InpaintError(f"{weights.name} is not a network that OpenCV can read; fetch it again") from None


def _grab_cut(part: Pixels, rough: Rough, points: NDArray[np.float64]) -> Holes:
    scale = min(1.0, _GRABCUT_SIDE / max(part.shape[:2]))
    size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    hint = _hint(rough, points * scale, size, scale)
    if (hint & 1).all() or not (hint & 1).any():
        raise MaskError("the selection covers the whole photo: draw it closer to the object")
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(small), hint, None, *models, 5, cv2.GC_INIT_WITH_MASK)  # type: ignore
    cut = _tidy((hint & 1).astype(np.uint8))
    if not cut.any():
        raise MaskError(_NOTHING)
    return cv2.resize(cut.astype(np.float32), part.shape[1::-1], interpolation=cv2.INTER_LINEAR) >= 0.5


def _hint(rough: Rough, points: NDArray[np.float64], size: tuple[int, int], scale: float) -> Any:
    """GrabCut's starting labels: sure background at the rim, sure foreground under a scribble."""
    hint = np.full(size[::-1], cv2.GC_BGD, np.uint8)
    corners = np.rint(points).astype(np.int32)
    if rough.kind == "box":
        cv2.rectangle(hint, corners.min(axis=0).tolist(), corners.max(axis=0).tolist(), cv2.GC_PR_FGD, -1)
        return hint
    rim = max(2, min(size) // 40)
    hint[rim:-rim, rim:-rim] = cv2.GC_PR_BGD
    thickness = max(2, round(2 * rough.radius * scale))
    hull = cv2.convexHull(corners[:, None])
    cv2.polylines(hint, [hull], True, cv2.GC_PR_FGD, 3 * thickness)
    cv2.fillPoly(hint, [hull], cv2.GC_PR_FGD)
    cv2.polylines(hint, [corners[:, None]], False, cv2.GC_FGD, thickness)
    return hint


def _tidy(cut: Any) -> Any:
    """Without specks and pinholes: parts under a twentieth of the largest go, small holes close."""
    cut = cv2.morphologyEx(cut, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cut)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not len(areas):
        return cut
    kept = np.isin(labels, 1 + np.flatnonzero(areas * 20 >= areas.max())).astype(np.uint8)
    return cv2.morphologyEx(kept, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
