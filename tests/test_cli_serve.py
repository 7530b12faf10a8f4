"""``inpaint serve`` before a server starts: its options and messages."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inpaint.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out + output.err


def test_a_login_needs_both_parts(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    for wrong in ("ann", "ann:", ":secret"):
        code, told = run(capsys, "--login", wrong)
        assert code == 2 and "expected NAME:PASSWORD" in told


def test_without_gradio_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.split(".")[0] == "gradio":
            raise ModuleNotFoundError("No module named 'gradio'", name="gradio")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for module in [name for name in sys.modules if name.startswith(("inpaint.web", "gradio"))]:
        monkeypatch.delitem(sys.modules, module)
    code, told = run(capsys)
    assert code == 2 and "pip install 'mae-acr-inpaint[app]'" in told


def test_app_py_is_the_same_command() -> None:
    app = Path(__file__).parents[1] / "app.py"
    answer = subprocess.run([sys.executable, str(app), "--help"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0 and "Open a web page" in answer.stdout
