"""The same run on all CPUs and GPUs of one machine, or of many that see the same files: on Ray."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from inpaint.batch.plan import Job
from inpaint.batch.record import BatchReport, FileResult
from inpaint.batch.run import PLAIN_FILES, FileOptions, Inpaint, results_of, run_job
from inpaint.errors import InpaintError, require

HERE = "here"
_TRIES = 2  # of an image whose worker ends: out of memory, or with its machine


def run_on_cluster(
    jobs: Sequence[Job],
    build_inpaint: Callable[[], Inpaint],
    *,
    on_result: Callable[[FileResult], None],
    address: str = HERE,
    workers: int | None = None,
    use_gpus: bool = True,
    options: FileOptions = PLAIN_FILES,
) -> BatchReport:
    """Inpaint images in many processes at once, and report as :func:`run_batch` does, with its arguments.

    Each of the ``workers`` (by default one for each GPU of the cluster, unless ``use_gpus`` is False, or for
    each core) calls ``build_inpaint``, which must be picklable, once. ``address`` is "here" for this machine,
    "auto" for the Ray cluster it belongs to, or HOST:PORT of one, whose machines must see inputs and outputs
    under the same paths. An image whose worker ends is tried once more. InpaintError if Ray is not installed,
    there is no such cluster, or no worker can start.
    """
    done: dict[int, FileResult] = {}

    def finish(number: int, result: FileResult) -> None:
        done[number] = result
        on_result(result)

    for number, job in enumerate(jobs):
        if job.skip:
            finish(number, job.result("skipped"))
    waiting = deque(number for number, job in enumerate(jobs) if not job.skip)
    if waiting:
        with _cluster(address) as ray, suppress(KeyboardInterrupt):
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0)) if use_gpus else 0
            count = min(workers or gpus or max(1, int(resources.get("CPU", 1))), len(waiting))
            needs = {"num_gpus": min(1.0, gpus / count), "num_cpus": 0} if gpus else {"num_cpus": 1}
            # Ray starts a worker that ends again, and repeats what it was doing.
            tries = {"max_restarts": _TRIES * len(waiting), "max_task_retries": _TRIES - 1}
            worker = ray.remote(**needs, **tries)(_Worker)
            crew = [worker.remote(build_inpaint, options) for _ in range(count)]
            for number, result in _results(ray, crew, jobs, waiting):
                finish(number, result)
    return BatchReport(results_of(jobs, done))


class _Worker:
    """In a process of its own, perhaps on another machine: builds the network once, then inpaints."""

    def __init__(self, build_inpaint: Callable[[], Inpaint], options: FileOptions) -> None:
        self._inpaint, self._options = build_inpaint(), options

    def is_ready(self) -> bool:
        return True

    def run(self, job: Job) -> FileResult:
        return run_job(job, self._inpaint, self._options)


def _results(
    ray: Any, crew: Sequence[Any], jobs: Sequence[Job], waiting: deque[int]
) -> Iterator[tuple[int, FileResult]]:
    """Give jobs to whoever is free, and results as they come. InpaintError if no worker can start."""
    doing: dict[Any, tuple[Any, int | None]] = {worker.is_ready.remote(): (worker, None) for worker in crew}
    while doing:
        (ready, *_), _ = ray.wait(list(doing), num_returns=1)
        worker, number = doing.pop(ready)
        try:
            result = ray.get(ready)
        except ray.exceptions.RayError as error:
            if number is not None:
                reason = f"the process that worked on it ended, {_TRIES} times"
                yield number, jobs[number].result("failed", reason=reason)
                doing[worker.is_ready.remote()] = (worker, None)
            elif not doing and waiting:  # those of a machine without the model, perhaps, are done without
                raise InpaintError(f"no worker could start: {_last_line(error)}") from None
            continue
        if number is not None:
            job = jobs[number]
            yield number, replace(result, image=job.image, mask=job.mask, output=job.output)
        if waiting:
            job = jobs[following := waiting.popleft()]
            # The worker may stand in another folder.
            job = Job(job.image.absolute(), job.mask.absolute(), job.output.absolute())
            doing[worker.run.remote(job)] = (worker, following)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Join a cluster, or start one of this machine's CPUs, without Ray's own logs and reports."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    ray = require("ray", "a batch on many CPUs", "dist", "Ray")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == HERE:
        options["include_dashboard"] = False
    try:
        ray.init("local" if address == HERE else address, **options)
    except Exception as problem:  # Ray raises plain ones, too, where it is slow to start
        raise InpaintError(
            f"cannot join a Ray cluster at {address!r} ({_last_line(problem)}); expected {HERE!r} for this "
            "machine alone, 'auto' on a machine of a running cluster (ray start), or its HOST:PORT"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
