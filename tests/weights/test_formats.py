"""Published files of every kind, served and fetched by name: what comes out computes the official numbers."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from eval.tasks.methods import fill_in_8_bits, load_models
from inpaint.checkpoint import load_checkpoint, read_notes
from inpaint.cli import main
from inpaint.convert import convert_state, networks
from inpaint.convert.files import read_foreign
from inpaint.errors import CheckpointError, WeightsError
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.weights import ModelEntry, check_model, fetch, find_model_file, remove
from tests.golden_cases.case import rebuild_weights
from tests.run_goldens import find_cases
from tests.weights.server import Server

GOLDENS = Path(__file__).parents[1] / "goldens"
LAMA = next(case for case in find_cases(GOLDENS) if case.name == "lama_small")
State = dict[str, Tensor]


class Tree(nn.Module):
    """Modules with the names of a state dict; it computes nothing."""

    def __init__(self, state: State) -> None:
        super().__init__()
        children: dict[str, State] = {}
        for key, value in state.items():
            name, _, rest = key.partition(".")
            if rest:
                children.setdefault(name, {})[rest] = value
            elif value.is_floating_point() and "running" not in name:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        for name, child in children.items():
            self.add_module(name, Tree(child))

    def forward(self, image: Tensor) -> Tensor:
        return image * 2


def lama(prefix: str = "") -> State:
    return {prefix + key: value for key, value in LAMA.weights().items()}


def torchscript(*, traced: bool = False) -> bytes:
    """As LaMa's archive is: the training module in one more module, scripted or traced, and saved."""
    tree = Tree(lama("model.generator.")).eval()
    script = torch.jit.trace(tree, torch.rand(1, 3, 4, 4)) if traced else torch.jit.script(tree)
    out = io.BytesIO()
    torch.jit.save(script, out)
    return out.getvalue()


