"""Train adapter and generator against a discriminator, the prior frozen: one loop, told in blocks.

The step it takes is in :mod:`inpaint.train.acr_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch, Batches
from inpaint.mask import composite
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.models.inpainter import Inpainter
from inpaint.train.acr_step import AcrParts, acr_step
from inpaint.train.compute import compile_each, explain_step_memory
from inpaint.train.config import AcrRunConfig
from inpaint.train.distributed import Processes, join_processes
from inpaint.train.dry_run import rehearse
from inpaint.train.initialise import start_network
from inpaint.train.monitor import Progress, Watch
from inpaint.train.perceptual import load_perceptual
from inpaint.train.sample_grid import draw_attention
from inpaint.train.schedule import Ema

_SAMPLES = 8  # pictures on a sheet


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
        CheckpointError: if a checkpoint to start from does not fit the preset, or a state not the config.
        ConfigError: if the numbers cannot work together.
        InpaintError: if a step does not fit into memory, or its numbers stop being finite.
        Stopped: on Ctrl-C or SIGTERM, after saving.
    """
    # -- data and networks
    processes = join_processes(config.device, config.threads)
    rows = processes.rows(config.batch_size, config.accumulate)
    watch = Watch(config, processes, on_progress)
    if processes.device.type == "cuda":
        rehearse(config, start_acr, acr_step, processes)
    parts = start_acr(config, processes)
    batches = Batches(config, processes.device, watch.note, rows)

    # -- train, from where the last state ends
    images_seen = watch.resume(parts.stateful())
    with watch.running(images_seen), explain_step_memory(config, processes.device):
        while watch.goes_on():
            batch = batches.after(images_seen)
            values = acr_step(config, parts, batch, processes)
            images_seen += config.batch_size

            watch.step(images_seen, values)
            if watch.due("sample"):
                watch.sheet(partial(sample_columns, parts.ema.network, batch, config.prior))
            if watch.due("save"):
                watch.save(parts.stateful(), parts.ema.network, started_from=parts.came_from)
        checkpoint = watch.save(parts.stateful(), parts.ema.network, started_from=parts.came_from)
    processes.leave()
    watch.raise_if_stopped()
    return checkpoint


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
    ema = Ema(network, config.ema_decay)
    compile_each(config, [discriminator, *network.generator.blocks])
    features = None
    if config.perceptual_weights is not None and config.weights.perceptual > 0:
        features = load_perceptual(config.perceptual_network, config.perceptual_weights)
        features = features.to(processes.device)
    fused = processes.device.type == "cuda"
    return AcrParts(
        network,
        discriminator,
        ema,
        torch.optim.Adam(_alphas_apart(network), config.learning_rate, config.betas, fused=fused),
        torch.optim.Adam(
            discriminator.parameters(), config.discriminator_learning_rate, config.betas, fused=fused
        ),
        features,
        came_from,
    )


def _alphas_apart(network: nn.Module) -> list[dict[str, object]]:
    """All that is trained; the alphas, if there are any, in a second group: they have a rate of their own."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    alphas = [parameter for name, parameter in trained.items() if "alpha" in name]
    rest = [parameter for name, parameter in trained.items() if "alpha" not in name]
    return [{"params": rest}, {"params": alphas}] if alphas else [{"params": rest}]


@torch.no_grad()
def sample_columns(network: nn.Module, batch: Batch, use_prior: bool) -> dict[str, Tensor]:
    """What a sample sheet shows of a batch's first pictures, each ``(B, C, H, W)`` in [0, 1]."""
    assert isinstance(network, Inpainter)
    image, mask = batch.image[:_SAMPLES], batch.mask[:_SAMPLES]
    columns = {"input": torch.where(mask > 0, 0.5, image), "mask": mask}
    if use_prior and network.prior is not None:
        prediction = network(image, mask)
        columns["MAE"] = network.prior.reconstruct(image, mask)
        attention = network.prior(image, mask).attention
        if attention is not None:
            columns["attention"] = draw_attention(image, mask, attention, network.prior.grid)
    else:
        prediction = network.generator(image, mask).clamp(0, 1)
    return columns | {
        "prediction": prediction,
        "composite": composite(prediction, image, mask),
        "target": image,
    }
