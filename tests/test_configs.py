"""Every shipped config is read by the code it is for, and says how to run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inpaint.models.presets import INPAINTER_PRESETS, MAE_PRESETS
from inpaint.train.config import AcrRunConfig, MaeRunConfig, read_config

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))
    text = path.read_text()
    kind = "mae" if path.stem.startswith("mae") else "acr"
    config = read_config(path, MaeRunConfig if kind == "mae" else AcrRunConfig)
    assert config.preset in (MAE_PRESETS if kind == "mae" else INPAINTER_PRESETS)
    assert text.startswith("#") and f"inpaint train {kind} configs/{path.name}" in text


def test_there_are_configs():
    assert CONFIGS
