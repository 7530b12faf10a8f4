"""Feature networks: recorded files, where they are looked for, hashes, fetching, and the command for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eval.__main__ import main
from eval.measures import networks
from eval.measures.networks import NETWORKS, WeightsFile, fetch_file, find_file, why_absent
from eval.measures.protocols import PROTOCOLS, columns_of
from inpaint.errors import CheckpointError
from inpaint.weights import ModelEntry, PublishedFile, catalogue, find_model
from tests.weights.server import Server

for package in ("torchvision", "lpips", "pytorch_fid"):
    pytest.importorskip(package)

ALEX = NETWORKS["lpips-alex"]
FILE = ALEX.files[0]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["weights", *map(str, arguments)])


@pytest.fixture
def served(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Server, WeightsFile]]:
    """A server that has the file of the one network there is."""
    content = b"weights of AlexNet"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INPAINT_OFFLINE")
    with Server() as server:
        server.files["tiny.pth"] = content
        published = PublishedFile("tiny.pth", (server.url("tiny.pth"),), digest)
        entry = ModelEntry("tiny", "network", "", "BSD", 1, (("tiny.pth",),), files=(published,))
        monkeypatch.setattr(catalogue, "_read_catalogue", lambda path: [entry])
        file = WeightsFile("tiny.pth", digest, "tiny")
        monkeypatch.setattr(networks, "NETWORKS", {"lpips-alex": replace(ALEX, files=(file,))})
        yield server, file


def test_every_network_has_files_with_hashes_and_columns() -> None:
    assert {definition for each in PROTOCOLS.values() for d in each for definition in d.networks} == set(
        NETWORKS
    )
    for key, network in NETWORKS.items():
        assert columns_of(key) and network.files
        for file in network.files:
            assert re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", file.sha256)
            if len(file.sha256) == 8:  # all that is published: torch.hub's names carry the first digits
                assert f"-{file.sha256}." in file.name
            if file.model:  # the catalogue has the same file
                (published,) = find_model(file.model).files
                assert published.name == file.name and published.sha256 == file.sha256


def test_folders_of_ones_own_come_before_torch_hubs(tmp_path: Path, empty_hub: Path) -> None:
    assert find_file(ALEX, []) is None and find_file(ALEX, [tmp_path]) is None
    empty_hub.mkdir(parents=True)
    (empty_hub / FILE.name).touch()
    assert find_file(ALEX, [tmp_path]).path == empty_hub / FILE.name
    (tmp_path / FILE.name).touch()
    assert find_file(ALEX, [tmp_path / "none", tmp_path]).path == tmp_path / FILE.name
    assert why_absent(ALEX, [tmp_path]) is None


def test_what_is_absent_says_how_to_get_it(tmp_path: Path, empty_hub: Path) -> None:
    told = why_absent(ALEX, [tmp_path])
    assert told is not None and FILE.name in told and told.endswith("`python -m eval weights --fetch`")
    assert (why_absent(NETWORKS["squeezenet-caffe"], []) or "").endswith("--weights DIR")


def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path, empty_hub: Path) -> None:
    (tmp_path / FILE.name).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"alexnet.*SHA-256 [0-9a-f]{12}.*expected 7be5be79.*; delete"):
        find_file(ALEX, [tmp_path]).check()


def test_the_command_lists_and_fetches_once(served: tuple[Server, WeightsFile], tmp_path: Path) -> None:
    server, file = served
    listed = run("--weights", tmp_path)
    assert listed.exit_code == 0 and "tiny.pth: not here; tiny of `inpaint models`" in listed.stdout
    assert listed.stdout.startswith("AlexNet, torchvision: LPIPS (alex)\n")
    assert f"sha256 {file.sha256}" in listed.stdout
    path = tmp_path / "cache" / "files" / "tiny.pth"
    for _ in range(2):
        fetched = run("--fetch")
        assert fetched.exit_code == 0 and f"  {path}\n  sha256 {file.sha256}" in fetched.stdout
    assert len(server.asked) == 1
    path.write_bytes(b"something else")
    changed = run()
    assert changed.exit_code == 2 and f"expected {file.sha256[:12]}...; delete it" in changed.stderr
    path.unlink()
    server.files["tiny.pth"] = b"something else"
    refused = run("--fetch")
    assert refused.exit_code == 2 and "gives another file: got sha256" in refused.stderr and not path.exists()
    assert fetch_file(NETWORKS["squeezenet-caffe"]) is None
