"""Feature networks: recorded files, where they are looked for, hashes, fetching, and the command for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from eval.__main__ import main
from eval.measures import networks
from eval.measures.definitions import PROTOCOLS, columns_of
from eval.measures.networks import NETWORKS, Network, WeightsFile, fetch_file, find_file, why_absent
from inpaint.errors import CheckpointError, InpaintError

for package in ("torchvision", "lpips", "pytorch_fid"):
    pytest.importorskip(package)

ALEX = NETWORKS["lpips-alex"]
FILE = ALEX.files[0]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["weights", *map(str, arguments)])


def served(folder: Path, *, damaged: bool = False) -> Network:
    """A network whose weights a folder serves under a name that carries their hash."""
    folder.mkdir(exist_ok=True)
    torch.save({"features.0.weight": torch.zeros(1)}, folder / "weights")
    digest = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()
    path = (folder / "weights").rename(folder / f"tiny-{digest[:8]}.pth")
    if damaged:
        path.write_bytes(path.read_bytes() + b"!")
    return replace(ALEX, files=(WeightsFile(path.name, digest, path.as_uri()),))


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
            assert not file.url or (file.url.startswith("https://") and file.url.endswith(file.name))


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
    assert told is not None and FILE.name in told and f"eval weights --fetch --weights {tmp_path}" in told
    assert (why_absent(ALEX, []) or "").endswith("`python -m eval weights --fetch`")
    assert (why_absent(NETWORKS["squeezenet-caffe"], []) or "").endswith("--weights DIR")
    monkeypatch.setattr(networks.importlib.util, "find_spec", lambda name: None)
    assert why_absent(ALEX, [tmp_path]) == "the package lpips is not installed; pip install -e '.[eval]'"


def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path, empty_hub: Path) -> None:
    (tmp_path / FILE.name).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"alexnet.*SHA-256 [0-9a-f]{12}.*expected 7be5be79.*; delete"):
        find_file(ALEX, [tmp_path]).check()


def test_fetching_checks_the_hash_and_leaves_all_or_nothing(tmp_path: Path) -> None:
    good = served(tmp_path / "served")
    found = fetch_file(good, tmp_path / "new" / "folder")
    assert found.path.read_bytes() == (tmp_path / "served" / good.files[0].name).read_bytes()
    assert found.check() == good.files[0].sha256
    bad, target = served(tmp_path / "damaged", damaged=True), tmp_path / "target"
    with pytest.raises(InpaintError, match=f"cannot fetch {bad.files[0].name}.*hash"):
        fetch_file(bad, target)
    assert list(target.iterdir()) == []
    gone = replace(ALEX, files=(WeightsFile("gone.pth", "01234567", (tmp_path / "gone.pth").as_uri()),))
    with pytest.raises(InpaintError, match=r"cannot fetch gone\.pth"):
        fetch_file(gone, target)
    assert fetch_file(NETWORKS["squeezenet-caffe"], target) is None


def test_the_command_lists_and_fetches(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = served(tmp_path / "served")
    file, folder = network.files[0], tmp_path / "here"
    monkeypatch.setattr(networks, "NETWORKS", {"lpips-alex": network})
    listed = run("--weights", folder)
    assert listed.exit_code == 0 and f"{file.name}: not here; published at {file.url}" in listed.stdout
    assert listed.stdout.startswith("AlexNet, torchvision: LPIPS (alex)\n")
    assert f"sha256 {file.sha256}" in listed.stdout
    fetched = run("--fetch", "--to", folder)  # as the first version called the folder
    assert fetched.exit_code == 0 and f"  {folder / file.name}\n  sha256 {file.sha256}" in fetched.stdout
    (folder / file.name).write_bytes(b"something else")
    changed = run("--weights", folder)
    assert changed.exit_code == 2 and f"expected {file.sha256[:12]}...; delete it" in changed.stderr
    (folder / file.name).write_bytes((tmp_path / "served" / file.name).read_bytes())
    (tmp_path / "served" / file.name).unlink()  # what is here is not fetched again
    assert run("--fetch", "--weights", folder).exit_code == 0
    assert run("--fetch").stderr.startswith(f"error: cannot fetch {file.name}")


def test_the_command_tells_of_a_missing_package(monkeypatch: pytest.MonkeyPatch, empty_hub: Path) -> None:
    monkeypatch.setattr(networks.importlib.util, "find_spec", lambda name: None)
    result = run()
    assert result.exit_code == 0 and result.stdout.count("not installed; pip install") == len(NETWORKS)
