"""Record what a user gets, and compare two records: did a change of the code change a result?

    python benchmarks/unchanged.py before.json                       # at the old commit
    python benchmarks/unchanged.py after.json --against before.json   # at the new one

Recorded are hashes of the pixels of ten fills at 256 pixels, which reference cases pass, and all help texts.
The exit code is 1 if a fill or a case differs. Losses of seeded smoke runs are a test of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from click.testing import CliRunner
from PIL import Image

from inpaint.cli import main as inpaint

ROOT = Path(__file__).resolve().parents[1]
SIDE, FILLS = 256, 10


def hash_fills(folder: Path) -> dict[str, str]:
    """SHA-256 of the pixels of fills of the example photo's crops, with seeded lines as holes."""
    photo = Image.open(ROOT / "examples" / "photo.jpg").convert("RGB")
    random, hashes = np.random.default_rng(0), {}
    for number in range(FILLS):
        left, top = (int(random.integers(0, length - SIDE + 1)) for length in photo.size)
        photo.crop((left, top, left + SIDE, top + SIDE)).save(folder / "image.png")
        mask = np.zeros((SIDE, SIDE), np.uint8)
        points = random.integers(0, SIDE, (4, 2)).astype(np.int32)
        cv2.polylines(mask, [points], False, 255, int(random.integers(8, 48)))
        Image.fromarray(mask).save(folder / "mask.png")
        model = ("acr-small", "lama-small")[number % 2]
        files = [str(folder / name) for name in ("image.png", "mask.png", "out.png")]
        words = ["run", *files[:2], "-o", files[2], "--dilate", "0", "--model", model, "--device", "cpu"]
        result = CliRunner().invoke(inpaint, words)
        assert result.exit_code == 0, result.output
        pixels = np.asarray(Image.open(folder / "out.png")).tobytes()
        hashes[f"{number} {model}"] = hashlib.sha256(pixels).hexdigest()
    return hashes


def help_texts() -> dict[str, str]:
    """`--help` of every command that the first page of help lists."""
    overview = CliRunner().invoke(inpaint, ["--help"]).output
    names = re.findall(r"^  ([a-z]+) ", overview.split("Commands:")[1], flags=re.MULTILINE)
    return {name: CliRunner().invoke(inpaint, [name, "--help"]).output for name in names}


def count_goldens(folder: Path) -> dict[str, str]:
    """Error of every reference case of a folder, or that it failed."""
    sys.path.insert(0, str(ROOT))
    from tests.golden_cases.registry import find_checker
    from tests.run_goldens import find_cases, run_case

    verdicts = {}
    for case in find_cases(folder):
        if checker := find_checker(case):
            _, error, tolerance = run_case(case, checker)
            verdicts[case.name] = "passed" if error <= tolerance else "failed"
    return verdicts


@click.command()
@click.argument("record", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Record to compare with.")
@click.option("--goldens", type=click.Path(path_type=Path), default=ROOT / "tests" / "goldens")
def main(record: Path, against: Path | None, goldens: Path) -> None:
    """Write RECORD; with --against, list what differs."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"fills": hash_fills(Path(folder))}
    found |= {"goldens": count_goldens(goldens), "help": help_texts()}
    record.write_text(json.dumps(found, indent=1), encoding="utf-8")
    counts = {part: len(values) for part, values in found.items()}
    click.echo(f"{record}: {counts}, goldens passed: {list(found['goldens'].values()).count('passed')}")
    if against is not None:
        before = json.loads(against.read_text(encoding="utf-8"))
        differing = [
            f"{part}: {name}"
            for part, values in found.items()
            for name in sorted(before[part].keys() | values.keys())
            if before[part].get(name) != values.get(name)
        ]
        click.echo("\n".join(differing) or "nothing differs")
        raise SystemExit(1 if any(not line.startswith("help") for line in differing) else 0)


if __name__ == "__main__":
    main()
