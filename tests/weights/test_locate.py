"""From a name or a path to a checked file: the manifest, the catalogue, the folders, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from inpaint.backbones.registry import BACKBONES
from inpaint.errors import WeightsError
from inpaint.weights import (
    ModelEntry,
    catalogue,
    find_model,
    find_model_file,
    list_models,
    locate,
)

CONTENT = b"weights of a model"


def manifest(**changes: object) -> str:
    model = {"kind": "inpainter", "shipped": True, "summary": "a small one", "licence": "Apache-2.0"}
    model |= {"megabytes": 0.1, "choices": [["small.safetensors"]]}
    file: dict[str, object] = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
    file |= changes
    tables = {"models.small": model, "files.'small.safetensors'": file}
    return "\n".join(
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))
    )


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, know: Callable[..., None]) -> Path:
    """A folder that stands in for the shipped one, with a manifest of one model; the catalogue is empty."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "manifest.toml").write_text(manifest())
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: folder)
    know()
    return folder


def test_the_shipped_models_are_right() -> None:
    entries = [entry for entry in list_models("inpainter") if entry.shipped]
    assert "acr-small" in [entry.name for entry in entries]
    for entry in entries:
        assert entry.summary and entry.licence
        if find_model_file(entry) is not None:
            assert locate(entry.name).name == f"{entry.name}.safetensors"


def test_a_name_is_found_beside_the_manifest(shipped: Path) -> None:
    (shipped / "small.safetensors").write_bytes(CONTENT)
    assert locate("small") == shipped / "small.safetensors"


def test_the_environment_folder_comes_first(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped / "small.safetensors").write_bytes(CONTENT)
    monkeypatch.setenv("INPAINT_CHECKPOINTS", str(tmp_path))
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


@pytest.mark.parametrize(("name", "hint"), [("smal", "did you mean small?"), ("x", "`inpaint models` lists")])
def test_unknown_names_get_the_nearest_one_or_the_way_to_all(shipped: Path, name: str, hint: str) -> None:
    with pytest.raises(WeightsError, match="or give a checkpoint's path") as caught:
        locate(name)
    assert str(caught.value).startswith(f"unknown model {name!r}; {hint}")


def test_paths_that_hold_no_file(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file at"):
        locate(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="no file at"):
        locate("nothing.safetensors")
    with pytest.raises(WeightsError, match="a folder at"):
        locate(tmp_path)


def test_shipped_weights_that_are_nowhere(shipped: Path, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"not on this machine\. By hand: put small\.safetensors .*files;"):
        locate("small")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (manifest(colour="red"), r"unknown key files\.small\.safetensors\.colour"),
        (manifest(size="18"), r"small\.safetensors\.size is '18', expected a whole number"),
        ("[models.small]\nkind = 'inpainter'\n[files]\n", r"models\.small\.summary is missing"),
        ("[small", r"manifest\.toml: Expected"),
    ],
)
def test_a_wrong_manifest_is_refused(shipped: Path, content: str, told: str) -> None:
    (shipped / "manifest.toml").write_text(content)
    with pytest.raises(WeightsError, match=told):
        list_models()


def test_a_missing_manifest_is_refused(shipped: Path) -> None:
    (shipped / "manifest.toml").unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        list_models()


class TestCatalogue:
    def test_it_is_whole(self) -> None:
        entries = [entry for entry in list_models() if not entry.shipped]
        assert len({entry.name for entry in list_models()}) == len(list_models())
        wanted = {
            "big-lama", "lama-places", "acr-base-places2", "migan", "mae-base-visualize",
            "mae-large-visualize", "convnext_atto.d2_in1k", "inception-fid", "alexnet", "vgg16", "squeezenet",
            "ade20k",
        }  # fmt: skip
        assert wanted <= {entry.name for entry in entries}
        for entry in entries:
            assert entry.summary and entry.megabytes > 0 and all(entry.options())
            assert entry.non_commercial == ("NC" in entry.licence)
            assert entry.convert or all(len(choice) == 1 for choice in entry.choices)
            for file in entry.files:
                assert file.sources and all(
                    source.startswith(("https://", "http://")) for source in file.sources
                )
                assert set(file.sha256) <= set("0123456789abcdef") and len(file.sha256) in (0, 8, 64)
                assert file.verified or file.note  # what no second source confirms says why

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[models.a]\nkind = 'network'\n[files]\n", r"a\.summary is missing"),
            ("[models.a]\nkind = 'x'\n[files]\n", "expected one of 'inpainter', 'prior'"),
            ("[models]\n[files.a]\nsum = 'x'\n", r"unknown key files\.a\.sum"),
        ],
    )
    def test_a_wrong_one_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
    ) -> None:
        monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path / "catalogue.toml")
        (tmp_path / "catalogue.toml").write_text(text)
        with pytest.raises(WeightsError, match=told):
            list_models()

    def test_every_backbone_of_the_registry_is_in_it(self) -> None:
        for backbone in BACKBONES:
            entry = find_model(backbone.pretrained)
            assert entry.kind == "backbone" and entry.choices[0] == (backbone.file,)
            assert entry.licence.replace(" ", "-") == backbone.licence


def test_an_entry_names_its_files_in_each_choice(publish: Callable[..., ModelEntry]) -> None:
    entry = publish("two", {"a.bin": b"a", "b.bin": b"b"}, choices=(("b.bin",), ("a.bin", "b.bin")))
    assert [[file.name for file in files] for files in entry.options()] == [["b.bin"], ["a.bin", "b.bin"]]
