"""Train the runs of an ablation: what is finished is not repeated, what was stopped goes on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace

from eval.scoring import OnProgress, no_progress
from eval.studies.ablation import Ablation, Run
from inpaint.errors import InpaintError
from inpaint.train.config import AcrRunConfig, MaeRunConfig
from inpaint.train.fit import fit
from inpaint.train.monitor import Progress

POLL_S = 2.0


def train_ablation(ablation: Ablation, on_progress: OnProgress = no_progress, *, jobs: int = 1) -> None:
    """Train what is not trained yet.

    Args:
        ablation: of :func:`plan_ablation`.
        on_progress: called with a run's name, the images it has seen, and of how many.
        jobs: runs at the same time, each in a process of its own with its share of the processor's cores. 1
            trains here, with the configs' threads.

    Raises:
        InpaintError: a run cannot start, diverges, or was stopped; the same command goes on from there.
    """
    unfinished = [run for run in ablation.runs if not run.is_finished()]
    if jobs > 1:
        _train_together(unfinished, on_progress, jobs)
        return
    for run in unfinished:

        def tell(progress: Progress, name: str = run.name) -> None:
            on_progress(name, progress.images_seen, progress.images)

        on_progress(run.name, 0, run.config.images)
        fit(run.config, tell)


def _fit_alone(config: AcrRunConfig | MaeRunConfig) -> None:
    """In a worker process, whose errors travel home as text."""
    try:
        fit(config)
    except InpaintError as error:
        raise InpaintError(str(error)) from None


def _train_together(runs: Sequence[Run], on_progress: OnProgress, jobs: int) -> None:
    """Start each run as soon as what it starts from is there and a worker is free."""
    waiting, running = list(runs), dict[Future[None], Run]()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        try:
            while waiting or running:
                unmade = {run.checkpoint for run in (*waiting, *running.values())}
                ready = [run for run in waiting if unmade.isdisjoint(run.starts_from)]
                for run in ready[: jobs - len(running)]:
                    waiting.remove(run)
                    running[pool.submit(_fit_alone, replace(run.config, threads=threads))] = run
                done, _ = wait(running, POLL_S, FIRST_COMPLETED)
                for future, run in list(running.items()):
                    on_progress(run.name, run.images_seen(), run.config.images)
                    if future in done:
                        del running[future]
                        future.result()
        finally:
            pool.shutdown(cancel_futures=True)
