"""Training of a prior, a masked autoencoder of either kind.

Source:
    He et al., MAE (CVPR 2022), section 3 and appendix A, which Woo et al., ConvNeXt V2 (CVPR 2023), follow;
    mixed masks and global pixel targets after Cao et al. (ECCV 2022). Predicting features of hidden patches
    is MaskFeat's idea (Wei et al., CVPR 2022); network, layers and weights of the distillation are ours.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.data.randomness import random_rows
from inpaint.device import to_device
from inpaint.errors import ConfigError
from inpaint.features.perceptual import MobileNetPyramid
from inpaint.layers.convnext import MaskedBlock
from inpaint.layers.transformer import TransformerBlock
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import build_fcmae, build_mae
from inpaint.tokens import token_masks, top_up, visible_tokens
from inpaint.train.config import FcmaeRunConfig, MaeRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import add_means, masked_patch_mse
from inpaint.train.optimise import Ema, autocast, build_adam, decay_groups, learning_rate_factor
from inpaint.train.recipes.initialise import load_prior
from inpaint.train.sample_grid import columns_of
from inpaint.train.state import Stateful

_TAPS = {13: 96, 17: 320}  # blocks of MobileNetV2, 1/16 and 1/32 of the resolution: their channels
_VISIBLE = 0.25  # what a visible token counts, a hidden one being 1


class PriorRecipe:
    """A masked autoencoder, its averaged weights (``ema``: what the checkpoint holds) and its optimizer.

    Raises:
        CheckpointError: ``init_checkpoint`` does not hold such a prior.
        ConfigError: images of another size than the preset's.
    """

    def __init__(self, config: MaeRunConfig, processes: Processes) -> None:
        self.config, self._processes = config, processes
        torch.manual_seed(config.seed)
        build = build_fcmae if isinstance(config, FcmaeRunConfig) else build_mae
        network: PatchAutoencoder = build(config.preset)
        if not config.size == network.image_size or config.smallest_size or config.early_size:
            raise ConfigError(
                f"size is {config.size}, expected {network.image_size} throughout, the side of "
                f"{config.preset}, and neither smallest_size nor early_size"
            )
        self.started_from = "all new"
        if config.init_checkpoint is not None:
            load_prior(network, config.init_checkpoint, config.preset)
            self.started_from = f"prior from {config.init_checkpoint.name}"
        self.network = network.to(processes.device)
        self.ema = Ema(network, config.ema_decay)
        if config.compile:
            for module in network.modules():
                if isinstance(module, TransformerBlock | MaskedBlock):  # one kind shares what was compiled
                    module.compile()
        groups = decay_groups(network, config.weight_decay)
        self.distillation = None
        if config.distillation and config.mobilenet_weights is not None:
            self.distillation = FeatureDistillation(network, config.mobilenet_weights)
            groups.append({"params": [*self.distillation.heads.parameters()], "weight_decay": 0.0})
        rate, betas = config.learning_rate, config.betas
        self.optimizer = build_adam(groups, rate, betas, processes.device, torch.optim.AdamW)

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        parts: dict[str, Stateful] = {"model": self.network, "ema": self.ema, "optimizer": self.optimizer}
        return parts | ({"distillation": self.distillation.heads} if self.distillation else {})

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from this process's share of a batch; gives values for the log, means over that share."""
        config, network = self.config, self.network
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(config, batch.images_seen)
        hidden = hide_tokens(
            batch, network.patch_size, seed=config.seed, ratio=config.mask_ratio, mixed=config.mixed_masks
        )
        visible = visible_tokens(hidden.shape[1], config.mask_ratio) or None

        values = dict[str, Tensor]()
        self.optimizer.zero_grad(set_to_none=True)
        pieces = zip(batch.pieces(config.accumulate), hidden.chunk(config.accumulate), strict=True)
        for (image, _), piece_hidden in pieces:
            normalised, weights = network.normalise(image), piece_hidden.float()
            with autocast(image.device, config.precision):
                prediction = network.predict_patches(normalised, piece_hidden, visible=visible)
            target = network.target_patches(normalised, per_patch=config.norm_pix)
            losses = {"loss": masked_patch_mse(prediction.float(), target, weights)}
            if self.distillation:
                with autocast(image.device, config.precision):
                    losses["features"] = self.distillation.loss(image, weights)
            total = losses["loss"] + config.distillation * losses.get("features", 0)
            (total / config.accumulate).backward()
            add_means(values, losses, config.accumulate)
        for trained in (network, self.distillation.heads) if self.distillation else (network,):
            self._processes.average_gradients(trained.parameters())
        norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
        self.optimizer.step()
        self.ema.update_parameters(network)
        return values | {"gradient_norm": norm}

    def sample_columns(self, batch: Batch) -> Mapping[str, Tensor]:
        """The columns of a sample grid, each ``(B, C, H, W)`` in [0, 1].

        The reconstruction is from the image mask alone, as a prior sees it, without random hidden tokens.
        """
        prior = self.ema.module
        assert isinstance(prior, PatchAutoencoder)
        return columns_of(batch.image, batch.mask, prior)


