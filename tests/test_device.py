"""Choosing where to compute."""

from __future__ import annotations

import pytest
import torch

from inpaint.device import choose_device
from inpaint.errors import InpaintError


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "mps", "xpu"):
        with pytest.raises(InpaintError, match=f"'{name}' is not available.*auto or cpu"):
            choose_device(name)
    with pytest.raises(InpaintError, match="expected auto, cpu, cuda"):
        choose_device("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(InpaintError, match="not available"):
        choose_device("cuda:1")
