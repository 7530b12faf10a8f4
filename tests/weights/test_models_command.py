"""``inpaint models``: what it lists, fetches, checks and removes; and what it asks first."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inpaint.cli import main
from inpaint.weights import ModelEntry
from tests.weights.server import Server


def call(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(main, ["models", *words], input=answer)


@pytest.fixture
def entry(publish: Callable[..., ModelEntry], know: Callable[..., None]) -> ModelEntry:
    entry = publish("small", {"small.bin": b"weights"})
    know(entry)
    return entry


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runner gives to a command to read from is a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)


def test_they_are_listed_by_kind_with_or_without_the_word_list() -> None:
    listed = call("list")
    assert listed.exit_code == 0 and call().stdout == listed.stdout
    lines = listed.stdout.splitlines()
    headings = [line for line in lines if line.endswith(":")]
    assert headings[0] == "To inpaint with (--model):" and len(headings) == 5
    (line,) = [line for line in lines if line.startswith("big-lama ")]
    assert "204.0 MB" in line and "Apache-2.0" in line and "to fetch" in line
    first = lines[lines.index("Classifiers (inpaint backbones run):") + 1]
    assert first.startswith("convnext_atto.d2_in1k ") and "14.8 MB" in first and "Apache-2.0" in first


def test_info_says_what_is_not_verified() -> None:
    told = call("info", "lama-places").stdout.splitlines()
    assert told[0].startswith("lama-places: LaMa-Fourier") and "here: no" in told
    assert "  unverified: no second source confirms this file" in told
    assert any(line.startswith("  note: the address is inferred") for line in told)
    assert "licence: CC BY-NC 4.0, for non-commercial use only" in call("info", "mae-base-visualize").stdout
    assert "  sha256 not public; recorded at the first download" in call("info", "mae-base-visualize").stdout
    assert "unverified" not in call("info", "migan").stdout
    assert call("info", "big-lame").stderr.startswith(
        "error: unknown model 'big-lame'; did you mean big-lama?"
    )


def test_download_verify_path_remove(entry: ModelEntry, server: Server, cache: Path) -> None:
    file = cache / "files" / "small.bin"
    assert call("path").stdout == f"{cache}\n"
    assert call("path", "small").stderr == (
        "error: small is not on this machine; get it with: inpaint models download small\n"
    )
    assert call("verify", "small").exit_code == 1
    assert call("download", "small", "smell").exit_code == 2 and server.asked == []  # names are checked first
    assert call("download", "small").stdout == f"small: {file}\n"
    assert call("path", "small").stdout == f"{file}\n"
    assert " here " in next(line for line in call().stdout.splitlines() if line.startswith("small "))
    assert f"small: ok, {file}" in call("verify").stdout and call("verify").exit_code == 0
    file.write_bytes(b"weighty")
    failed = call("verify", "small")
    assert failed.exit_code == 1 and failed.stdout.startswith(
        f"small: failed: {file} is not the file of small"
    )
    (cache / "files" / ".small.bin.0123456789ab.part").write_bytes(b"wei")
    assert call("remove", "small").stdout.count("small: removed ") == 2
    assert call("remove", "small").stdout == "small: nothing\n" and not file.exists()


class TestLicence:
    @pytest.fixture(autouse=True)
    def entry(self, publish: Callable[..., ModelEntry], know: Callable[..., None]) -> ModelEntry:
        entry = replace(publish("bound", {"bound.bin": b"x"}), non_commercial=True, licence="CC BY-NC 4.0")
        know(entry)
        return entry

    def test_without_a_terminal_it_is_refused_in_one_line(self, server: Server) -> None:
        done = call("download", "bound", answer="y\n")
        assert done.exit_code == 2 and server.asked == []
        assert done.stderr == (
            "error: bound is published under CC BY-NC 4.0: for non-commercial use only; to accept: "
            "inpaint models download bound --accept-licence\n"
        )

    def test_the_option_accepts(self, server: Server) -> None:
        assert call("download", "bound", "--accept-licence").exit_code == 0 and len(server.asked) == 1

    @pytest.mark.parametrize("answer", ["y\n", "n\n"])
    def test_at_a_terminal_it_is_asked_once(self, server: Server, terminal: None, answer: str) -> None:
        done = call("download", "bound", answer=answer)
        assert "bound is published under CC BY-NC 4.0: for non-commercial use only (https://" in done.stderr
        assert (done.exit_code == 0) == (answer == "y\n") and len(server.asked) == done.stdout.count(
            "bound: "
        )
        if answer == "y\n":
            assert call("download", "bound").stderr == ""


def test_a_terminal_gets_a_bar(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich import console

    from inpaint.weights.terminal import fetch_in_terminal

    out = io.StringIO()
    plain = console.Console
    monkeypatch.setattr(
        console, "Console", lambda **_: plain(file=out, force_terminal=True, width=100, legacy_windows=False)
    )
    assert fetch_in_terminal("small").exists()
    assert "small.bin" in out.getvalue() and "7/7 bytes" in out.getvalue()
