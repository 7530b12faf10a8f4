"""Train adapter and generator against a discriminator, the prior frozen: one loop, told in blocks.

The step it takes is in :mod:`inpaint.train.acr_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint.checkpoint import save_checkpoint
from inpaint.mask import composite
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.inpainter import Inpainter
from inpaint.train.acr_step import AcrParts, acr_step
from inpaint.train.batches import Batches
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.perceptual import load_perceptual
from inpaint.train.schedule import Ema
from inpaint.train.start import start_network
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
    # -- data and networks
    processes = join_processes(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    watch = Watch(config, on_progress)
    parts = start_acr(config, processes)
    batches = Batches(config, processes.device, watch.note, processes.rows(config.batch_size))
    images_seen = 0

    # -- resume
    saved = load_latest_state(watch.folder, watch.note)
    if saved is not None:
        for name, part in parts.stateful().items():
            part.load_state_dict(saved[name])
        images_seen = saved["images_seen"]

    def checkpoint() -> Path:
        state = {name: part.state_dict() for name, part in parts.stateful().items()}
        save_state(watch.folder, images_seen, state)
        path = watch.folder / f"{config.name}.safetensors"
        notes = {"run": config.name, "images_seen": str(images_seen), "started_from": parts.came_from}
        save_checkpoint(path, parts.ema.network, notes)
        return path

    # -- train
    watch.start(images_seen)
    while images_seen < config.images:
        batch = batches.after(images_seen)
        values = acr_step(config, parts, batch, processes)
        images_seen += config.batch_size

        watch.step(images_seen, values)
        if watch.due("sample"):
            columns = _sample_columns(parts.ema.network, batch.image[:8], batch.mask[:8], config.prior)
            watch.sheet(images_seen, columns)
        if watch.due("save"):
            checkpoint()
    return checkpoint()


def start_acr(config: AcrRunConfig, processes: Processes) -> AcrParts:
    """Everything a run begins with; the same in every process.

    Raises:
        CheckpointError: if a checkpoint to start from does not fit the preset.
    """
    torch.manual_seed(config.seed)
    network, came_from = start_network(config)
    network.to(processes.device)
    discriminator = PatchDiscriminator(config.discriminator_width).to(processes.device)
    for learner in (network, discriminator):
        processes.share_statistics(learner)
        if config.channels_last:
            learner.to(memory_format=torch.channels_last)
        learner.train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    features = None
    if config.perceptual_weights is not None and config.weights.perceptual > 0:
        features = load_perceptual(config.perceptual_network, config.perceptual_weights)
        features = features.to(processes.device)
    return AcrParts(
        network,
        discriminator,
        Ema(network, config.ema_decay),
        torch.optim.Adam(trained, config.learning_rate, config.betas),
        torch.optim.Adam(discriminator.parameters(), config.discriminator_learning_rate, config.betas),
        features,
        came_from,
    )


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