def pickled(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def lightning() -> bytes:
    rest = {"discriminator.model0.0.weight": torch.zeros(1), "loss_resnet_pl.impl.x": torch.zeros(1)}
    return pickled({"epoch": 3, "state_dict": lama("generator.") | rest, "optimizer_states": [{}]})


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big-lama/config.yaml", "kind: default\n")
        for name, content in members.items():
            archive.writestr(f"big-lama/models/{name}.ckpt", content)
    return out.getvalue()


FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "safetensors": ("big-lama.safetensors", lambda: save(lama("generator."))),
    "torchscript": ("big-lama.pt", torchscript),
    "traced": ("big-lama.pt", lambda: torchscript(traced=True)),
    "lightning": ("best.ckpt", lightning),
    "zip": ("big-lama.zip", lambda: zipped(best=lightning())),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_fetched_lama_computes_the_official_numbers(
    form: str, publish: Callable[..., ModelEntry], cache: Path
) -> None:
    name, make = FORMS[form]
    said: list[str] = []
    entry = publish("big-lama", {name: make()}, kind="inpainter", convert=True, working_size=512)
    path = fetch(entry, say=said.append)
    assert path == cache / "models" / "big-lama.safetensors" and said == [f"converting {name}"]
    model = load_checkpoint(path)
    assert isinstance(model, Inpainter) and model.preset.working_size == 512
    assert read_notes(path) == {"converted from": f"{name} (lama)", "licence": "MIT"}
    with torch.no_grad():
        output = model.double()(LAMA.image(), LAMA.mask())
    expected = LAMA.arrays("out.")["y_sub"]
    assert np.abs(output.numpy() - expected).max() <= LAMA.outputs["y_sub"]["suggested_atol"]
    assert not any(cache.joinpath("files").iterdir())  # what was fetched is not kept twice


def test_the_code_of_an_archive_is_never_looked_at(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    with zipfile.ZipFile(io.BytesIO(torchscript())) as source, zipfile.ZipFile(broken, "w") as target:
        for member in source.namelist():
            target.writestr(member, b"import os" if "/code/" in member else source.read(member))
    assert convert_state(read_foreign(broken))[0].name == "lama-custom"  # type: ignore[union-attr]


class Hostile:
    def __reduce__(self) -> Any:
        return open, ("victim", "w")


@pytest.mark.parametrize("content", [Hostile(), {"a": Hostile()}])
def test_an_archive_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("evil.pt", "w") as archive:
        archive.writestr("evil/version", "3")
        archive.writestr("evil/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("evil/constants.pkl", pickle.dumps(()))
    with pytest.raises(CheckpointError, match=r"evil\.pt: asks for more than weights \(\w+\.open\)"):
        read_foreign(Path("evil.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_broken_archives_cost_one_line(tmp_path: Path) -> None:
    whole = torchscript()
    with zipfile.ZipFile(tmp_path / "no-data.pt", "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", b"nonsense")
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "two.zip").write_bytes(zipped(one=b"1", two=b"2"))
    (tmp_path / "none.zip").write_bytes(zipped())
    for name, told in (
        ("no-data.pt", "is not a weights file"),
        ("cut.pt", "is not a weights file"),
        ("two.zip", "holds 2 weights files, expected one"),
        ("none.zip", "holds 0 weights files, expected one"),
    ):
        with pytest.raises(CheckpointError, match=told) as caught:
            read_foreign(tmp_path / name)
        assert "\n" not in str(caught.value)


class TestChoices:
    def test_a_file_that_cannot_be_converted_gives_way_to_the_next(
        self, publish: Callable[..., ModelEntry], server: Server, cache: Path
    ) -> None:
        contents = {"big-lama.safetensors": save({"x": torch.zeros(1)}), "big-lama.pt": torchscript()}
        choices = tuple((name,) for name in contents)
        entry = publish("big-lama", contents, choices=choices, convert=True)
        assert fetch(entry).exists() and len(server.asked) == 2
        remove(entry)
        server.files["big-lama.pt"] = b"not it"
        with pytest.raises(
            WeightsError, match=r"of no known layout .*; big-lama\.pt: .*offers 6 bytes"
        ) as caught:
            fetch(entry)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("whole", [True, False])
    def test_mae_far_is_one_file_or_a_pair(
        self,
        publish: Callable[..., ModelEntry],
        server: Server,
        cache: Path,
        monkeypatch: pytest.MonkeyPatch,
        whole: bool,
    ) -> None:
        monkeypatch.setitem(networks.HEADS, 64, 4)
        monkeypatch.setitem(networks.DECODER_HEADS, 32, 4)
        mae = rebuild_weights(GOLDENS, "mae_far_tiny", "test")
        acr = {f"acr.{key}": value for key, value in rebuild_weights(GOLDENS, "acr_narrow", "test").items()}
        both = acr | {f"mae.{key}": value for key, value in mae.items()}
        contents = {
            "acr.ckpt": pickled({"state_dict": both if whole else acr}),
            "mae.pth": pickled({"model": mae}),
        }
        choices = (("acr.ckpt",), ("acr.ckpt", "mae.pth"))
        entry = publish("acr", contents, choices=choices, convert=True)
        model = load_checkpoint(fetch(entry))
        assert isinstance(model, Inpainter) and isinstance(model.prior, MaskedAutoencoder)
        assert not any((cache / "files").iterdir())  # what was fetched for the conversion is not kept
        assert [path for path, _ in server.asked] == ["/acr.ckpt"] + ["/mae.pth"] * (not whole)
        assert torch.equal(model.prior.embed.weight, mae["patch_embed.proj.weight"])


def test_a_converted_model_is_checked_each_time(publish: Callable[..., ModelEntry], server: Server) -> None:
    entry = publish("big-lama", {"big-lama.pt": torchscript()}, convert=True)
    path = fetch(entry)
    assert fetch(entry) == check_model(entry) == find_model_file(entry) == path and len(server.asked) == 1
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="changed since its conversion; delete it and get it again"):
        fetch(entry)
    assert len(remove(entry)) == 2 and find_model_file(entry) is None


def test_a_file_put_there_by_hand_is_converted_and_kept(
    publish: Callable[..., ModelEntry], server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = publish("big-lama", {"big-lama.pt": torchscript()}, convert=True)
    monkeypatch.setenv("INPAINT_OFFLINE", "1")
    by_hand = cache / "files" / "big-lama.pt"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(server.files["big-lama.pt"][:-1])
    with pytest.raises(WeightsError, match=r"is not big-lama\.pt as published: got "):
        fetch(entry)
    by_hand.write_bytes(server.files["big-lama.pt"])
    assert fetch(entry).exists() and by_hand.exists() and server.asked == []


class TestCommands:
    @pytest.fixture
    def desk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder with a photo and a mask."""
        monkeypatch.chdir(tmp_path)
        random = np.random.default_rng(0)
        Image.fromarray(random.integers(0, 256, (70, 90, 3), np.uint8)).save("photo.png")
        mask = np.zeros((70, 90), np.uint8)
        mask[20:40, 30:60] = 255
        Image.fromarray(mask).save("mask.png")
        return tmp_path

    @pytest.fixture
    def big_lama(self, publish: Callable[..., ModelEntry], know: Callable[..., None]) -> ModelEntry:
        entry = publish("big-lama", {"big-lama.pt": torchscript()}, kind="inpainter", convert=True)
        know(entry)
        return entry

    def test_run_fetches_once(self, desk: Path, big_lama: ModelEntry, server: Server) -> None:
        words = ["run", "photo.png", "mask.png", "-o", "out.png", "--model", "big-lama", "--device", "cpu"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert done.stderr == "converting big-lama.pt\n" and done.stdout.startswith("out.png: filled 9.5%")
        before, after = (np.asarray(Image.open(name)) for name in ("photo.png", "out.png"))
        hole = np.asarray(Image.open("mask.png")) > 0
        assert (before[~hole] == after[~hole]).all() and (before[hole] != after[hole]).any()
        again = CliRunner().invoke(main, words)
        assert again.exit_code == 0 and again.stderr == "" and len(server.asked) == 1

    def test_batch_takes_the_same_name(self, desk: Path, big_lama: ModelEntry, server: Server) -> None:
        Path("in").mkdir()
        Path("photo.png").rename("in/photo.png")
        done = CliRunner().invoke(main, ["batch", "in", "mask.png", "-o", "out", "--model", "big-lama"])
        assert done.exit_code == 0, done.output
        assert Path("out/photo.png").exists() and len(server.asked) == 1

    def test_eval_scores_what_the_official_generator_computes(self, big_lama: ModelEntry) -> None:
        (method,) = load_models(["big-lama"], torch.device("cpu"))
        image, mask = LAMA.image().float(), LAMA.mask().float()
        filled = fill_in_8_bits(method, image, mask)
        official = torch.from_numpy(LAMA.arrays("out.")["y_sub"])
        assert method.name == "big-lama" and (filled - official).abs().max() <= 0.5 / 255 + 1e-4

    def test_a_model_that_cannot_inpaint_is_not_even_fetched(
        self, desk: Path, publish: Callable[..., ModelEntry], know: Callable[..., None], server: Server
    ) -> None:
        know(publish("vgg", {"vgg.pth": b"x"}))
        done = CliRunner().invoke(main, ["run", "photo.png", "mask.png", "-o", "out.png", "--model", "vgg"])
        assert done.exit_code == 2 and done.stderr.startswith("error: vgg is a network, expected")
        assert server.asked == []
