"""Train a masked autoencoder: one loop, told in blocks.

Source:
    He et al., MAE (CVPR 2022), section 3 and appendix A; mixed masks and global pixel targets after Cao et
    al. (ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint.checkpoint import save_checkpoint
from inpaint.device import choose_device
from inpaint.mask import composite
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import build_mae
from inpaint.tokens import token_masks, top_up
from inpaint.train.batches import Batch, Batches
from inpaint.train.config import MaeRunConfig
from inpaint.train.losses import masked_patch_mse
from inpaint.train.schedule import Ema, set_rates
from inpaint.train.state import load_latest_state, save_state
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
    device = choose_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    watch = Watch(config, on_progress)
    batches = Batches(config, device, watch.note)
    model = build_mae(config.preset).to(device)
    ema = Ema(model, config.ema_decay)
    optimizer = torch.optim.AdamW(
        _decay_groups(model, config.weight_decay), lr=config.learning_rate, betas=config.betas
    )
    stateful = {"model": model, "ema": ema, "optimizer": optimizer}
    images_seen = 0

    # -- resume
    saved = load_latest_state(watch.folder, watch.note)
    if saved is not None:
        for name, part in stateful.items():
            part.load_state_dict(saved[name])
        images_seen = saved["images_seen"]

    def checkpoint() -> Path:
        save_state(watch.folder, images_seen, {name: part.state_dict() for name, part in stateful.items()})
        path = watch.folder / f"{config.name}.safetensors"
        save_checkpoint(path, ema.network, {"run": config.name, "images_seen": str(images_seen)})
        return path

    # -- train
    watch.start(images_seen)
    while images_seen < config.images:
        batch = batches.after(images_seen)
        hidden = hide_tokens(config, batch, model.preset.patch_size)
        set_rates({optimizer: config.learning_rate}, config, images_seen)

        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            normalised = model.normalise(batch.image)
            prediction = model.predict_patches(normalised, hidden)
        target = model.target_patches(normalised, per_patch=config.norm_pix)
        loss = masked_patch_mse(prediction.float(), target, hidden.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
        optimizer.step()
        ema.update(model)
        images_seen += config.batch_size

        watch.step(images_seen, {"loss": loss, "gradient_norm": norm})
        if watch.due("sample"):
            watch.sheet(images_seen, _sample_columns(ema.network, batch.image[:6], batch.mask[:6]))
        if watch.due("save"):
            checkpoint()
    return checkpoint()


def hide_tokens(config: MaeRunConfig, batch: Batch, patch_size: int) -> Tensor:
    """The tokens a batch hides, ``(B, N)`` bool: those under its mask first, random ones up to the ratio."""
    touched = token_masks(batch.mask, patch_size).any
    if not config.mixed_masks:
        touched = torch.zeros_like(touched)
    noise = torch.rand(touched.shape, generator=batch.generator).to(touched.device)
    return top_up(touched, config.mask_ratio, noise)


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
