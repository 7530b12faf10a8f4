"""Discriminators as opponents of a generator: their losses, and the losses they give the generator.

Source:
    Patch discriminator, R1 and feature matching as in LaMa (WACV 2022). Projected discriminator: Sauer et
    al., *Projected GANs Converge Faster* (NeurIPS 2021). Both together with hinge losses, the patch
    discriminator taking hole patches only for fake, augmented masks: Lu et al., GRIG (Computational Visual
    Media 2025). Augmentation: Zhao et al., *Differentiable Augmentation for Data-Efficient GAN Training*
    (NeurIPS 2020): colours, translation and cut-out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from inpaint.features.perceptual import PYRAMIDS
from inpaint.models.discriminator import PatchDiscriminator, ProjectedDiscriminator
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_weights,
    r1_of,
    scale_mask,
)
from inpaint.train.optimise import autocast, build_adam, uncompiled

_LARGEST_SHIFT = 1 / 8  # of the side
_CUT_OUT = 1 / 2  # of the side
_GREY = 0.5


class Adversary(ABC):
    """A discriminator with its optimizer.

    Attributes:
        name: of its loss in the log.
        discriminator: what learns to tell fills from photos.
        optimizer: of the discriminator.
    """

    name: str

    def __init__(self, config: AcrRunConfig, discriminator: nn.Module, processes: Processes) -> None:
        self._config, self.discriminator = config, discriminator.to(processes.device).train()
        processes.share_statistics(discriminator)
        if config.channels_last:
            discriminator.to(memory_format=torch.channels_last)
        self._trained = [p for p in discriminator.parameters() if p.requires_grad]
        rate, betas = config.discriminator_learning_rate, config.betas
        self.optimizer = build_adam(self._trained, rate, betas, processes.device)

    @abstractmethod
    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's loss under its name, and parts of it worth logging.

        Args:
            fake: ``(B, 3, H, W)``, detached from the generator.
            image: ``(B, 3, H, W)``, real.
            mask: ``(B, 1, H, W)``, 1 = hole.
            step: number of the step in the run.
        """

    @abstractmethod
    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss that the discriminator gives the generator."""

    def _augmented(self, fake: Tensor, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One random transform of fill, real image and mask, if the config wants it."""
        if not self._config.augment_discriminator:
            return fake, image, mask
        transform = sample_augmentation(image)
        return transform.image(fake), transform.image(image), transform.mask(mask)

    @contextmanager
    def _constant(self) -> Iterator[None]:
        """Keep gradients from being made for the discriminator, which only passes them on."""
        for parameter in self._trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._trained:
                parameter.requires_grad_(True)


