"""From scores to a table, with 95 % intervals and the difference from the best floor."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.protocol import FLOORS, MEASURES, SIZE, Measure, Scores, ValidationSet
from inpaint.errors import InpaintError

RESAMPLES = 2000
LIMITS_NOTE = (
    "sqd: SqueezeNet feature distance. fmd: Frechet distance on MobileNetV2 features, biased upward at small "
    "N: compare only at equal N. Neither is LPIPS or FID."
)


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean over images.

    The same seed draws the same images for every measure and model of equal N.

    Args:
        values: ``(N,)``.
        seed: of the resampling.

    Returns:
        Lower and upper end; NaN where a value is infinite (an image filled perfectly).
    """
    if not np.isfinite(values).all():
        return math.nan, math.nan
    chosen = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def build_report(rows: Mapping[str, Scores], validation: ValidationSet, note: str) -> dict[str, Any]:
    """Everything measured, as plain data for JSON.

    Args:
        rows: scores by name; the names of ``FLOORS`` are the floors.
        validation: what was filled.
        note: the models' origin, the device: what a reader needs to repeat it.

    Returns:
        ``protocol``, ``n``, ``digest``, ``rows`` (mean, interval, values per image) and, where there are
        floors and models, ``against_floors``: per model and measure the best floor and the paired difference.
    """
    report: dict[str, Any] = {
        "protocol": f"fixed validation protocol, {SIZE} x {SIZE}, composited, 8 bits",
        "n": len(validation.names),
        "hole_ratio": validation.masks.double().mean().item(),
        "digest": validation.digest(),
        "torch": torch.__version__,
        "note": note,
        "measures": {
            m.key: "higher is better" if m.higher_is_better else "lower is better" for m in MEASURES
        },
        "interval": f"95 %, percentile bootstrap over images, {RESAMPLES} resamples",
        "names": list(validation.names),
        "rows": {name: _row(scores) for name, scores in rows.items()},
        "against_floors": against_floors(rows),
    }
    return report


def against_floors(rows: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """Compare every model with the best floor of each measure, image by image.

    Args:
        rows: scores by name.

    Returns:
        ``{model: {measure: {"floor", "difference", "interval" (per-image measures), "better"}}}``;
        differences are model minus floor; empty without floors.
    """
    floors = {name: scores for name, scores in rows.items() if name in FLOORS}
    table: dict[str, dict[str, Any]] = {}
    for name, scores in rows.items():
        if name in floors or not floors:
            continue
        table[name] = {}
        for measure in MEASURES:
            sign = 1 if measure.higher_is_better else -1
            floor = max(floors, key=lambda floor, m=measure, s=sign: s * floors[floor].mean(m))
            difference = scores.mean(measure) - floors[floor].mean(measure)
            entry: dict[str, Any] = {
                "floor": floor,
                "difference": difference,
                "better": sign * difference > 0,
            }
            if measure.per_image:
                pairs = scores.per_image[measure.key] - floors[floor].per_image[measure.key]
                entry["interval"] = bootstrap_interval(pairs.numpy())
            table[name][measure.key] = entry
    return table


def to_markdown(report: Mapping[str, Any]) -> str:
    """A table to print or to paste, and one line per model on the floors.

    Args:
        report: of ``build_report``.

    Returns:
        Markdown, ending in a newline.
    """
    titles = [f"{m.title} {'↑' if m.higher_is_better else '↓'}" for m in MEASURES]
    lines = ["| fill | N | " + " | ".join(titles) + " | s/image |", "|---" * (len(MEASURES) + 3) + "|"]
    for name, row in report["rows"].items():
        cells = [_format(row[measure.key]["mean"], measure) for measure in MEASURES]
        lines.append(f"| {name} | {report['n']} | {' | '.join(cells)} | {row['seconds_per_image']:.3f} |")
    lines += [
        "",
        f"{report['protocol'].capitalize()}; pictures and masks {report['digest']}. {report['note']}",
    ]
    lines += [LIMITS_NOTE]
    for name, measures in report["against_floors"].items():
        parts = []
        for measure in MEASURES:
            entry = measures[measure.key]
            interval = ""
            if measure.per_image:
                interval = " [{}, {}]".format(
                    *(_format(end, measure, sign=True) for end in entry["interval"])
                )
            difference = _format(entry["difference"], measure, sign=True)
            parts.append(f"{measure.title} {difference}{interval} ({entry['floor']})")
        beaten = [measure.title for measure in MEASURES if measures[measure.key]["better"]]
        verdict = f"better in {', '.join(beaten)}" if beaten else "better in nothing"
        lines += [
            "",
            f"**{name}** against the best floor of each measure: {verdict}.",
            "- " + "\n- ".join(parts),
        ]
    return "\n".join(lines) + "\n"


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write JSON or Markdown, by the file's suffix; atomic.

    Args:
        report: of ``build_report``.
        path: ends in .json or .md.

    Raises:
        InpaintError: another suffix, or the file cannot be written.
    """
    if path.suffix == ".json":
        content = json.dumps(_without_infinities(report), indent=1) + "\n"
    elif path.suffix == ".md":
        content = to_markdown(report)
    else:
        raise InpaintError(f"got report file {path}; expected a name ending in .md or .json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o644)  # temporary files are made private
        os.replace(file.name, path)
    except OSError as error:
        raise InpaintError(f"cannot write the report to {path}: {error.strerror}") from error


def _row(scores: Scores) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for measure in MEASURES:
        row[measure.key] = {"mean": scores.mean(measure)}
        if measure.per_image:
            values = scores.per_image[measure.key].numpy()
            row[measure.key] |= {"interval": bootstrap_interval(values), "values": values.tolist()}
    return row | {"seconds_per_image": scores.seconds_per_image}


def _format(value: float, measure: Measure, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.{measure.digits}f}"


def _without_infinities(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_infinities(entry) for key, entry in value.items()}
    return [_without_infinities(entry) for entry in value] if isinstance(value, (list, tuple)) else value
