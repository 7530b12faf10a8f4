"""The ways to fill a hole that the page offers: models that are here, some to fetch, and Telea."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from inpaint import baselines
from inpaint.checkpoint import load_checkpoint
from inpaint.device import choose_device
from inpaint.errors import InpaintError, WeightsError
from inpaint.models.inpainter import Inpainter
from inpaint.pipeline import InpaintPipeline
from inpaint.web.jobs import Job, check_current_job
from inpaint.web.select import SELECTOR
from inpaint.weights import FetchCancelled, fetch, find_model, find_model_file, list_models, weights_folders

TELEA = "opencv-telea"
_MOST_LOADED = 3
# What a person who knows no model is told: title, one line, whether there is a prior to inspect.
_TOLD = {
    "acr-small": ("Standard", "Good for most photos", True),
    "acr-small-convnext": ("Second opinion", "As large as Standard, built otherwise: worth a try", True),
    "lama-small": ("Fast", "The smallest: for grass, sky, walls and small things", False),
    "big-lama": ("Best quality", "A large network, for large holes and fine structure", False),
    "migan": ("Quick, for faces and scenes", "A small network made for phones", False),
    "lama-places": ("Places", "A large network that learned from scenes", False),
    TELEA: ("Without AI", "At once, for scratches and thin lines (OpenCV's Telea)", False),
}


@dataclass(frozen=True)
class Choice:
    """One entry of the page's model list; ``prior`` is None where that shows only once it is loaded."""

    key: str
    title: str
    about: str
    here: bool = True
    megabytes: int = 0
    licence: str = ""
    prior: bool | None = None


class _Telea(nn.Module):
    """OpenCV's fill without a network, behind the call of one: the baseline every model must beat."""

    class preset:
        name, working_size = TELEA, 256

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return baselines.telea(image, mask)


class Fills:
    """Load what is asked for, and keep the last few.

    Args:
        device: see :func:`inpaint.device.choose_device`.
    """

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self._lock = threading.Lock()
        self._cached = lru_cache(_MOST_LOADED)(self._load)

    def choices(self) -> list[Choice]:
        """What is here, the best first: models, other checkpoints, Telea; then what could be fetched."""
        here, elsewhere, known = [], [], set()
        for entry in list_models("inpainter"):
            path = find_model_file(entry)
            title, about, prior = _TOLD.get(entry.name, (entry.name, entry.summary, None))
            size = round(entry.megabytes)
            choice = Choice(entry.name, title, about, path is not None, size, entry.licence, prior)
            if path is not None:
                known.add(path.resolve())
                here.append(choice)
            elif not entry.non_commercial:  # whose licence the owner has to accept
                elsewhere.append(choice)
        for path in (path for folder in weights_folders() for path in sorted(folder.glob("*.safetensors"))):
            if path.resolve() not in known:
                size = round(path.stat().st_size / 1e6)
                here.append(Choice(path.name, path.stem, "A checkpoint in your folder", True, size))
        title, about, prior = _TOLD[TELEA]
        return [*here, Choice(TELEA, title, about, prior=prior), *elsewhere]

    def require(self, key: str) -> None:
        """Raise WeightsError unless a model can be used now: no path from outside is ever opened."""
        ready = [choice.key for choice in self.choices() if choice.here]
        if key not in ready:
            raise WeightsError(f"got model {key!r}, expected one of {', '.join(ready)}")

    def pipeline(self, key: str) -> InpaintPipeline:
        """The pipeline of a choice; a cancelled job stops at the next layer of its network."""
        with self._lock:  # what two ask for at once is loaded once
            return self._cached(key)

    def describe(self) -> dict[str, Any]:
        """The choices, and the network that selects objects, as the page is told of them."""
        entry = find_model(SELECTOR)
        here, size = find_model_file(entry) is not None, round(entry.megabytes)
        selector = Choice(SELECTOR, "Selecting by a click", entry.summary, here, size, entry.licence)
        return {"models": [vars(choice) for choice in self.choices()], "selector": vars(selector)}

    def fetch(self, key: str, job: Job) -> None:
        """Get a model that is not here; the job tells how far it is."""
        if key not in [SELECTOR, *(choice.key for choice in self.choices())]:
            raise WeightsError(f"got model {key!r}, which is not in the list")

        def tell(_: str, done: int, total: int) -> None:
            far = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
            job.tell(f"Fetching {far}", done / total if total else None)

        try:
            fetch(key, progress=tell, cancelled=lambda: job.cancelled)
        except FetchCancelled:
            job.check()

    def _load(self, key: str) -> InpaintPipeline:
        self.require(key)
        path = next((p for folder in weights_folders() if (p := folder / key).is_file()), None)
        if key == TELEA:
            pipeline = InpaintPipeline(_Telea(), device="cpu")
        elif path is not None:
            model = load_checkpoint(path)
            if not isinstance(model, Inpainter):
                raise InpaintError(f"{key} holds a {type(model).__name__}, which cannot fill; choose another")
            pipeline = InpaintPipeline(model, device=self.device)
        else:
            pipeline = InpaintPipeline.from_pretrained(key, device=self.device)
        for module in pipeline.network.modules():
            module.register_forward_pre_hook(check_current_job)
        return pipeline
