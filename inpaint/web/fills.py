"""The ways to fill a hole that the page offers: models that are here, some to fetch, and Telea."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from inpaint import baselines, weights
from inpaint.checkpoint import load_checkpoint
from inpaint.device import choose_device
from inpaint.errors import InpaintError, WeightsError
from inpaint.models.inpainter import Inpainter
from inpaint.pipeline import InpaintPipeline
from inpaint.web.jobs import Job, check_current_job
from inpaint.web.select import SELECTOR

TELEA = "opencv-telea"
_MOST_LOADED = 3


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
        for entry in weights.list_models("inpainter"):
            path = weights.find_model_file(entry)
            choice = _choice_of(entry, path is not None)
            runs = not entry.needs or find_spec(entry.needs) is not None
            if path is not None:
                known.add(path.resolve())
                here += [choice] * runs
            elif runs and not entry.non_commercial:  # whose licence the owner has to accept
                elsewhere.append(choice)
        mine = [p for folder in weights.weights_folders() for p in sorted(folder.glob("*.safetensors"))]
        for path in (path for path in mine if path.resolve() not in known):
            about, size = "A checkpoint in your folder", round(path.stat().st_size / 1e6)
            here.append(Choice(path.name, path.stem, about, True, size))
        about = "At once, for scratches and thin lines (OpenCV's Telea)"
        return [*here, Choice(TELEA, "Without AI", about, prior=False), *elsewhere]

    def require(self, key: str) -> None:
        """Raise WeightsError unless a model can be used now: no path from outside is ever opened."""
        ready = [choice.key for choice in self.choices() if choice.here]
        if key not in ready:
            needs = {entry.name: f" ({entry.summary})" for entry in weights.list_models() if entry.needs}
            raise WeightsError(f"got model {key!r}{needs.get(key, '')}, expected one of {', '.join(ready)}")

    def pipeline(self, key: str) -> InpaintPipeline:
        """The pipeline of a choice; a cancelled job stops at the next layer of its network."""
        with self._lock:  # what two ask for at once is loaded once
            return self._cached(key)

    def describe(self) -> dict[str, Any]:
        """The choices, and the network that selects objects, as the page is told of them."""
        entry = weights.find_model(SELECTOR)
        selector = _choice_of(entry, weights.find_model_file(entry) is not None)
        return {"models": [vars(choice) for choice in self.choices()], "selector": vars(selector)}

    def fetch(self, key: str, job: Job) -> None:
        """Get a model that is not here; the job tells how far it is."""
        if key not in [SELECTOR, *(choice.key for choice in self.choices())]:
            raise WeightsError(f"got model {key!r}, which is not in the list")

        def tell(_: str, done: int, total: int) -> None:
            far = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
            job.tell(f"Fetching {far}", done / total if total else None)

        try:
            weights.fetch(key, progress=tell, cancelled=lambda: job.cancelled)
        except weights.FetchCancelled:
            job.check()

    def _load(self, key: str) -> InpaintPipeline:
        self.require(key)
        path = next((p for folder in weights.weights_folders() if (p := folder / key).is_file()), None)
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


def _choice_of(entry: weights.ModelEntry, here: bool) -> Choice:
    title, about = entry.title or entry.name, entry.advice or entry.summary
    return Choice(entry.name, title, about, here, round(entry.megabytes), entry.licence, entry.prior)
