"""Train a prior, a masked autoencoder of either kind: one loop, told in blocks, and its step.

Source:
    He et al., MAE (CVPR 2022), section 3 and appendix A, which Woo et al., ConvNeXt V2 (CVPR 2023), follow;
    mixed masks and global pixel targets after Cao et al. (ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch, Batches
from inpaint.data.randomness import random_rows
from inpaint.device import to_device
from inpaint.errors import ConfigError
from inpaint.layers.convnext import MaskedBlock
from inpaint.layers.transformer import TransformerBlock
from inpaint.mask import composite
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.tokens import token_masks, top_up, visible_tokens
from inpaint.train.compute import compile_each, explain_step_memory, in_precision
from inpaint.train.config import MaeRunConfig
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.dry_run import rehearse
from inpaint.train.losses import masked_patch_mse
from inpaint.train.monitor import Progress, Watch
from inpaint.train.sample_grid import draw_attention
from inpaint.train.schedule import Ema, set_rates
from inpaint.train.state import Stateful

_SAMPLES = 6  # pictures on a sheet


AnyConfig = TypeVar("AnyConfig", bound=MaeRunConfig)


def fit_prior(
    config: AnyConfig,
    start: Callable[[AnyConfig, Processes], PriorParts],
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train, or go on training where the run's folder stands.

    Everything random follows from the seed and the number of images seen, so that a run that was stopped
    and started again continues the same curve.

    Args:
        config: the run; its ``out`` folder receives states, samples, ``stats.jsonl`` and the checkpoint.
        start: makes what learns, see :func:`start_prior`.
        on_progress: called after every logged step.

    Returns:
        The path of the checkpoint: averaged weights, ready to use.

    Raises:
        DataError: if no photo can be read.
        CheckpointError: if a state does not fit the config.
        ConfigError: if the numbers cannot work together.
        InpaintError: if a step does not fit into memory, or its numbers stop being finite.
        Stopped: on Ctrl-C or SIGTERM, after saving.
    """
    # -- data and network
    processes = join_processes(config.device, config.threads)
    rows = processes.rows(config.batch_size, config.accumulate)
    watch = Watch(config, processes, on_progress)
    if processes.device.type == "cuda":
        rehearse(config, start, prior_step, processes)
    parts = start(config, processes)
    batches = Batches(config, processes.device, watch.note, rows)

    # -- train, from where the last state ends
    images_seen = watch.resume(parts.stateful())
    with watch.running(images_seen), explain_step_memory(config, processes.device):
        while watch.goes_on():
            batch = batches.after(images_seen)
            values = prior_step(config, parts, batch, processes)
            images_seen += config.batch_size

            watch.step(images_seen, values)
            if watch.due("sample"):
                watch.sheet(partial(sample_columns, parts.ema.network, batch))
            if watch.due("save"):
                watch.save(parts.stateful(), parts.ema.network)
        checkpoint = watch.save(parts.stateful(), parts.ema.network)
    processes.leave()
    watch.raise_if_stopped()
    return checkpoint


# -- the step, also for benchmarks -----------------------------------------------------------------------


@dataclass(frozen=True)
class PriorParts:
    """What changes as a masked autoencoder learns."""

    model: PatchAutoencoder
    ema: Ema
    optimizer: torch.optim.Optimizer

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        return {"model": self.model, "ema": self.ema, "optimizer": self.optimizer}


def start_prior(
    config: MaeRunConfig, build: Callable[[str], PatchAutoencoder], processes: Processes
) -> PriorParts:
    """Everything a run begins with; the same in every process.

    Args:
        config: the run.
        build: makes a network of the preset's name.
        processes: that train together.

    Raises:
        ConfigError: pictures of another size than the preset's.
    """
    torch.manual_seed(config.seed)
    model = build(config.preset).to(processes.device)
    if config.size != model.image_size or config.smallest_size is not None or config.early_size is not None:
        raise ConfigError(
            f"size is {config.size}, expected {model.image_size} throughout, the side of {config.preset}, "
            "and neither smallest_size nor early_size"
        )
    ema = Ema(model, config.ema_decay)
    compile_each(config, [m for m in model.modules() if isinstance(m, TransformerBlock | MaskedBlock)])
    optimizer = torch.optim.AdamW(
        decay_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=config.betas,
        fused=processes.device.type == "cuda",
    )
    return PriorParts(model, ema, optimizer)


def prior_step(
    config: MaeRunConfig, parts: PriorParts, batch: Batch, processes: Processes
) -> dict[str, Tensor]:
    """Learn from one batch.

    Args:
        config: the run.
        parts: what learns, from :func:`start_prior`.
        batch: this process's share.
        processes: that take the step together.

    Returns:
        Values for the log: means over this process's share.
    """
    model = parts.model
    set_rates({parts.optimizer: config.learning_rate}, config, batch.images_seen)
    hidden = hide_tokens(config, batch, model.patch_size)
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
    first = batch.images_seen + batch.rows.start
    noise = torch.from_numpy(random_rows(config.seed, "tokens", first, *touched.shape)).float()
    return top_up(touched, config.mask_ratio, to_device(noise, touched.device))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, as in MAE: not for biases, norms and tokens."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and p.shape[0] > 1]
    rest = [p for p in model.parameters() if p.requires_grad and not (p.ndim > 1 and p.shape[0] > 1)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


@torch.no_grad()
def sample_columns(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """What a sample sheet shows of a batch's first pictures, each ``(B, C, H, W)`` in [0, 1].

    The reconstruction is from the image mask alone, as a prior sees it, without random hidden tokens.
    """
    assert isinstance(model, PatchAutoencoder)
    image, mask = batch.image[:_SAMPLES], batch.mask[:_SAMPLES]
    reconstruction = model.reconstruct(image, mask)
    columns = {"input": torch.where(mask > 0, 0.5, image), "mask": mask, "MAE": reconstruction}
    attention = model(image, mask).attention
    if attention is not None:
        columns["attention"] = draw_attention(image, mask, attention, model.grid)
    return columns | {"composite": composite(reconstruction, image, mask), "target": image}
