"""A training data folder in small: three images, three masks, feature networks with random weights."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.measures.networks import WeightsFile
from eval.validation import MASKS_FILE
from tests.eval.random_weights import write_random_weights


def _write_masks(path: Path, masks: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, mask in masks.items():
            content = io.BytesIO()
            Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(content, "PNG")
            archive.writestr(name, content.getvalue())


def smooth_picture(height: int, width: int, seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class PictureSet:
    """Folders of a scoring run: ``gt``, ``masks``, and predictions a test adds."""

    root: Path

    @property
    def gt(self) -> Path:
        return self.root / "gt"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    def pixels(self, stem: str) -> np.ndarray:
        return np.array(Image.open(self.gt / f"{stem}.png"))

    def hole(self, stem: str) -> np.ndarray:
        return np.array(Image.open(self.masks / f"{stem}.png")) > 0

    def predict(
        self, name: str, change: Callable[[np.ndarray, np.ndarray], np.ndarray], suffix: str = ".png"
    ) -> Path:
        """Write what ``change`` makes of every image and its hole, clipped to 8 bits."""
        folder = self.root / name
        folder.mkdir()
        for path in self.gt.iterdir():
            changed = change(self.pixels(path.stem).astype(int), self.hole(path.stem)[..., None])
            Image.fromarray(changed.clip(0, 255).astype(np.uint8)).save(folder / f"{path.stem}{suffix}")
        return folder


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., PictureSet]:
    """Make ``count`` smooth images ``p00``, ``p01``, ... of given (height, width), with boxes as holes."""

    def make(count: int = 6, shapes: Sequence[tuple[int, int]] = ((24, 32),)) -> PictureSet:
        for folder in ("gt", "masks"):
            (tmp_path / folder).mkdir()
        for index in range(count):
            height, width = shapes[index % len(shapes)]
            smooth_picture(height, width, index).save(tmp_path / f"gt/p{index:02}.png")
            mask = np.zeros((height, width), np.uint8)
            mask[4 : 8 + index % 9, 6:20] = 255
            Image.fromarray(mask).save(tmp_path / f"masks/p{index:02}.png")
        return PictureSet(tmp_path)

    return make


@pytest.fixture(scope="session")
def write_masks() -> Callable[[Path, dict[str, np.ndarray]], None]:
    return _write_masks


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("val/images", "masks", "metrics"):
        (folder / name).mkdir(parents=True)
    # Written out of order: the protocol sorts.
    smooth_picture(256, 256, 2).save(folder / "val/images/c.png")
    smooth_picture(256, 300, 0).save(folder / "val/images/a.png")
    smooth_picture(600, 512, 1).save(folder / "val/images/b.webp", quality=95)
    masks = {name: np.zeros((256, 256), bool) for name in ("3.png", "1.png", "2.png")}
    masks["1.png"][100:150, 60:200] = True
    masks["2.png"][:, :80] = True
    masks["3.png"][200:, 200:] = True
    _write_masks(folder / MASKS_FILE, masks)
    write_random_weights(folder / "metrics", "squeezenet-caffe", "mobilenet-tensorflow")
    return folder


@pytest.fixture
def any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take random weights for the recorded files."""
    monkeypatch.setattr(WeightsFile, "check", lambda self: "not checked")


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the published weights files with random numbers; read it with ``check_hash=False``."""
    for package in ("torchvision", "lpips", "pytorch_fid"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("weights")
    write_random_weights(folder)
    return folder


@pytest.fixture
def empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """torch.hub's checkpoint folder, for this test a place without weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Callable[[str], Path]:
    """Write a tiny network with random weights as a checkpoint of that name."""

    def write(name: str) -> Path:
        from inpaint.checkpoint import save_checkpoint
        from inpaint.models.presets import build_inpainter

        path = tmp_path / "models" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_checkpoint(path, build_inpainter("lama-tiny"), {})
        return path

    return write
