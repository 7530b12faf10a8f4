"""No weights on this machine count here, and no network: what the tests see is what they made."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def weights_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where weights are looked for: empty, as the hub's cache is."""
    folder = tmp_path_factory.mktemp("weights")
    monkeypatch.setenv("INPAINT_CHECKPOINTS", str(folder))
    monkeypatch.setenv("INPAINT_OFFLINE", "1")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    return folder
