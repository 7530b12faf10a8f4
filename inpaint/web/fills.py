"""The ways to fill a hole that the page offers: shipped models, checkpoints found beside them, and Telea."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint import baselines
from inpaint.checkpoint import load_checkpoint
from inpaint.device import choose_device
from inpaint.errors import InpaintError, WeightsError
from inpaint.models.inpainter import Inpainter
from inpaint.pipeline import InpaintPipeline
from inpaint.weights import find_model_file, list_models, weights_folders

TELEA = "opencv-telea"
_MOST_LOADED = 3


@dataclass(frozen=True)
class Choice:
    """One entry of the page's model list."""

    key: str
    title: str
    about: str
    """One line."""


class _TeleaPreset:
    name = TELEA
    working_size = 256


class _Telea(nn.Module):
    """OpenCV's fill without a network, behind the call of one: the floor every model must beat."""

    preset = _TeleaPreset()

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return baselines.telea(image, mask)


class Fills:
    """Load what is asked for, keep the last few, and let one fill run at a time per device.

    Args:
        device: see :func:`inpaint.device.choose_device`.
    """

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self._loaded: OrderedDict[str, InpaintPipeline] = OrderedDict()
        self._lock = threading.Lock()

    def choices(self) -> list[Choice]:
        """What can be chosen now, the best first: models whose file is here, other checkpoints, Telea."""
        found = []
        known_files = set()
        for entry in list_models("inpainter"):
            path = find_model_file(entry)
            if path is not None:
                known_files.add(path.resolve())
                found.append(Choice(entry.name, entry.name, entry.summary))
        for folder in weights_folders():
            for path in sorted(folder.glob("*.safetensors")):
                if path.resolve() not in known_files:
                    known_files.add(path.resolve())
                    found.append(Choice(path.name, path.stem, "a checkpoint in your folder"))
        return [*found, Choice(TELEA, "OpenCV Telea", "no network: the honest floor")]

    def pipeline(self, key: str) -> InpaintPipeline:
        """The pipeline of a choice, loaded if need be.

        Raises:
            WeightsError: the key is none of :meth:`choices`: no path from outside is ever opened.
            CheckpointError: the file is damaged or holds no inpainting network.
        """
        with self._lock:
            if key not in self._loaded:
                if key not in {choice.key for choice in self.choices()}:
                    raise WeightsError(f"there is no model {key!r} here; choose one from the list")
                self._loaded[key] = self._load(key)
            self._loaded.move_to_end(key)
            while len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _load(self, key: str) -> InpaintPipeline:
        if key == TELEA:
            return InpaintPipeline(_Telea(), device="cpu")
        for folder in weights_folders():
            path = folder / key
            if path.suffix == ".safetensors" and path.is_file():
                return _load_file(path, self.device)
        return InpaintPipeline.from_pretrained(key, device=self.device)


def _load_file(path: Path, device: torch.device) -> InpaintPipeline:
    model = load_checkpoint(path)
    if not isinstance(model, Inpainter):
        raise InpaintError(f"{path.name} holds a {type(model).__name__}, which cannot fill; choose another")
    return InpaintPipeline(model, device=device)
