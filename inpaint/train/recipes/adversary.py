"""Discriminators as opponents of a generator: their losses, and the losses they give the generator.

Source:
    Patch discriminator, R1 and feature matching as in LaMa (WACV 2022).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from inpaint.models.discriminator import PatchDiscriminator
from inpaint.train.compute import autocast, compile_each, uncompiled
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_weights,
    r1_of,
)


class PatchAdversary:
    """The patch discriminator with its optimizer.

    Attributes:
        name: of its loss in the log.
    """

    name = "discriminator"

    def __init__(self, config: AcrRunConfig, processes: Processes) -> None:
        self._config = config
        self.discriminator = PatchDiscriminator(config.discriminator_width).to(processes.device)
        processes.share_statistics(self.discriminator)
        if config.channels_last:
            self.discriminator.to(memory_format=torch.channels_last)
        self.discriminator.train()
        if config.compile:
            compile_each([self.discriminator])
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(),
            config.discriminator_learning_rate,
            config.betas,
            fused=processes.device.type == "cuda",
        )

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's loss and, every so many steps, the R1 penalty in it.

        Args:
            fake: ``(B, 3, H, W)``, detached from the generator.
            image: ``(B, 3, H, W)``, real.
            mask: ``(B, 1, H, W)``, 1 = hole.
            step: number of the step in the run.
        """
        config, weight = self._config, self._config.weights.r1
        penalised = weight > 0 and step % config.r1_every == 0
        # The penalty is of the very pass that sees the real images, so that BatchNorm counts them once; that
        # pass stays in float32, as a gradient of a gradient needs.
        real = image.detach().requires_grad_(penalised)
        with uncompiled(config.compile) if penalised else nullcontext():
            with autocast(image.device, config.precision, enabled=not penalised):
                real_logits, _ = self.discriminator(real)
            with autocast(image.device, config.precision):
                fake_logits, _ = self.discriminator(fake)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        weights = self._patch_weights(mask, fake_logits)
        holes = mask if weights is None else None
        fake_loss = discriminator_fake_loss(fake_logits, holes, weights=weights)
        loss = discriminator_real_loss(real_logits, weights) + fake_loss
        if not penalised:
            return {self.name: loss}
        penalty = r1_of(real_logits, real)
        return {self.name: loss + weight * config.r1_every * penalty, "r1": penalty}

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss that the discriminator gives the generator."""
        weights, discriminator = self._config.weights, self.discriminator
        with frozen(discriminator.parameters()), autocast(image.device, self._config.precision):
            logits, fake_levels = discriminator(fake)
            with torch.no_grad():
                _, real_levels = discriminator(image)
        adversarial = generator_adversarial_loss(logits.float(), self._patch_weights(mask, logits))
        matching = feature_matching_loss(
            [level.float() for level in fake_levels], [level.float() for level in real_levels]
        )
        return {
            "adversarial": (weights.adversarial, adversarial),
            "feature_matching": (weights.feature_matching, matching),
        }

    def _patch_weights(self, mask: Tensor, logits: Tensor) -> Tensor | None:
        """Weights of the patches; None weighs all alike."""
        holes_only = self._config.adversarial_at == "holes"
        return hole_weights(mask, logits.shape[2:]) if holes_only else None


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]):
    """Keep gradients from being made for parameters that only pass them on."""
    parameters = list(parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
