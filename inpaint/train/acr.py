"""Train adapter and generator against a discriminator, the prior frozen: one loop, told in blocks.

Source:
    Losses and their weights after LaMa (WACV 2022) and MAE-FAR (ECCV 2022); see
    :mod:`inpaint.train.losses` for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint.checkpoint import load_checkpoint, save_checkpoint
from inpaint.device import choose_device
from inpaint.errors import CheckpointError
from inpaint.mask import composite
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder
from inpaint.models.presets import build_inpainter
from inpaint.train.batches import Batches
from inpaint.train.config import AcrRunConfig
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    r1_penalty,
    weighted_l1,
)
from inpaint.train.perceptual import load_perceptual
from inpaint.train.schedule import Ema, set_rates
from inpaint.train.state import load_latest_state, save_state
from inpaint.train.watch import Progress, Watch


def fit_acr(config: AcrRunConfig, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Train, or go on training where the run's folder stands.

    Everything random follows from the seed and the number of images seen, so that a run that was stopped
    and started again continues the same curve.

    Args:
        config: the run; its ``out`` folder receives states, samples, ``stats.jsonl`` and the checkpoint.
        on_progress: called after every logged step.

    Returns:
        The path of the checkpoint: averaged weights and the prior, ready to use.

    Raises:
        DataError: if no photo can be read.
        CheckpointError: if a checkpoint to start from does not fit the preset.
    """
    # -- data, networks, optimizers
    device = choose_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    watch = Watch(config, on_progress)
    network = start_network(config).to(device)
    discriminator = PatchDiscriminator(config.discriminator_width).to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
        discriminator.to(memory_format=torch.channels_last)
    network.train()
    ema = Ema(network, config.ema_decay)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, config.learning_rate, config.betas)
    discriminator_optimizer = torch.optim.Adam(
        discriminator.parameters(), config.discriminator_learning_rate, config.betas
    )
    features = None
    if config.perceptual_weights is not None and config.weights.perceptual > 0:
        features = load_perceptual(config.perceptual_network, config.perceptual_weights).to(device)
    batches = Batches(config, device, watch.note)
    stateful = {
        "network": network,
        "discriminator": discriminator,
        "ema": ema,
        "optimizer": optimizer,
        "discriminator_optimizer": discriminator_optimizer,
    }
    rates: dict[torch.optim.Optimizer, float] = {
        optimizer: config.learning_rate,
        discriminator_optimizer: config.discriminator_learning_rate,
    }
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

    def in_precision() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    # -- train
    weights = config.weights
    watch.start(images_seen)
    while images_seen < config.images:
        image, mask, _ = batches.after(images_seen)
        if config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        set_rates(rates, config, images_seen)
        step = images_seen // config.batch_size
        values: dict[str, Tensor] = {}

        with in_precision():
            prediction = network(image, mask) if config.prior else network.generator(image, mask)
        prediction = prediction.float()
        judged = prediction if config.judged == "prediction" else composite(prediction, image, mask)

        # the discriminator learns first, on what the generator just made
        adversarial = weights.adversarial > 0 and images_seen >= config.adversarial_after_images
        if adversarial:
            with in_precision():
                real_logits, _ = discriminator(image)
                fake_logits, _ = discriminator(judged.detach())
            loss = discriminator_real_loss(real_logits.float())
            loss = loss + discriminator_fake_loss(fake_logits.float(), mask)
            if weights.r1 > 0 and step % config.r1_every == 0:
                values["r1"] = r1_penalty(discriminator, image)
                loss = loss + weights.r1 * config.r1_every * values["r1"]
            discriminator_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            discriminator_optimizer.step()
            values["discriminator"] = loss

        # then the generator, judged by the discriminator that learned
        values["l1"] = weighted_l1(prediction, image, mask, known=weights.l1_known, hole=weights.l1_hole)
        loss = values["l1"]
        if features is not None:
            values["perceptual"] = features.feature_distance(judged, image).mean()
            loss = loss + weights.perceptual * values["perceptual"]
        if adversarial:
            with _frozen(discriminator.parameters()), in_precision():
                fake_logits, fake_levels = discriminator(judged)
                with torch.no_grad():
                    _, real_levels = discriminator(image)
            values["adversarial"] = generator_adversarial_loss(fake_logits.float())
            values["feature_matching"] = feature_matching_loss(
                [level.float() for level in fake_levels], [level.float() for level in real_levels]
            )
            loss = loss + weights.adversarial * values["adversarial"]
            loss = loss + weights.feature_matching * values["feature_matching"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        ema.update(network)
        images_seen += config.batch_size

        watch.step(images_seen, values | {"loss": loss, "hole_error": _hole_error(prediction, image, mask)})
        if watch.due("sample"):
            watch.sheet(images_seen, _sample_columns(ema.network, image[:8], mask[:8], config.prior))
        if watch.due("save"):
            checkpoint()
    return checkpoint()


def start_network(config: AcrRunConfig) -> Inpainter:
    """The network a run begins with: new, or from a checkpoint, with the trained prior if one is given.

    Raises:
        CheckpointError: if a checkpoint is of another kind or preset.
    """
    network = build_inpainter(config.preset)
    if config.init_checkpoint is not None:
        begun = load_checkpoint(config.init_checkpoint)
        if not isinstance(begun, Inpainter) or begun.preset != network.preset:
            raise CheckpointError(
                f"{config.init_checkpoint} holds another network, expected one of preset {config.preset}"
            )
        network = begun
    if config.mae_checkpoint is not None:
        prior = load_checkpoint(config.mae_checkpoint)
        if not isinstance(prior, MaskedAutoencoder) or prior.preset != network.preset.mae:
            raise CheckpointError(
                f"{config.mae_checkpoint} does not hold the masked autoencoder of preset {config.preset}"
            )
        network.prior = prior.requires_grad_(False)
    return network


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


@torch.no_grad()
def _hole_error(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over hole pixels, in the units of [0, 1]: the curve that means PSNR."""
    return ((prediction - image).square() * mask).sum() / (3 * mask.sum())


@torch.no_grad()
def _sample_columns(network: nn.Module, image: Tensor, mask: Tensor, use_prior: bool) -> dict[str, Tensor]:
    """What a sample sheet shows: input, the prior's reconstruction, raw prediction, composite, target."""
    assert isinstance(network, Inpainter)
    columns = {"input": torch.where(mask > 0, 0.5, image)}
    if use_prior and network.prior is not None:
        columns["prior"] = network.prior.reconstruct(image, mask)
        prediction = network(image, mask)
    else:
        prediction = network.generator(image, mask).clamp(0, 1)
    return columns | {
        "prediction": prediction,
        "composite": composite(prediction, image, mask),
        "target": image,
    }
