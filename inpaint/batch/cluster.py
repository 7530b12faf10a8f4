"""The same run on all CPUs and GPUs of one machine, or of many that see the same files: on Ray."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from inpaint.batch.pairing import Problem
from inpaint.batch.plan import Job
from inpaint.batch.run import PLAIN_FILES, BatchReport, FileOptions, Inpaint, JobResult, run_job
from inpaint.errors import InpaintError

HERE = "here"
_TRIES = 2  # of an image whose worker ends: out of memory, or with its machine


def run_on_cluster(
    jobs: Sequence[Job],
    build_inpaint: Callable[[], Inpaint],
    *,
    on_result: Callable[[JobResult], None],
    address: str = HERE,
    workers: int | None = None,
    use_gpus: bool = True,
    problems: Sequence[Problem] = (),
    options: FileOptions = PLAIN_FILES,
) -> BatchReport:
    """Inpaint images in many processes at once; what comes out is what :func:`run_batch` gives.

    Every worker builds the network once and has a GPU of its own or, without GPUs, a CPU core. All
    machines must see inputs and outputs under the same paths. An image whose worker ends is tried once more.

    Args:
        jobs: as for ``run_batch``, like the report.
        build_inpaint: makes the inpaint function, in each worker; it is sent there, so it must be picklable.
        on_result: called here after each job, in the order they are done.
        address: "here" for this machine, "auto" for the Ray cluster it belongs to, or HOST:PORT of one.
        workers: how many; by default one for each GPU of the cluster, or for each core.
        use_gpus: False leaves GPUs alone.
        problems: as for ``run_batch``.
        options: as for ``run_batch``.

    Raises:
        InpaintError: Ray is not installed, there is no such cluster, or no worker can start.
    """
    done: dict[int, JobResult] = {}

    def finish(number: int, result: JobResult) -> None:
        done[number] = result
        on_result(result)

    for number, job in enumerate(jobs):
        if job.skip:
            finish(number, JobResult(job, "skipped", 0.0))
    waiting = deque(number for number, job in enumerate(jobs) if not job.skip)
    if waiting:
        with _cluster(address) as ray:
            try:
                crew = _Crew(ray, (build_inpaint, options), use_gpus, workers, len(waiting))
                for number, result in crew.results(jobs, waiting):
                    finish(number, replace(result, job=jobs[number]))
            except KeyboardInterrupt:
                pass
    left = tuple(job for number, job in enumerate(jobs) if number not in done)
    return BatchReport(tuple(done[number] for number in sorted(done)), tuple(problems), left)


class _Worker:
    """In a process of its own, perhaps on another machine: builds the network once, then inpaints."""

    def __init__(self, build_inpaint: Callable[[], Inpaint], options: FileOptions) -> None:
        self._inpaint, self._options = build_inpaint(), options

    def is_ready(self) -> bool:
        return True

    def run(self, job: Job) -> JobResult:
        return run_job(job, self._inpaint, self._options)


class _Crew:
    """Workers, what each is doing, and a new one for each that ends."""

    def __init__(
        self, ray: Any, arguments: tuple[Any, ...], use_gpus: bool, workers: int | None, jobs: int
    ) -> None:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if use_gpus else 0
        count = min(workers or gpus or max(1, int(resources.get("CPU", 1))), jobs)
        needs = {"num_gpus": min(1.0, gpus / count), "num_cpus": 0} if gpus else {"num_cpus": 1}
        self._ray, self._arguments = ray, arguments
        self._worker = ray.remote(**needs)(_Worker)
        self._doing: dict[Any, tuple[Any, int | None]] = {}  # what is awaited: by whom, and which job's
        for _ in range(count):
            self._hire()

    def results(self, jobs: Sequence[Job], waiting: deque[int]) -> Iterator[tuple[int, JobResult]]:
        """Give jobs to whoever is free, and results as they come.

        Raises:
            InpaintError: no worker can start.
        """
        tries = Counter[int]()
        while self._doing:
            (ready, *_), _ = self._ray.wait(list(self._doing), num_returns=1)
            worker, number = self._doing.pop(ready)
            try:
                result = self._ray.get(ready)
            except self._ray.exceptions.RayError as error:
                if number is None:  # could not even start: on a machine without the model, perhaps
                    if not self._doing:
                        raise InpaintError(f"no worker could start: {_last_line(error)}") from None
                    continue
                tries[number] += 1
                if tries[number] < _TRIES:
                    waiting.append(number)
                else:
                    reason = f"the process that worked on it ended, {_TRIES} times"
                    yield number, JobResult(jobs[number], "failed", 0.0, reason)
                if waiting:
                    self._hire()
                continue
            if number is not None:
                yield number, result
            if waiting:
                job = jobs[following := waiting.popleft()]
                # The worker may stand in another folder.
                job = Job(job.image.absolute(), job.mask.absolute(), job.output.absolute())
                self._doing[worker.run.remote(job)] = (worker, following)

    def _hire(self) -> None:
        worker = self._worker.remote(*self._arguments)
        self._doing[worker.is_ready.remote()] = (worker, None)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Join a cluster, or start one of this machine's CPUs, without Ray's own logs and reports."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError:
        raise InpaintError(
            "a batch on many CPUs needs Ray, which is not installed; run: pip install 'mae-acr-inpaint[dist]'"
        ) from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == HERE:
        options["include_dashboard"] = False
    try:
        ray.init("local" if address == HERE else address, **options)
    except (ConnectionError, RuntimeError, ValueError) as problem:
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
