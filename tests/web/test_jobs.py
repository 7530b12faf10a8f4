import errno
import os
import threading
import time

import pytest
import torch

from inpaint.errors import ImageError, InpaintError
from inpaint.web.jobs import Job, Jobs, check_current_job, tell
from inpaint.web.photos import Limits, QuotaError


def wait(job: Job) -> Job:
    assert job.over.wait(20)
    return job


def test_jobs_run_in_order_and_give_what_they_gave() -> None:
    jobs, order = Jobs(Limits()), []
    made = [jobs.submit(f"photo {n}", "me", lambda _, n=n: order.append(n) or {"n": n}) for n in range(5)]
    assert [wait(job).outcome for job in made] == [{"n": n} for n in range(5)]
    assert order == [0, 1, 2, 3, 4]
    jobs.close()


def test_a_photo_has_one_job_and_a_queue_an_end() -> None:
    jobs, gate = Jobs(Limits(waiting=4, visitor_jobs=3)), threading.Event()
    made = [jobs.submit(f"photo {n}", "me", lambda _: (gate.wait(20) and {}) or {}) for n in range(3)]
    assert jobs.describe(made[2])["ahead"] == 2
    with pytest.raises(QuotaError, match="this photo is being worked on"):
        jobs.submit("photo 1", "you", lambda _: {})
    with pytest.raises(QuotaError, match="you have 3 requests waiting"):
        jobs.submit("photo 9", "me", lambda _: {})
    jobs.submit("photo 9", "you", lambda _: {})
    with pytest.raises(QuotaError, match="4 requests wait; try again"):
        jobs.submit("photo 10", "she", lambda _: {})
    gate.set()
    wait(made[2])
    wait(jobs.submit("photo 1", "you", lambda _: {}))
    jobs.close()


def test_a_cancelled_job_stops_between_layers_of_a_network() -> None:
    layers = torch.nn.Sequential(*[torch.nn.Identity() for _ in range(2000)])
    for layer in layers:
        layer.register_forward_pre_hook(check_current_job)
        layer.register_forward_pre_hook(lambda *_: time.sleep(0.01))
    jobs = Jobs(Limits())
    running = jobs.submit("a", "me", lambda _: (layers(torch.ones(1)) and {}) or {})
    waiting = jobs.submit("b", "me", lambda _: {"never": True})
    time.sleep(0.1)
    start = time.monotonic()
    waiting.cancelled = True
    running.cancelled = True
    assert wait(running).state == "cancelled" and wait(waiting).state == "cancelled"
    assert time.monotonic() - start < 5  # of 20 seconds
    assert waiting.outcome == {}
    jobs.close()


def test_a_failure_is_one_line_and_a_bug_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Job) -> dict:
        raise InpaintError("the mask is empty")

    def bug(_: Job) -> dict:
        raise ZeroDivisionError("/secret/path")

    jobs = Jobs(Limits())
    assert wait(jobs.submit("a", "me", fail)).error == "the mask is empty"
    assert "secret" not in wait(jobs.submit("b", "me", bug)).error
    assert "secret" in caplog.text
    assert wait(jobs.submit("c", "me", lambda _: {})).state == "done"
    jobs.close()


def test_a_full_disk_is_told_without_a_path_of_the_server() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/secret/photo.png")
    written = ImageError("cannot write '/tmp/secret/photo.png': no space left on the disk")
    written.__cause__ = full
    for error in (full, written):
        assert tell(error) == "the server's disk is full; try again later"
    assert tell(ImageError("is no image")) == "is no image"
    assert "log" in tell(KeyError("secret")) and "secret" not in tell(KeyError("secret"))


def test_whoever_waits_when_all_is_closed_is_told() -> None:
    jobs, started = Jobs(Limits()), threading.Event()

    def work(job: Job) -> dict[str, object]:
        started.set()
        while True:
            job.check()
            time.sleep(0.01)

    running, *waiting = (jobs.submit(f"photo {n}", "me", work) for n in range(4))
    assert started.wait(20)
    jobs.close()
    assert all(job.over.is_set() and job.state == "cancelled" for job in (running, *waiting))
    with pytest.raises(QuotaError):
        jobs.submit("photo 9", "me", work)
