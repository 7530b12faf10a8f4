"""Discriminators as opponents of a generator: their losses, and the losses they give the generator.

Source:
    Patch discriminator, R1 and feature matching as in LaMa (WACV 2022). Projected discriminator: Sauer et
    al., *Projected GANs Converge Faster* (NeurIPS 2021). Both together with hinge losses, the patch
    discriminator taking hole patches only for fake: Lu et al., GRIG (Computational Visual Media 2025).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from inpaint.features.pyramids import PYRAMIDS
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.projected_discriminator import ProjectedDiscriminator
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
from inpaint.train.recipes.discriminator_augment import sample_augmentation

Shown = tuple[Tensor, Tensor, Tensor]


class Adversary(Protocol):
    """A discriminator with its optimizer.

    Attributes:
        name: of its loss in the log.
        discriminator: what learns to tell fills from photos.
        optimizer: of the discriminator.
    """

    name: str
    discriminator: nn.Module
    optimizer: torch.optim.Optimizer

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's loss under its name, and parts of it worth logging.

        Args:
            fake: ``(B, 3, H, W)``, detached from the generator.
            image: ``(B, 3, H, W)``, real.
            mask: ``(B, 1, H, W)``, 1 = hole.
            step: number of the step in the run.
        """
        ...

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss that the discriminator gives the generator."""
        ...


def build_adversaries(config: AcrRunConfig, processes: Processes) -> list[Adversary]:
    """The discriminators of a run.

    Raises:
        CheckpointError: the file of a feature network cannot be read or does not fit.
    """
    adversaries: list[Adversary] = [PatchAdversary(config, processes)]
    if config.weights.projected > 0:
        adversaries.append(ProjectedAdversary(config, processes))
    return adversaries


class PatchAdversary(Adversary):
    """The patch discriminator, see :class:`Adversary`."""

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
            fused=processes.device.type in ("cpu", "cuda"),
        )

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's loss and, every so many steps, the R1 penalty in it."""
        config, weight = self._config, self._config.weights.r1
        fake, image, mask = _augment(config.augment_discriminator, fake, image, mask)
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
        loss = self._loss(real_logits, fake_logits, mask)
        if not penalised:
            return {self.name: loss}
        penalty = r1_of(real_logits, real)
        return {self.name: loss + weight * config.r1_every * penalty, "r1": penalty}

    def _loss(self, real_logits: Tensor, fake_logits: Tensor, mask: Tensor) -> Tensor:
        """What the answers for real images and fills cost the discriminator."""
        form, size = self._config.adversarial_loss, fake_logits.shape[2:]
        if self._config.adversarial_at == "everywhere":
            real = discriminator_real_loss(real_logits, form=form)
            return real + discriminator_fake_loss(fake_logits, mask, form=form)
        holes = hole_weights(mask, size)
        fake = discriminator_fake_loss(fake_logits, weights=holes, form=form)
        if self._config.adversarial_at == "holes":
            return discriminator_real_loss(real_logits, holes, form) + fake
        # Half for fake patches and half for real ones: most of a fill is known, and would outweigh its hole.
        known = discriminator_real_loss(fake_logits, hole_weights(1 - mask, size), form)
        return fake + (discriminator_real_loss(real_logits, form=form) + known) / 2

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss that the discriminator gives the generator."""
        config, discriminator = self._config, self.discriminator
        fake, image, mask = _augment(config.augment_discriminator, fake, image, mask)
        with frozen(discriminator.parameters()), autocast(image.device, config.precision):
            logits, fake_levels = discriminator(fake)
            with torch.no_grad():
                _, real_levels = discriminator(image)
        everywhere = config.adversarial_at == "everywhere"
        weights = None if everywhere else hole_weights(mask, logits.shape[2:])
        adversarial = generator_adversarial_loss(logits.float(), weights, config.adversarial_loss)
        matching = feature_matching_loss(
            [level.float() for level in fake_levels], [level.float() for level in real_levels]
        )
        return {
            "adversarial": (config.weights.adversarial, adversarial),
            "feature_matching": (config.weights.feature_matching, matching),
        }


class ProjectedAdversary(Adversary):
    """The projected discriminator with its frozen feature network, see :class:`Adversary`."""

    name = "projected_discriminator"

    def __init__(self, config: AcrRunConfig, processes: Processes) -> None:
        assert config.projected_weights is not None
        self._config = config
        network = PYRAMIDS[config.projected_network]
        self.features = network.from_file(config.projected_weights).to(processes.device)
        self.discriminator = ProjectedDiscriminator(network.channels, config.projected_width)
        self.discriminator.to(processes.device).train()
        if config.channels_last:
            self.features.to(memory_format=torch.channels_last)
            self.discriminator.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            [p for p in self.discriminator.parameters() if p.requires_grad],
            config.discriminator_learning_rate,
            config.betas,
            fused=processes.device.type in ("cpu", "cuda"),
        )

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The mean of the scales' losses; every scale looks at whole images."""
        fake, image, _ = _augment(self._config.augment_discriminator, fake, image, mask)
        form = self._config.adversarial_loss
        pairs = zip(self._logits(image), self._logits(fake), strict=True)
        losses = [
            discriminator_real_loss(real, form=form) + discriminator_fake_loss(made, form=form)
            for real, made in pairs
        ]
        return {self.name: torch.stack(losses).mean()}

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of the loss that the discriminator gives the generator."""
        fake, _, _ = _augment(self._config.augment_discriminator, fake, image, mask)
        form = self._config.adversarial_loss
        with frozen(self.discriminator.parameters()):
            losses = [generator_adversarial_loss(logits, form=form) for logits in self._logits(fake)]
        return {"projected": (self._config.weights.projected, torch.stack(losses).mean())}

    def _logits(self, image: Tensor) -> list[Tensor]:
        with autocast(image.device, self._config.precision):
            logits = self.discriminator(self.features(image))
        return [values.float() for values in logits]


def _augment(wanted: bool, fake: Tensor, image: Tensor, mask: Tensor) -> Shown:
    """One random transform of fill, real image and mask, if wanted."""
    if not wanted:
        return fake, image, mask
    transform = sample_augmentation(image)
    return transform.image(fake), transform.image(image), transform.mask(mask)


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]):
    """Keep gradients from being made for parameters that only pass them on."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
