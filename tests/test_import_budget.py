"""The command line starts without the heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "cv2", "kornia", "gradio", "numpy", "scipy", "timm", "ray")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("inpaint", HEAVY),
        ("inpaint.errors", HEAVY),
        ("inpaint.cli", HEAVY),
        ("inpaint.images", ("torch", "torchvision", "kornia", "gradio", "timm", "ray")),
    ],
)
def test_import_loads_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_missing_photo_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from inpaint.cli import main
try:
    main(["run", "missing.png", "mask.png", "-o", "result.png"])
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.strip()) == (2, "False")
    assert "missing.png" in done.stderr
