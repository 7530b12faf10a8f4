"""One step of training adapter and generator against a discriminator; also what benchmarks time.

Source:
    Losses and their weights after LaMa (WACV 2022) and MAE-FAR (ECCV 2022); see
    :mod:`inpaint.train.losses` for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.features.frozen import TapNetwork
from inpaint.mask import composite
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.inpainter import Inpainter
from inpaint.train.compute import in_precision, uncompiled
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    hole_weights,
    r1_of,
    weighted_l1,
)
from inpaint.train.schedule import Ema, set_rates
from inpaint.train.state import Stateful


@dataclass(frozen=True)
class AcrParts:
    """What changes as adapter and generator learn, and the frozen judge of their features."""

    network: Inpainter
    discriminator: PatchDiscriminator
    ema: Ema
    optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    features: TapNetwork | None
    came_from: str
    """Where the network's weights came from, for the checkpoint's notes."""

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        return {
            "network": self.network,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def acr_step(config: AcrRunConfig, parts: AcrParts, batch: Batch, processes: Processes) -> dict[str, Tensor]:
    """Learn from one batch: the discriminator first, then adapter and generator.

    With ``accumulate`` above one the generator's prediction is made twice, since keeping all parts of the
    batch with their graphs is the memory that accumulation saves. BatchNorm then sees one part at a time.

    Args:
        config: the run.
        parts: what learns, from :func:`start_acr`.
        batch: this process's share.
        processes: that take the step together.

    Returns:
        Values for the log: means over this process's share.
    """
    highest = {
        parts.optimizer: config.learning_rate,
        parts.discriminator_optimizer: config.discriminator_learning_rate,
    }
    set_rates(highest, config, batch.images_seen)
    for alphas in parts.optimizer.param_groups[1:]:  # see start_acr
        alphas["lr"] *= config.alpha_rate
    pieces = batch.pieces(config.accumulate)
    if config.channels_last:
        pieces = [(image.contiguous(memory_format=torch.channels_last), mask) for image, mask in pieces]
    predictions: list[Tensor | None] = [None] * len(pieces)
    if len(pieces) == 1:
        predictions = [_predict(config, parts, *pieces[0])]
    adversarial = config.weights.adversarial > 0 and batch.images_seen >= config.adversarial_after_images
    values: dict[str, Tensor] = {}

    if adversarial:
        parts.discriminator_optimizer.zero_grad(set_to_none=True)
        for (image, mask), prediction in zip(pieces, predictions, strict=True):
            if prediction is None:
                with torch.no_grad(), _running_statistics_kept(parts.network):
                    prediction = _predict(config, parts, image, mask)
            judged = _judged(config, prediction, image, mask).detach()
            losses = _discriminator_losses(config, parts, batch.images_seen, judged, image, mask)
            (losses["discriminator"] / len(pieces)).backward()
            _add_means(values, losses, len(pieces))
        processes.average_gradients(parts.discriminator.parameters())
        parts.discriminator_optimizer.step()

    parts.optimizer.zero_grad(set_to_none=True)
    for (image, mask), prediction in zip(pieces, predictions, strict=True):
        if prediction is None:
            prediction = _predict(config, parts, image, mask)
        losses = _generator_losses(config, parts, adversarial, prediction, image, mask)
        (losses["loss"] / len(pieces)).backward()
        _add_means(values, losses | {"hole_error": _hole_error(prediction, image, mask)}, len(pieces))
    processes.average_gradients(parts.network.parameters())
    parts.optimizer.step()
    parts.ema.update(parts.network)
    return values


def _predict(config: AcrRunConfig, parts: AcrParts, image: Tensor, mask: Tensor) -> Tensor:
    """The raw prediction ``(B, 3, H, W)`` in float32."""
    with in_precision(config, image.device):
        network = parts.network
        prediction = network(image, mask) if config.prior else network.generator(image, mask)
    return prediction.float()


def _judged(config: AcrRunConfig, prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """What discriminator and perceptual loss see."""
    return prediction if config.judged == "prediction" else composite(prediction, image, mask)


def _places(config: AcrRunConfig, mask: Tensor, logits: Tensor) -> Tensor | None:
    """Factors of the patches where is judged; None judges everywhere."""
    return hole_weights(mask, logits.shape[2:]) if config.adversarial_at == "holes" else None


def _discriminator_losses(
    config: AcrRunConfig, parts: AcrParts, images_seen: int, judged: Tensor, image: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """The discriminator's loss and, every so many steps, the R1 penalty in it."""
    weight = config.weights.r1
    penalised = weight > 0 and images_seen // config.batch_size % config.r1_every == 0
    # The penalty is of the very pass that judges the photos, so that BatchNorm counts them once; that pass
    # stays in float32, as a gradient of a gradient needs.
    photos = image.detach().requires_grad_(penalised)
    with uncompiled(config) if penalised else nullcontext():
        with in_precision(config, image.device, enabled=not penalised):
            real_logits, _ = parts.discriminator(photos)
        with in_precision(config, image.device):
            fake_logits, _ = parts.discriminator(judged)
    real_logits, fake_logits = real_logits.float(), fake_logits.float()
    weights = _places(config, mask, fake_logits)
    holes = mask if weights is None else None
    fake_loss = discriminator_fake_loss(fake_logits, holes, weights=weights)
    loss = discriminator_real_loss(real_logits, weights) + fake_loss
    if not penalised:
        return {"discriminator": loss}
    penalty = r1_of(real_logits, photos)
    return {"discriminator": loss + weight * config.r1_every * penalty, "r1": penalty}


def _generator_losses(
    config: AcrRunConfig, parts: AcrParts, adversarial: bool, prediction: Tensor, image: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Adapter's and generator's weighted loss, and its parts before their weights."""
    weights, discriminator = config.weights, parts.discriminator
    judged = _judged(config, prediction, image, mask)
    values = {"l1": weighted_l1(prediction, image, mask, known=weights.l1_known, hole=weights.l1_hole)}
    loss = values["l1"]
    if parts.features is not None:
        values["perceptual"] = parts.features.feature_distance(judged, image).mean()
        loss = loss + weights.perceptual * values["perceptual"]
    if adversarial:
        with _frozen(discriminator.parameters()), in_precision(config, image.device):
            fake_logits, fake_levels = discriminator(judged)
            with torch.no_grad():
                _, real_levels = discriminator(image)
        values["adversarial"] = generator_adversarial_loss(
            fake_logits.float(), _places(config, mask, fake_logits)
        )
        values["feature_matching"] = feature_matching_loss(
            [level.float() for level in fake_levels], [level.float() for level in real_levels]
        )
        loss = loss + weights.adversarial * values["adversarial"]
        loss = loss + weights.feature_matching * values["feature_matching"]
    return values | {"loss": loss}


def _add_means(values: dict[str, Tensor], losses: Mapping[str, Tensor], pieces: int) -> None:
    """Add one piece's share to the means over all pieces."""
    for name, loss in losses.items():
        values[name] = values.get(name, 0) + loss.detach() / pieces


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]):
    """Keep gradients from being made for parameters that only pass them on."""
    parameters = list(parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def _running_statistics_kept(network: nn.Module):
    """Keep a pass that will be repeated from moving the running statistics of BatchNorm."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@torch.no_grad()
def _hole_error(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over a picture's hole pixels, mean over pictures: the curve that means PSNR."""
    squared = ((prediction - image).square() * mask).sum((1, 2, 3))
    return (squared / (3 * mask.sum((1, 2, 3)))).mean()