class PatchAdversary(Adversary):
    """The patch discriminator, see :class:`Adversary`."""

    name = "discriminator"

    def __init__(self, config: AcrRunConfig, processes: Processes) -> None:
        super().__init__(config, PatchDiscriminator(config.discriminator_width), processes)
        if config.compile:
            self.discriminator.compile()

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's loss and, every so many steps, the R1 penalty in it."""
        config, weight = self._config, self._config.weights.r1
        fake, image, mask = self._augmented(fake, image, mask)
        penalised = weight > 0 and step % config.r1_every == 0
        # The penalty is of the very pass that sees the real images, so that BatchNorm counts them once; that
        # pass stays in float32, as a gradient of a gradient needs.
        real = image.detach().requires_grad_(penalised)
        with uncompiled(penalised and config.compile):
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
            hole = scale_mask(mask, size)
            real = discriminator_real_loss(real_logits, form=form)
            known = discriminator_real_loss(fake_logits, 1 - hole, form)
            return real + (discriminator_fake_loss(fake_logits, hole, form) + known)
        holes = hole_weights(mask, size)
        fake = discriminator_fake_loss(fake_logits, holes, form)
        if self._config.adversarial_at == "holes":
            return discriminator_real_loss(real_logits, holes, form) + fake
        # Half for fake patches and half for real ones: most of a fill is known, and would outweigh its hole.
        known = discriminator_real_loss(fake_logits, hole_weights(1 - mask, size), form)
        return fake + (discriminator_real_loss(real_logits, form=form) + known) / 2

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss that the discriminator gives the generator."""
        config, weights = self._config, self._config.weights
        fake, image, mask = self._augmented(fake, image, mask)
        with self._constant(), autocast(image.device, config.precision):
            logits, fake_levels = self.discriminator(fake)
        places = None if config.adversarial_at == "everywhere" else hole_weights(mask, logits.shape[2:])
        adversarial = generator_adversarial_loss(logits.float(), places, config.adversarial_loss)
        losses = {"adversarial": (weights.adversarial, adversarial)}
        if weights.feature_matching > 0:
            with torch.no_grad(), autocast(image.device, config.precision):
                _, real_levels = self.discriminator(image)
            levels = ([level.float() for level in each] for each in (fake_levels, real_levels))
            losses["feature_matching"] = (weights.feature_matching, feature_matching_loss(*levels))
        return losses


class ProjectedAdversary(Adversary):
    """The projected discriminator with its frozen feature network, see :class:`Adversary`."""

    name = "projected_discriminator"

    def __init__(self, config: AcrRunConfig, processes: Processes) -> None:
        assert config.projected_weights is not None
        network = PYRAMIDS[config.projected_network]
        self.features = network().load_weights(config.projected_weights).to(processes.device)
        if config.channels_last:
            self.features.to(memory_format=torch.channels_last)
        super().__init__(config, ProjectedDiscriminator(network.channels, config.projected_width), processes)

    def discriminator_losses(self, fake: Tensor, image: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The mean of the scales' losses; every scale looks at whole images."""
        fake, image, _ = self._augmented(fake, image, mask)
        form = self._config.adversarial_loss
        pairs = zip(self._logits(image), self._logits(fake), strict=True)
        losses = [
            discriminator_real_loss(real, form=form) + discriminator_fake_loss(made, form=form)
            for real, made in pairs
        ]
        return {self.name: torch.stack(losses).mean()}

    def generator_losses(self, fake: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of the loss that the discriminator gives the generator."""
        fake, _, _ = self._augmented(fake, image, mask)
        form = self._config.adversarial_loss
        with self._constant():
            losses = [generator_adversarial_loss(logits, form=form) for logits in self._logits(fake)]
        return {"projected": (self._config.weights.projected, torch.stack(losses).mean())}

    def _logits(self, image: Tensor) -> list[Tensor]:
        with autocast(image.device, self._config.precision):
            logits = self.discriminator(self.features(image))
        return [values.float() for values in logits]


class Augmentation(NamedTuple):
    """One random transform for each image of a batch, differentiable."""

    colours: Tensor  # (B, 3) in [0, 1): brightness, saturation, contrast
    shift: Tensor  # (B, 2) whole pixels, down and right
    kept: Tensor  # (B, 1, H, W) bool, pixels that show some of the image: neither moved in nor cut out

    def image(self, image: Tensor) -> Tensor:
        """Transform images ``(B, 3, H, W)``, differentiably; what comes in from outside is grey."""
        brightness, saturation, contrast = (c[:, None, None, None] for c in self.colours.to(image).T)
        image = image + (brightness - 0.5) / 2
        grey = image.mean(dim=1, keepdim=True)
        image = grey + (image - grey) * 2 * saturation
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        image = mean + (image - mean) * (contrast + 0.5)
        return torch.where(self.kept, self._moved(image), _GREY)

    def mask(self, mask: Tensor) -> Tensor:
        """Transform masks ``(B, 1, H, W)`` alike; what comes in or is cut out is no hole."""
        return torch.where(self.kept, self._moved(mask), 0.0)

    def _moved(self, image: Tensor) -> Tensor:
        """Move each image by whole pixels; what is moved out comes in at the other side."""
        pairs = zip(image, self.shift.tolist(), strict=True)
        return torch.stack([torch.roll(one, tuple(by), (-2, -1)) for one, by in pairs])


def sample_augmentation(image: Tensor) -> Augmentation:
    """Draw a transform for each image of a batch ``(B, C, H, W)``, from torch's global generator."""
    count, (height, width) = len(image), image.shape[-2:]
    sides = torch.tensor([height, width])
    shift = ((2 * torch.rand(count, 2) - 1) * _LARGEST_SHIFT * sides).round().long()
    cut = (torch.rand(count, 2) * sides).long()
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    (down, right), (row, column) = (v[:, :, None, None].unbind(1) for v in (shift, cut))
    inside = (rows >= down) & (rows < height + down) & (columns >= right) & (columns < width + right)
    reach = _CUT_OUT / 2
    hidden = ((rows - row).abs() < height * reach) & ((columns - column).abs() < width * reach)
    return Augmentation(torch.rand(count, 3), shift, (inside & ~hidden)[:, None].to(image.device))
