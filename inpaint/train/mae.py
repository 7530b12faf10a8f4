"""Train a masked autoencoder: one loop, told in blocks, and its step.

Source:
    He et al., MAE (CVPR 2022), section 3 and appendix A; mixed masks and global pixel targets after Cao et
    al. (ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint.checkpoint import save_checkpoint
from inpaint.mask import composite
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import build_mae
from inpaint.tokens import token_masks, top_up, visible_tokens
from inpaint.train.batches import Batch, Batches
from inpaint.train.compute import in_precision
from inpaint.train.config import MaeRunConfig
from inpaint.train.data import make_generator
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.losses import masked_patch_mse
from inpaint.train.schedule import Ema, set_rates
from inpaint.train.state import Stateful, load_latest_state, save_state
from inpaint.train.watch import Progress, Watch


def fit_mae(config: MaeRunConfig, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Train, or go on training where the run's folder stands.

    Everything random follows from the seed and the number of images seen, so that a run that was stopped
    and started again continues the same curve.

    Args:
        config: the run; its ``out`` folder receives states, samples, ``stats.jsonl`` and the checkpoint.
        on_progress: called after every logged step.

    Returns:
        The path of the checkpoint: averaged weights, ready to use.

    Raises:
        DataError: if no photo can be read.
        ConfigError: if the numbers cannot work together.
    """
    # -- data and network
    processes = join_processes(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    watch = Watch(config, on_progress)
    batches = Batches(config, processes.device, watch.note, processes.rows(config.batch_size))
    parts = start_mae(config, processes)
    images_seen = 0

    # -- resume
    saved = load_latest_state(watch.folder, watch.note)
    if saved is not None:
        for name, part in parts.stateful().items():
            part.load_state_dict(saved[name])
        images_seen = saved["images_seen"]

    def checkpoint() -> Path:
        state = {name: part.state_dict() for name, part in parts.stateful().items()}
        save_state(watch.folder, images_seen, state)
        path = watch.folder / f"{config.name}.safetensors"
        save_checkpoint(path, parts.ema.network, {"run": config.name, "images_seen": str(images_seen)})
        return path

    # -- train
    watch.start(images_seen)
    while images_seen < config.images:
        batch = batches.after(images_seen)
        values = mae_step(config, parts, batch, processes)
        images_seen += config.batch_size

        watch.step(images_seen, values)
        if watch.due("sample"):
            watch.sheet(images_seen, _sample_columns(parts.ema.network, batch.image[:6], batch.mask[:6]))
        if watch.due("save"):
            checkpoint()
    return checkpoint()


# -- the step, also for benchmarks -----------------------------------------------------------------------


@dataclass(frozen=True)
class MaeParts:
    """What changes as a masked autoencoder learns."""

    model: MaskedAutoencoder
    ema: Ema
    optimizer: torch.optim.Optimizer

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        return {"model": self.model, "ema": self.ema, "optimizer": self.optimizer}


def start_mae(config: MaeRunConfig, processes: Processes) -> MaeParts:
    """Everything a run begins with; the same in every process."""
    torch.manual_seed(config.seed)
    model = build_mae(config.preset).to(processes.device)
    optimizer = torch.optim.AdamW(
        _decay_groups(model, config.weight_decay), lr=config.learning_rate, betas=config.betas
    )
    return MaeParts(model, Ema(model, config.ema_decay), optimizer)


def mae_step(config: MaeRunConfig, parts: MaeParts, batch: Batch, processes: Processes) -> dict[str, Tensor]:
    """Learn from one batch.

    Args:
        config: the run.
        parts: what learns, from :func:`start_mae`.
        batch: this process's share.
        processes: that take the step together.

    Returns:
        Values for the log: means over this process's share.
    """
    model = parts.model
    set_rates({parts.optimizer: config.learning_rate}, config, batch.images_seen)
    hidden = hide_tokens(config, batch, model.preset.patch_size)
    visible = visible_tokens(hidden.shape[1], config.mask_ratio) or None

    losses = []
    parts.optimizer.zero_grad(set_to_none=True)
    pieces = zip(batch.pieces(config.accumulate), hidden.chunk(config.accumulate), strict=True)
    for (image, _), piece_hidden in pieces:
        normalised = model.normalise(image)
        with in_precision(config, image.device):
            prediction = model.predict_patches(normalised, piece_hidden, visible=visible)
        target = model.target_patches(normalised, per_patch=config.norm_pix)
        loss = masked_patch_mse(prediction.float(), target, piece_hidden.float())
        (loss / config.accumulate).backward()
        losses.append(loss.detach())
    processes.average_gradients(model.parameters())
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
    parts.optimizer.step()
    parts.ema.update(model)
    return {"loss": torch.stack(losses).mean(), "gradient_norm": norm}


def hide_tokens(config: MaeRunConfig, batch: Batch, patch_size: int) -> Tensor:
    """The tokens a batch hides, ``(B, N)`` bool: those under its mask first, random ones up to the ratio."""
    touched = token_masks(batch.mask, patch_size).any
    if not config.mixed_masks:
        touched = torch.zeros_like(touched)
    generator = make_generator(config.seed, "tokens", batch.images_seen)
    noise = torch.rand((config.batch_size, touched.shape[1]), generator=generator)[batch.rows]
    return top_up(touched, config.mask_ratio, noise.to(touched.device))


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, as in MAE: not for biases, norms and tokens."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and p.shape[0] > 1]
    rest = [p for p in model.parameters() if p.requires_grad and not (p.ndim > 1 and p.shape[0] > 1)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


@torch.no_grad()
def _sample_columns(model: nn.Module, image: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What a sample sheet shows: input, reconstruction from the image mask alone, and the two together."""
    assert isinstance(model, MaskedAutoencoder)
    reconstruction = model.reconstruct(image, mask)
    return {
        "input": torch.where(mask > 0, 0.5, image),
        "reconstruction": reconstruction,
        "composite": composite(reconstruction, image, mask),
        "target": image,
    }
