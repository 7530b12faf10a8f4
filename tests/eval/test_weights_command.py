"""Feature networks: recorded files, where they are looked for, hashes, fetching, and the command for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eval.__main__ import main
from eval.measures import networks
from eval.measures.networks import NETWORKS, WeightsFile, find_file, why_absent
from eval.measures.protocols import PROTOCOLS, columns_of
from inpaint.errors import CheckpointError
from inpaint.weights import find_model

for package in ("torchvision", "lpips", "pytorch_fid"):
    pytest.importorskip(package)

ALEX = NETWORKS["lpips-alex"]
FILE = ALEX.files[0]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["weights", *map(str, arguments)])


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


def test_what_is_absent_says_how_to_get_it(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = why_absent(ALEX, [tmp_path])
    assert told is not None and FILE.name in told and told.endswith("`inpaint models download alexnet`")
    assert (why_absent(NETWORKS["squeezenet-caffe"], []) or "").endswith("--weights DIR")


def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path, empty_hub: Path) -> None:
    (tmp_path / FILE.name).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"alexnet.*SHA-256 [0-9a-f]{12}.*expected 7be5be79.*; delete"):
        find_file(ALEX, [tmp_path]).check()


def test_the_command_lists_what_is_here_and_what_is_not(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = WeightsFile("tiny.pth", hashlib.sha256(b"weights of AlexNet").hexdigest(), "tiny")
    monkeypatch.setattr(networks, "NETWORKS", {"lpips-alex": replace(ALEX, files=(file,))})
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "cache"))
    listed = run("--weights", tmp_path)
    assert listed.exit_code == 0 and "  tiny.pth: not here; inpaint models download tiny\n" in listed.stdout
    assert listed.stdout.startswith("AlexNet, torchvision: LPIPS (alex)\n")
    assert f"sha256 {file.sha256}" in listed.stdout
    path = tmp_path / "cache" / "files" / "tiny.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights of AlexNet")
    assert f"  {path}\n  sha256 {file.sha256}" in run().stdout
    path.write_bytes(b"something else")
    changed = run()
    assert changed.exit_code == 2 and f"expected {file.sha256[:12]}...; delete it" in changed.stderr
