"""The training loop."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from inpaint.data.batches import Batches
from inpaint.train.config import RunConfig
from inpaint.train.distributed import join_processes
from inpaint.train.monitor import Monitor, Progress
from inpaint.train.optimise import choose_precision, explain_step_memory
from inpaint.train.recipes import build_recipe
from inpaint.train.trial import trial_step


def fit(config: RunConfig, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Train, or resume a run from the last state in its folder.

    Everything random follows from the seed and the number of images seen, so that a run that was stopped
    and started again continues the same curve.

    Returns:
        The path of the checkpoint: averaged weights, ready to use; of an inpainter together with its prior.

    Raises:
        DataError: no photo can be read.
        CheckpointError: a checkpoint to start from does not fit the preset, or a state not the config.
        ConfigError: the config's numbers contradict each other or its preset.
        InpaintError: a step does not fit into memory, or a loss stops being finite.
        Stopped: on Ctrl-C or SIGTERM, after saving.
    """
    processes = join_processes(config.device, config.threads)
    precision, _ = choose_precision(config.precision, processes)
    config = replace(config, precision=precision)
    rows = processes.rows(config.batch_size, config.accumulate)
    monitor = Monitor(config, processes, on_progress)
    if processes.device.type == "cuda":
        trial_step(config, processes)
    recipe = build_recipe(config, processes)
    batches = Batches(config, processes.device, monitor.report_problem, rows)
    save = partial(monitor.save, recipe.stateful(), recipe.ema.module, started_from=recipe.started_from)

    images_seen = monitor.resume(recipe.stateful())
    with monitor.running(images_seen), explain_step_memory(processes.device, config):
        while monitor.is_unfinished():
            batch = batches.batch_at(images_seen)
            values = recipe.step(batch)
            images_seen += config.batch_size
            monitor.step(images_seen, values)
            if monitor.due("sample"):
                monitor.sample(partial(recipe.sample_columns, batch))
            if monitor.due("save"):
                save()
        checkpoint = save()
    processes.leave()
    monitor.raise_if_stopped()
    return checkpoint
