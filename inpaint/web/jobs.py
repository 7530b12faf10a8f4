"""Work that takes seconds: one job computes at a time, the others wait; each can be cancelled."""

from __future__ import annotations

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from starlette.exceptions import HTTPException

from inpaint.errors import InpaintError
from inpaint.web.photos import GoneError, Limits, QuotaError

_LOG = logging.getLogger(__name__)
_KEPT_SECONDS = 600  # a finished job's outcome can be asked for so long
_current = threading.local()
Queue = Literal["fill", "batch", "fetch"]


class Job:
    """One piece of work; its attributes are read by other threads while it runs.

    Set ``cancelled`` to ask it to stop: what runs stops at the next layer of its network.

    Args:
        owner: what it works on, such as a photo's id: an owner has one job at a time.
        visitor: whose it is.
    """

    def __init__(self, owner: str, visitor: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.owner, self.visitor = owner, visitor
        self.state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
        self.note, self.warning, self.error = "", "", ""
        self.fraction: float | None = None
        self.outcome: dict[str, Any] = {}
        self.version, self.ended = 0, 0.0  # the version grows with every change
        self.cancelled = False
        self.over = threading.Event()

    @property
    def open(self) -> bool:
        """Waiting or running."""
        return not self.over.is_set()

    def check(self) -> None:
        """Raise InpaintError if somebody cancelled the job."""
        if self.cancelled:
            raise InpaintError("cancelled")

    def tell(self, note: str, fraction: float | None = None) -> None:
        """Say what the job does now, and how far it is."""
        self.check()
        self.note, self.fraction = note, fraction
        self.version += 1

    def run(self, work: Callable[[Job], dict[str, Any]]) -> None:
        """Do the work in this thread, and end."""
        _current.job = self
        state: Literal["done", "failed", "cancelled"] = "failed"
        try:
            self.check()
            self.state = "running"
            self.tell("")
            self.outcome, state = work(self), "done"
        except Exception as error:
            state, self.error = "cancelled" if self.cancelled else "failed", tell(error)
            if not isinstance(error, InpaintError):  # the visitor gets a sentence, the log the rest
                _LOG.exception("a job failed")
        finally:
            _current.job = None
            self.state, self.ended = state, time.monotonic()
            self.version += 1
            self.over.set()


def tell(error: Exception) -> str:
    """What a visitor is told: an error of theirs, that the disk is full, or that there is a bug of ours."""
    if any(getattr(one, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for one in (error, error.__cause__)):
        return "the server's disk is full; try again later"
    known = isinstance(error, InpaintError | HTTPException)
    return str(error) if known else "something went wrong on the server; its log says what"


def check_current_job(*_: object) -> None:
    """Stop the job that runs in this thread if it was cancelled; hung onto the layers of networks."""
    job: Job | None = getattr(_current, "job", None)
    if job is not None:
        job.check()


class Jobs:
    """Queues of fills, of batches and of what fetches, each with one worker."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._lock, self._closed = threading.Lock(), False
        self._workers = {name: ThreadPoolExecutor(1, name) for name in ("fill", "batch", "fetch")}

    def submit(
        self, owner: str, visitor: str, work: Callable[[Job], dict[str, Any]], queue: Queue = "fill"
    ) -> Job:
        """Queue some work, which gets its job and gives the outcome; QuotaError where too much waits."""
        job, now, limits = Job(owner, visitor), time.monotonic(), self._limits
        with self._lock:
            recent = {k: old for k, old in self._jobs.items() if old.open or now - old.ended < _KEPT_SECONDS}
            active = [other for other in recent.values() if other.open]
            if any(other.owner == owner for other in active):
                raise QuotaError("this photo is being worked on already; wait for it, or cancel it first")
            if len(active) >= limits.waiting or self._closed:
                raise QuotaError(f"the server is busy: {len(active)} requests wait; try again in a minute")
            if sum(other.visitor == visitor for other in active) >= limits.visitor_jobs:
                raise QuotaError(f"you have {limits.visitor_jobs} requests waiting; let one finish first")
            self._jobs = {**recent, job.id: job}
            self._workers[queue].submit(job.run, work)
        return job

    def find(self, key: str) -> Job:
        """The job of an id, for some minutes after its end."""
        job = self._jobs.get(key)
        if job is None:
            raise GoneError("this request is no longer known")
        return job

    def of(self, owner: str) -> Job | None:
        """The open job of an owner."""
        return next((job for job in self._jobs.values() if job.open and job.owner == owner), None)

    def describe(self, job: Job) -> dict[str, Any]:
        """What the browser knows of a job; ``ahead`` counts the open jobs before one that waits."""
        names = ("id", "state", "note", "warning", "fraction", "version", "outcome", "error")
        before = list(self._jobs.values())
        waiting = job.state == "waiting" and job in before
        ahead = sum(other.open for other in before[: before.index(job)]) if waiting else 0
        return {**{name: getattr(job, name) for name in names}, "ahead": ahead}

    def close(self) -> None:
        """Cancel everything, and wait for what runs to stop."""
        with self._lock:
            self._closed = True
            for job in self._jobs.values():
                job.cancelled = True
        for worker in self._workers.values():
            worker.shutdown()
