"""Choosing where to compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from inpaint.cli import main
from inpaint.device import choose_device
from inpaint.errors import InpaintError

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "mps", "xpu"):
        with pytest.raises(InpaintError, match=f"'{name}' is not available.*auto or cpu"):
            choose_device(name)
    for wrong in ("gpu", "", None, 1.5):
        with pytest.raises(InpaintError, match=f"got device {wrong!r}, expected auto, cpu, cuda"):
            choose_device(wrong)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(InpaintError, match="not available"):
        choose_device("cuda:1")


@pytest.mark.parametrize(
    "command",
    [
        "run a.png b.png -o c.png",
        "batch a b -o c",
        "serve",
        "train configs/smoke_mae.toml",
        "backbones bench",
    ],
)
def test_every_command_takes_the_same_devices(command: str) -> None:
    options = [*command.split(), "--device"]
    for bad in ("cuda:", "gpu", "CUDA:1", "cuda:1x"):
        result = CliRunner().invoke(main, [*options, bad])
        assert result.exit_code == 2 and "expected auto, cpu, cuda, cuda:N or mps" in result.output


def test_a_device_this_machine_lacks_costs_one_line(tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    command = ["run", str(EXAMPLES / "photo.jpg"), str(EXAMPLES / "mask.png"), "-o", str(output)]
    result = CliRunner().invoke(main, [*command, "--device", "cuda:9"])
    assert result.exit_code == 2 and not output.exists()
    assert result.stderr == "error: device 'cuda:9' is not available on this machine; use auto or cpu\n"
