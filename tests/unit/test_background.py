"""Background jobs: they repeat their task, survive any error, and end when they are stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event
from time import monotonic

import pytest

from promo_api import background
from promo_api.background import BackgroundJob
from promo_api.errors import ServiceUnavailable

_TIMEOUT_S = 20
_UNAVAILABLE = ServiceUnavailable("Try again later.", reason="connection refused")


class _Task:
    """A task that raises each of some errors once, and then succeeds; `succeeded` is set from then on."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = [*errors]
        self.succeeded = Event()

    def __call__(self) -> bool:
        """Run once."""
        if self._errors:
            raise self._errors.pop(0)
        self.succeeded.set()
        return False


@contextmanager
def _running(task: Callable[[], bool], every_s: float = 0.001) -> Iterator[BackgroundJob]:
    job = BackgroundJob("test", task, every_s)
    job.start()
    try:
        yield job
    finally:
        job.stop()


def test_job_survives_any_error(caplog: pytest.LogCaptureFixture) -> None:
    """The job runs again after any error; each is logged with its reason, a defect with its traceback."""
    task = _Task(ValueError("a@b.example"), _UNAVAILABLE, MemoryError())
    with _running(task):
        assert task.succeeded.wait(_TIMEOUT_S)
    assert [
        (record.getMessage(), vars(record)["job"], vars(record)["reason"], record.exc_info is not None)
        for record in caplog.records
    ] == [
        ("job_failed", "test", "ValueError", True),
        ("job_failed", "test", "connection refused", False),
        ("job_failed", "test", "MemoryError", True),
    ]


def test_pause_grows_with_failures_in_a_row() -> None:
    """The pause doubles with each failure up to a minute, or the regular pause if that is longer; success resets it."""
    job = BackgroundJob("test", _Task(*[_UNAVAILABLE] * 5000), 1.0)
    pauses = [job._run() for _ in range(5000)]
    expected = [2, 4, 8, 16, 32, *[60] * 4995]
    assert all(0.75 * longest <= pause <= longest for pause, longest in zip(pauses, expected, strict=True))
    assert len({*pauses}) > 1000  # random, so that workers do not retry together
    assert [job._run(), job._run()] == [1, 1]
    assert 450 <= BackgroundJob("test", _Task(_UNAVAILABLE), 600.0)._run() <= 600


def test_longest_pause() -> None:
    """A job may have its own longest pause."""
    job = BackgroundJob("test", _Task(*[_UNAVAILABLE] * 10), 5.0, backoff_max_s=15.0)
    assert 11.25 <= [job._run() for _ in range(10)][-1] <= 15


@pytest.mark.parametrize(
    ("had_outage", "logged"), [(True, ["ValueError"]), (False, ["connection refused", "ValueError"])]
)
def test_failures_in_an_outage(caplog: pytest.LogCaptureFixture, logged: list[str], *, had_outage: bool) -> None:
    """While PostgreSQL is unavailable, which is logged elsewhere, a job logs only its defects."""
    task = _Task(_UNAVAILABLE, ValueError())
    job = BackgroundJob("test", task, 0.001)
    began_s = monotonic()
    job.start(lambda since_s: had_outage and began_s <= since_s <= monotonic())
    assert task.succeeded.wait(_TIMEOUT_S)
    job.stop()
    assert [vars(record)["reason"] for record in caplog.records] == logged


def test_no_pause_while_more_work_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more work waiting the pause is the time that the task took, else the regular pause."""
    times = iter([10.0, 10.25])
    monkeypatch.setattr(background, "monotonic", lambda: next(times))
    assert BackgroundJob("test", lambda: True, 600.0)._run() == 0.25


def test_stop_leaves_a_task_that_hangs() -> None:
    """With a time limit, a stop does not wait for a task that hangs."""
    running, released = Event(), Event()

    def task() -> bool:
        running.set()
        return released.wait(60)

    job = BackgroundJob("job", task, 60, stop_max_s=0.01)
    job.start()
    assert running.wait(5)
    job.stop()
    assert job._thread.is_alive()
    released.set()
    job._thread.join()


def test_stop_waits_for_the_task() -> None:
    """A job that is stopped finishes its task, and does not run again."""
    began, may_end, runs = Event(), Event(), SimpleQueue[str]()

    def task() -> bool:
        began.set()
        may_end.wait(_TIMEOUT_S)
        runs.put("done")
        return False

    with _running(task) as job:
        assert began.wait(_TIMEOUT_S)
        job._stopped.set()
        may_end.set()
    assert runs.qsize() == 1
    assert not job._thread.is_alive()
