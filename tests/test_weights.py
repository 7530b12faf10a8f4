"""From a name to a checked file: the manifest, the folders, the hub, and what is refused."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from inpaint import weights
from inpaint.errors import WeightsError
from inpaint.weights import list_models, locate

CONTENT = b"weights of a model"


def entry(**changes: object) -> str:
    values = {
        "file": "small.safetensors",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "size": len(CONTENT),
        "licence": "Apache-2.0",
        "summary": "a small one",
        **changes,
    }
    lines = [f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in values.items()]
    return "\n".join(["[small]", *lines, ""])


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the shipped one, with a manifest of one model."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "manifest.toml").write_text(entry())
    monkeypatch.setattr(weights, "_shipped_folder", lambda: folder)
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(weights.OFFLINE_VARIABLE, raising=False)
    return folder


def test_the_real_manifest_reads_and_what_it_ships_is_right() -> None:
    entries = list_models()
    assert "acr-small" in [entry.name for entry in entries]
    for entry in entries:
        assert len(entry.sha256) == 64 and entry.summary and entry.licence
        if entry.path() is not None:
            assert locate(entry.name).name == entry.file


def test_a_name_is_found_beside_the_manifest(shipped: Path) -> None:
    (shipped / "small.safetensors").write_bytes(CONTENT)
    assert locate("small") == shipped / "small.safetensors"


def test_the_environment_folder_comes_first(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped / "small.safetensors").write_bytes(CONTENT)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    assert locate("small") == shipped / "small.safetensors"
    (tmp_path / "small.safetensors").write_bytes(CONTENT)
    assert locate("small") == tmp_path / "small.safetensors"


def test_a_file_wins_over_a_name_and_is_not_checked(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").write_bytes(b"mine")
    assert locate("small") == Path("small")
    assert locate(tmp_path / "small") == tmp_path / "small"


@pytest.mark.parametrize(
    ("content", "told"), [(CONTENT[:-1], "got 17 bytes, expected 18"), (CONTENT[::-1], "got sha256 ")]
)
def test_another_file_under_that_name_is_refused(shipped: Path, content: bytes, told: str) -> None:
    (shipped / "small.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        locate("small")


def test_unknown_names_list_the_known_ones_and_the_way_out(shipped: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"unknown model 'smal'; known are small; or give a checkpoint's path"
    ):
        locate("smal")


def test_paths_that_hold_no_file(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file at"):
        locate(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="no file at"):
        locate("nothing.safetensors")
    with pytest.raises(WeightsError, match="a folder at"):
        locate(tmp_path)


def test_weights_that_are_nowhere(shipped: Path) -> None:
    with pytest.raises(WeightsError, match=f"not on this machine; put the file into .*{shipped.name}"):
        locate("small")


class TestHub:
    @pytest.fixture(autouse=True)
    def on_hub(self, shipped: Path) -> None:
        (shipped / "manifest.toml").write_text(entry(repo="somebody/small", revision="abc"))

    def put_hub(self, monkeypatch: pytest.MonkeyPatch, download: object) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))

    def test_it_is_fetched_and_checked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def download(*args: str, **options: str) -> str:
            asked.append((args, options))
            (tmp_path / "fetched").write_bytes(CONTENT)
            return str(tmp_path / "fetched")

        self.put_hub(monkeypatch, download)
        assert locate("small") == tmp_path / "fetched"
        assert asked == [(("somebody/small", "small.safetensors"), {"revision": "abc"})]

    def test_a_wrong_file_from_the_hub_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "fetched").write_bytes(b"another")
        self.put_hub(monkeypatch, lambda *args, **options: str(tmp_path / "fetched"))
        with pytest.raises(WeightsError, match="is not the file of model small"):
            locate("small")

    def test_offline_never_asks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put_hub(monkeypatch, lambda *args, **options: pytest.fail("asked the hub"))
        monkeypatch.setenv(weights.OFFLINE_VARIABLE, "1")
        with pytest.raises(WeightsError, match="INPAINT_OFFLINE=1 forbids fetching"):
            locate("small")

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(WeightsError, match="pip install huggingface_hub"):
            locate("small")

    def test_a_failing_net_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def download(*args: str, **options: str) -> str:
            raise ConnectionError("no route\nto host")

        self.put_hub(monkeypatch, download)
        with pytest.raises(WeightsError, match=r"fetched from somebody/small: no route$"):
            locate("small")


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (entry(colour="red"), "mistyped keys: colour"),
        (entry(size="18"), "mistyped keys: size"),
        ('[small]\nfile = "a"\n', "mistyped keys: sha256, size, licence, summary"),
        (entry(file="../small.safetensors"), "a name without a folder"),
        ("small = 3\n", "small is not a table"),
        ("[small", "not valid TOML"),
    ],
)
def test_a_wrong_manifest_is_refused(shipped: Path, manifest: str, told: str) -> None:
    (shipped / "manifest.toml").write_text(manifest)
    with pytest.raises(WeightsError, match=told):
        list_models()


def test_a_missing_manifest_is_refused(shipped: Path) -> None:
    (shipped / "manifest.toml").unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        list_models()
