"""Training of a prior, a masked autoencoder of either kind.

Source:
    He et al., MAE (CVPR 2022), section 3 and appendix A, which Woo et al., ConvNeXt V2 (CVPR 2023), follow;
    mixed masks and global pixel targets after Cao et al. (ECCV 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.data.randomness import random_rows
from inpaint.device import to_device
from inpaint.errors import ConfigError
from inpaint.layers.convnext import MaskedBlock
from inpaint.layers.transformer import TransformerBlock
from inpaint.mask import composite
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import build_fcmae, build_mae
from inpaint.tokens import token_masks, top_up, visible_tokens
from inpaint.train.averaging import Ema
from inpaint.train.compute import autocast, compile_each
from inpaint.train.config import FcmaeRunConfig, MaeRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import masked_patch_mse
from inpaint.train.recipes.initialise import load_prior
from inpaint.train.sample_grid import draw_attention
from inpaint.train.schedule import schedule_factor
from inpaint.train.state import Stateful

_SAMPLES = 6  # rows of a sample grid


class PriorRecipe:
    """A masked autoencoder, its averaged weights and its optimizer.

    Raises:
        CheckpointError: ``init_checkpoint`` does not hold such a prior.
        ConfigError: images of another size than the preset's.
    """

    def __init__(self, config: MaeRunConfig, processes: Processes) -> None:
        self.config, self._processes = config, processes
        torch.manual_seed(config.seed)
        if isinstance(config, FcmaeRunConfig):
            model: PatchAutoencoder = build_fcmae(config.preset)
            model.sparse = config.sparse
        else:
            model = build_mae(config.preset)
        if not config.size == model.image_size or config.smallest_size or config.early_size:
            raise ConfigError(
                f"size is {config.size}, expected {model.image_size} throughout, the side of {config.preset}"
                ", and neither smallest_size nor early_size"
            )
        self.started_from = "all new"
        if config.init_checkpoint is not None:
            load_prior(model, config.init_checkpoint, config.preset)
            self.started_from = f"prior from {config.init_checkpoint.name}"
        self.model = model.to(processes.device)
        self.ema = Ema(model, config.ema_decay)
        if config.compile:
            compile_each(m for m in model.modules() if isinstance(m, TransformerBlock | MaskedBlock))
        self.optimizer = torch.optim.AdamW(
            decay_groups(model, config.weight_decay),
            lr=config.learning_rate,
            betas=config.betas,
            fused=processes.device.type in ("cpu", "cuda"),
        )

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        return {"model": self.model, "ema": self.ema, "optimizer": self.optimizer}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch."""
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule_factor(
                config.schedule,
                batch.images_seen,
                config.images,
                warmup=config.warmup_images,
                milestones=config.milestones,
            )
        hidden = hide_tokens(
            batch, model.patch_size, seed=config.seed, ratio=config.mask_ratio, mixed=config.mixed_masks
        )
        visible = visible_tokens(hidden.shape[1], config.mask_ratio) or None

        losses = []
        self.optimizer.zero_grad(set_to_none=True)
        pieces = zip(batch.pieces(config.accumulate), hidden.chunk(config.accumulate), strict=True)
        for (image, _), piece_hidden in pieces:
            normalised = model.normalise(image)
            with autocast(image.device, config.precision):
                prediction = model.predict_patches(normalised, piece_hidden, visible=visible)
            target = model.target_patches(normalised, per_patch=config.norm_pix)
            loss = masked_patch_mse(prediction.float(), target, piece_hidden.float())
            (loss / config.accumulate).backward()
            losses.append(loss.detach())
        self._processes.average_gradients(model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
        self.optimizer.step()
        self.ema.update_parameters(model)
        return {"loss": torch.stack(losses).mean(), "gradient_norm": norm}

    @torch.no_grad()
    def sample_columns(self, batch: Batch) -> dict[str, Tensor]:
        """The columns of a sample grid.

        The reconstruction is from the image mask alone, as a prior sees it, without random hidden tokens.
        """
        model = self.ema.module
        assert isinstance(model, PatchAutoencoder)
        image, mask = batch.image[:_SAMPLES], batch.mask[:_SAMPLES]
        reconstruction = model.reconstruct(image, mask)
        columns = {"input": torch.where(mask > 0, 0.5, image), "mask": mask, "prior": reconstruction}
        attention = model(image, mask).attention
        if attention is not None:
            columns["attention"] = draw_attention(image, mask, attention, model.grid)
        return columns | {"composite": composite(reconstruction, image, mask), "target": image}


def hide_tokens(batch: Batch, patch_size: int, *, seed: int, ratio: float, mixed: bool) -> Tensor:
    """Choose the tokens to hide.

    Returns:
        ``(B, N)`` bool, True = hidden.
    """
    under_mask = token_masks(batch.mask, patch_size).any
    if not mixed:
        under_mask = torch.zeros_like(under_mask)
    first = batch.images_seen + batch.rows.start
    noise = torch.from_numpy(random_rows(seed, "tokens", first, *under_mask.shape)).float()
    return top_up(under_mask, ratio, to_device(noise, under_mask.device))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, as in MAE: not for biases, norms and tokens."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and p.shape[0] > 1]
    rest = [p for p in model.parameters() if p.requires_grad and not (p.ndim > 1 and p.shape[0] > 1)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
