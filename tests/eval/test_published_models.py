"""The script that confirms the published models, with a stand-in for one of them put there by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import published
from inpaint.errors import WeightsError
from inpaint.weights import ModelEntry, PublishedFile, catalogue, find_model
from tests.golden_cases.case import rebuild_weights

GOLDENS = Path(__file__).parents[1] / "goldens"


def test_it_converts_scores_and_prints_the_published_figures(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_weights: None
) -> None:
    for name in (*published.MODELS, *published.NON_COMMERCIAL):
        assert find_model(name).kind == "inpainter"
    files = tmp_path / "files"
    files.mkdir()
    state = {f"generator.{key}": value for key, value in rebuild_weights(GOLDENS, "lama_ngf8", "o1").items()}
    torch.save({"state_dict": state}, files / "lama.ckpt")
    digest = hashlib.sha256((files / "lama.ckpt").read_bytes()).hexdigest()
    file = PublishedFile("lama.ckpt", ("https://nowhere.invalid",), digest, verified=False, note="for tests")
    entry = ModelEntry(
        "lama-places", "inpainter", "", "MIT", 1, (("lama.ckpt",),), convert=True, files=(file,)
    )
    monkeypatch.setattr(catalogue, "_read_catalogue", lambda path: [entry])
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path))
    words = ["--data", str(data), "--model", "lama-places", "--device", "cpu"]
    done = CliRunner().invoke(published.main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert (
        lines[0] == f"lama-places: {tmp_path / 'models' / 'lama-places.safetensors'} (unverified: lama.ckpt)"
    )
    ours = next(line for line in lines if "lama-places" in line and line.startswith("|"))
    assert any(float(cell) > 5 for cell in ours.split("|")[2:4] if cell.strip())
    (figures,) = [line for line in lines if line.startswith("| LaMa (here lama-places) |") and "24." in line][
        :1
    ]
    assert figures.count("|") >= 4

    (tmp_path / "models" / "lama-places.safetensors").unlink()
    (files / "lama.ckpt").unlink()
    with pytest.raises(WeightsError, match="INPAINT_OFFLINE forbids fetching"):
        CliRunner().invoke(published.main, words, catch_exceptions=False)