def hide_tokens(batch: Batch, patch_size: int, *, seed: int, ratio: float, mixed: bool) -> Tensor:
    """Choose the tokens to hide: ``(B, N)`` bool, True = hidden."""
    under_mask = token_masks(batch.mask, patch_size).any
    if not mixed:
        under_mask = torch.zeros_like(under_mask)
    first = batch.images_seen + batch.rows.start
    noise = torch.from_numpy(random_rows(seed, "tokens", first, *under_mask.shape)).float()
    return top_up(under_mask, ratio, to_device(noise, under_mask.device))


class FeatureDistillation:
    """Predict MobileNetV2's features of every token from what the decoder of an autoencoder gives.

    The heads are needed in training only: the autoencoder's weights, keys and outputs stay what they are.

    Args:
        autoencoder: on the device it is trained on.
        weights: MobileNetV2 with torchvision's key names.

    Raises:
        CheckpointError: ``weights`` is something else.
    """

    def __init__(self, autoencoder: PatchAutoencoder, weights: Path) -> None:
        device = autoencoder.mean.device
        self._grid = autoencoder.grid
        self._network = MobileNetPyramid(tuple(_TAPS)).load_weights(weights).to(device)
        self._network.to(memory_format=torch.channels_last)
        self.heads = nn.ModuleList(nn.Linear(autoencoder.feature_channels, c) for c in _TAPS.values())
        self.heads.to(device)
        autoencoder.get_submodule("to_pixels").register_forward_pre_hook(self._keep_decoded)

    def loss(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Compare what was decoded last with the features of ``image`` in [0, 1].

        Smooth L1 of features standardised by channel over the batch, mean over a token's channels, then over
        the tokens of ``hidden`` ``(B, N)``, 1 = hidden; the sum over both blocks.
        """
        weights, total = hidden + _VISIBLE * (1 - hidden), hidden.new_zeros(())
        for head, target in zip(self.heads, self._targets(image), strict=True):
            errors = F.smooth_l1_loss(head(self._decoded).float(), target, reduction="none").mean(2)
            total = total + (errors * weights).sum() / hidden.sum().clamp(min=1)
        return total

    @torch.no_grad()
    def _targets(self, image: Tensor) -> list[Tensor]:
        """Standardised features ``(B, N, C)`` of each block."""
        maps = self._network(image.contiguous(memory_format=torch.channels_last))
        maps = [F.interpolate(one.float(), self._grid, mode="bilinear") for one in maps]
        # Clamped: these features have heavy tails, which would rule the loss.
        return [F.batch_norm(one, None, None, training=True).clamp(-5, 5).flatten(2).mT for one in maps]

    def _keep_decoded(self, _: nn.Module, inputs: tuple[Tensor]) -> None:
        """Keep the decoder's output as tokens ``(B, N, E)``; a convolutional one is ``(B, E, h, w)``."""
        (decoded,) = inputs
        if decoded.ndim == 4:
            decoded = F.adaptive_avg_pool2d(decoded, self._grid).flatten(2).mT
        self._decoded = decoded
