"""Published weights: official names, where they are looked for, hashes, fetching, and the command for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from eval import weights
from eval.__main__ import main
from eval.weights import NETWORKS, fetch_weights, find_weights, load_network, why_absent
from inpaint.errors import CheckpointError, InpaintError

for package in ("torchvision", "lpips", "pytorch_fid"):
    pytest.importorskip(package)

ALEX = NETWORKS["lpips-alex"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["weights", *map(str, arguments)])


def served(folder: Path, network: weights.Network = ALEX, *, damaged: bool = False) -> weights.Network:
    """A network whose weights a folder serves under a name that carries their hash."""
    state = {key: torch.zeros(1) for key in ("features.0.weight",)}
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "weights")
    digest = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()
    path = (folder / "weights").rename(folder / f"tiny-{digest[:8]}.pth")
    if damaged:
        path.write_bytes(path.read_bytes() + b"!")
    return replace(network, url=lambda: path.as_uri())


def test_names_are_the_official_ones() -> None:
    names = {key: network.file for key, network in NETWORKS.items()}
    assert names == {
        "lpips-alex": "alexnet-owt-7be5be79.pth",
        "lpips-vgg": "vgg16-397923af.pth",
        "inception-fid": "pt_inception-2015-12-05-6726825d.pth",
        "inception-torchvision": "inception_v3_google-0cc3c7bd.pth",
    }
    for network in NETWORKS.values():
        assert re.fullmatch("[0-9a-f]{8}", network.hash_prefix) and network.hash_prefix in network.file
        assert network.url().startswith("https://")


def test_a_folder_of_ones_own_comes_before_torch_hubs(tmp_path: Path, empty_hub: Path) -> None:
    assert find_weights(ALEX, None) is None and find_weights(ALEX, tmp_path) is None
    empty_hub.mkdir(parents=True)
    (empty_hub / ALEX.file).touch()
    assert find_weights(ALEX, None) == find_weights(ALEX, tmp_path) == empty_hub / ALEX.file
    (tmp_path / ALEX.file).touch()
    assert find_weights(ALEX, tmp_path) == tmp_path / ALEX.file
    assert why_absent(ALEX, tmp_path) is None


def test_what_is_absent_says_how_to_get_it(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = why_absent(ALEX, tmp_path)
    assert told is not None and ALEX.file in told and f"eval weights --fetch --to {tmp_path}" in told
    assert (why_absent(ALEX, None) or "").endswith("`python -m eval weights --fetch`")
    with pytest.raises(CheckpointError, match=r"AlexNet.*--fetch"):
        load_network(ALEX, tmp_path)
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    assert why_absent(ALEX, tmp_path) == "the package lpips is not installed; pip install -e '.[eval]'"


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, random_weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"alexnet.*begins with [0-9a-f]{8}, expected 7be5be79; delete"):
        load_network(ALEX, random_weights)
    (tmp_path / ALEX.file).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_network(ALEX, tmp_path, check_hash=False)


def test_fetching_checks_the_hash_and_leaves_all_or_nothing(tmp_path: Path) -> None:
    good = served(tmp_path / "served")
    path = fetch_weights(good, tmp_path / "new" / "folder")
    assert path.name == good.file
    assert path.read_bytes() == (tmp_path / "served" / good.file).read_bytes()
    bad, target = served(tmp_path / "damaged", damaged=True), tmp_path / "target"
    with pytest.raises(InpaintError, match=f"cannot fetch {bad.file}.*hash"):
        fetch_weights(bad, target)
    assert list(target.iterdir()) == []
    gone = replace(ALEX, url=lambda: (tmp_path / "gone-01234567.pth").as_uri())
    with pytest.raises(InpaintError, match="cannot fetch gone"):
        fetch_weights(gone, target)


def test_the_command_lists_and_fetches(
    tmp_path: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = {"lpips-alex": served(tmp_path / "served")}
    monkeypatch.setattr(weights, "NETWORKS", networks)
    file, folder = networks["lpips-alex"].file, tmp_path / "here"
    listed = run("--to", folder)
    assert listed.exit_code == 0 and f"{file}: not here" in listed.stdout
    assert "LPIPS Alex (protocols standard, mae-far)" in listed.stdout
    fetched = run("--fetch", "--to", folder)
    assert fetched.exit_code == 0 and f"{file}: {folder / file}" in fetched.stdout
    (folder / file).write_bytes(b"something else")
    changed = run("--to", folder)
    assert (
        changed.exit_code == 2
        and f"expected {networks['lpips-alex'].hash_prefix}; delete it" in changed.stderr
    )
    (folder / file).write_bytes((tmp_path / "served" / file).read_bytes())
    (tmp_path / "served" / file).unlink()  # what is here is not fetched again
    assert run("--fetch", "--to", folder).exit_code == 0
    assert run("--fetch").exit_code == 2
    assert run("--fetch").stderr.startswith(f"error: cannot fetch {file}")


def test_the_command_tells_of_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    result = run()
    assert result.exit_code == 0 and result.stdout.count("not installed; pip install") == len(NETWORKS)
