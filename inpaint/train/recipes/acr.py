"""Training of an inpainter: adapter and generator against discriminators, the prior frozen.

Source:
    Losses and their weights after LaMa (WACV 2022) and MAE-FAR (ECCV 2022); see
    :mod:`inpaint.train.losses` for each.
"""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.data.randomness import image_seed
from inpaint.features.perceptual import MobileNetPyramid
from inpaint.mask import composite
from inpaint.models.inpainter import Inpainter
from inpaint.models.presets import vary_preset
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.losses import add_means, block_losses, repetition_loss, style_loss, weighted_l1
from inpaint.train.optimise import Ema, autocast, build_adam, learning_rate_factor
from inpaint.train.recipes.adversary import Adversary, PatchAdversary, ProjectedAdversary
from inpaint.train.recipes.initialise import initialise_inpainter, load_perceptual
from inpaint.train.sample_grid import columns_of
from inpaint.train.state import Stateful


class AcrRecipe:
    """An inpainter, its averaged weights, its discriminators and the frozen network of its perceptual loss.

    Raises:
        CheckpointError: a checkpoint to start from, or a feature network, does not fit.
        ConfigError: the variant is impossible.
    """

    def __init__(self, config: AcrRunConfig, processes: Processes) -> None:
        self.config, self._processes = config, processes
        torch.manual_seed(config.seed)
        self.network, self.started_from = initialise_inpainter(
            vary_preset(config.preset, **asdict(config.variant)),
            config.init_checkpoint,
            config.prior_checkpoint,
        )
        self.network.to(processes.device)
        self.adversaries: list[Adversary] = []
        if config.weights.adversarial > 0:
            self.adversaries.append(PatchAdversary(config, processes))
        if config.weights.projected > 0:
            self.adversaries.append(ProjectedAdversary(config, processes))
        processes.share_statistics(self.network)
        if config.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.network.train()
        self.ema = Ema(self.network, config.ema_decay)
        if config.compile:
            for block in self.network.generator.blocks:  # not what controls its flow by data, as transfers do
                block.compile()
        self.features = None
        if config.perceptual_weights is not None and config.weights.perceptual > 0:
            self.features = load_perceptual(config.perceptual_network, config.perceptual_weights)
            self.features.to(processes.device)
        self.blocks = None
        if config.mobilenet_weights is not None and config.weights.mobilenet + config.weights.mobilenet_means:
            self.blocks = MobileNetPyramid((1, *MobileNetPyramid.TAPS)).load_weights(config.mobilenet_weights)
            self.blocks.to(processes.device).to(memory_format=torch.channels_last)
        groups = _alphas_apart(self.network)
        self.optimizer = build_adam(groups, config.learning_rate, config.betas, processes.device)

    def stateful(self) -> dict[str, Stateful]:
        """What a state holds, by its name there."""
        parts: dict[str, Stateful] = {"network": self.network, "ema": self.ema, "optimizer": self.optimizer}
        for adversary in self.adversaries:
            parts[adversary.name] = adversary.discriminator
            parts[f"{adversary.name}_optimizer"] = adversary.optimizer
        return parts

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from this process's share of a batch: the discriminators first, then adapter and generator.

        With ``accumulate`` above one the generator's prediction is made twice, since keeping all parts of the
        batch with their graphs is the memory that accumulation saves. BatchNorm then sees one part at a time.
        """
        config = self.config
        # Noise and augmentation are drawn in the step: they too follow from the seed and the images seen.
        torch.manual_seed(image_seed(config.seed, "step", batch.images_seen + batch.rows.start))
        self._set_learning_rates(batch.images_seen)
        pieces = batch.pieces(config.accumulate)
        if config.channels_last:
            pieces = [(image.contiguous(memory_format=torch.channels_last), mask) for image, mask in pieces]
        once = self._predict(*pieces[0]) if len(pieces) == 1 else None
        adversaries = self.adversaries if batch.images_seen >= config.adversarial_after_images else []
        number = batch.images_seen // config.batch_size
        values = self._train_discriminators(adversaries, pieces, once, number) if adversaries else {}

        self.optimizer.zero_grad(set_to_none=True)
        for image, mask in pieces:
            prediction = self._predict(image, mask) if once is None else once
            losses = self.generator_losses(adversaries, prediction, image, mask, batch.images_seen)
            (losses["loss"] / len(pieces)).backward()
            add_means(values, losses | {"hole_error": _hole_error(prediction, image, mask)}, len(pieces))
        self._processes.average_gradients(self.network.parameters())
        self.optimizer.step()
        self.ema.update_parameters(self.network)
        return values

    def generator_losses(
        self,
        adversaries: Sequence[Adversary],
        prediction: Tensor,
        image: Tensor,
        mask: Tensor,
        images_seen: int = 0,
    ) -> dict[str, Tensor]:
        """The weighted loss of adapter and generator, ``loss``, and its terms before their weights."""
        weights, until = self.config.weights, self.config.l1_hole_until_images
        seen = self._shown(prediction, image, mask)
        hole = weights.l1_hole if until is None or images_seen < until else 0.0
        values = {"l1": weighted_l1(prediction, image, mask, known=weights.l1_known, hole=hole)}
        loss = values["l1"]
        terms = self._frozen_losses(seen, image, mask)
        if weights.repetition:
            period = 2**self.network.preset.generator.downsamplings
            terms["repetition"] = (weights.repetition, repetition_loss(seen, image, mask, period))
        for adversary in adversaries:
            terms |= adversary.generator_losses(seen, image, mask)
        for name, (weight, value) in terms.items():
            values[name] = value
            loss = loss + weight * value
        return values | {"loss": loss}

    def _frozen_losses(self, seen: Tensor, image: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each loss on features of a frozen network, for the networks that there are."""
        weights, losses = self.config.weights, {}
        if self.features is not None:
            if weights.style:  # both losses from one pass
                activations, targets = self.features(seen), self.features(image)
                losses["style"] = (weights.style, style_loss(activations[:3], targets[:3], mask))
                distance = self.features.compare_all(activations, targets).mean()
            else:
                distance = self.features.feature_distance(seen, image).mean()
            losses["perceptual"] = (weights.perceptual, distance)
        if self.blocks is not None:
            distance, means = block_losses(self.blocks(seen), self.blocks(image))
            losses["mobilenet"] = (weights.mobilenet, distance)
            losses["mobilenet_means"] = (weights.mobilenet_means, means)
        return losses

    def sample_columns(self, batch: Batch) -> Mapping[str, Tensor]:
        """The columns of a sample grid, each ``(B, C, H, W)`` in [0, 1]."""
        network, image, mask = self.ema.module, batch.image, batch.mask
        assert isinstance(network, Inpainter)
        if self.config.prior and network.prior is not None:
            return columns_of(image, mask, network.prior, network)
        return columns_of(image, mask, None, network.generator)

    def _set_learning_rates(self, images_seen: int) -> None:
        config, factor = self.config, learning_rate_factor(self.config, images_seen)
        multipliers = [1.0, config.alpha_lr_multiplier]  # see _alphas_apart
        for group, multiplier in zip(self.optimizer.param_groups, multipliers, strict=False):
            group["lr"] = config.learning_rate * factor * multiplier
        for adversary in self.adversaries:
            for group in adversary.optimizer.param_groups:
                group["lr"] = config.discriminator_learning_rate * factor

    def _train_discriminators(
        self,
        adversaries: Sequence[Adversary],
        pieces: Sequence[tuple[Tensor, Tensor]],
        prediction: Tensor | None,
        step: int,
    ) -> dict[str, Tensor]:
        """Let each discriminator learn from the pieces of a batch; gives their means."""
        once, values = prediction, dict[str, Tensor]()
        for adversary in adversaries:
            adversary.optimizer.zero_grad(set_to_none=True)
        for image, mask in pieces:
            if once is None:
                with torch.no_grad(), _running_statistics_kept(self.network):
                    prediction = self._predict(image, mask)
            assert prediction is not None
            fake = self._shown(prediction, image, mask).detach()
            for adversary in adversaries:
                losses = adversary.discriminator_losses(fake, image, mask, step)
                (losses[adversary.name] / len(pieces)).backward()
                add_means(values, losses, len(pieces))
        for adversary in adversaries:
            self._processes.average_gradients(adversary.discriminator.parameters())
            adversary.optimizer.step()
        return values

    def _predict(self, image: Tensor, mask: Tensor) -> Tensor:
        """The raw prediction ``(B, 3, H, W)`` in float32."""
        network = self.network
        with autocast(image.device, self.config.precision):
            prediction = network(image, mask) if self.config.prior else network.generator(image, mask)
        return prediction.float()

    def _shown(self, prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """What discriminators and perceptual loss see."""
        raw = self.config.discriminator_input == "prediction"
        return prediction if raw else composite(prediction, image, mask)


def _alphas_apart(network: nn.Module) -> list[dict[str, object]]:
    """All that is trained; the alphas, if there are any, in a second group with their own learning rate."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    alphas = [parameter for name, parameter in trained.items() if "alpha" in name]
    rest = [parameter for name, parameter in trained.items() if "alpha" not in name]
    return [{"params": rest}, {"params": alphas}] if alphas else [{"params": rest}]


@contextmanager
def _running_statistics_kept(network: nn.Module):
    """Keep a pass that will be repeated from moving the running statistics of BatchNorm."""
    momenta = {norm: norm.momentum for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)}
    for norm in momenta:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


@torch.no_grad()
def _hole_error(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over an image's hole pixels, mean over images: the curve that means PSNR."""
    squared = ((prediction - image).square() * mask).sum((1, 2, 3))
    return (squared / (3 * mask.sum((1, 2, 3)))).mean()
