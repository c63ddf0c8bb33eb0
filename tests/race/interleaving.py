"""Who goes first is decided by the test: by a barrier, or by a row lock that it holds until the others wait for it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select, text

from persistence.database.engine import Database
from promo_api.dev.processes import wait_until

_PATIENCE_S = 30
_T = TypeVar("_T")
# Who waits for a lock of whom, in this database.
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0"
)


def together(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """Run all jobs from the same moment on, each in a thread of its own, and return what they return, in order."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], _T]) -> _T:
        barrier.wait(_PATIENCE_S)
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs, timeout=2 * _PATIENCE_S))


@dataclass
class Queue:
    """Jobs that wait one behind the other for the lock of a row, in the order in which they were started."""

    _threads: ThreadPoolExecutor
    _waiting: Callable[[], int]
    _jobs: list[Future[Any]] = field(default_factory=list)

    def add(self, *jobs: Callable[[], Any]) -> None:
        """Start each job once the one before it waits for the lock; when this returns all of them wait."""
        for job in jobs:
            self._jobs.append(self._threads.submit(job))
            assert wait_until(self._all_wait, _PATIENCE_S), f"{self._waiting()} of {len(self._jobs)} wait"

    def results(self) -> list[Any]:
        """Return what the jobs return, in their order; to be called once the lock has been let go."""
        return [job.result(_PATIENCE_S) for job in self._jobs]

    def _all_wait(self) -> bool:
        return self._waiting() >= len(self._jobs)


class Stage:
    """Holds locks in one connection, and sees in another who waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """Lend a queue for the time of a block, which must let go whatever those in it wait for."""
        with ThreadPoolExecutor(16) as threads:
            yield Queue(threads, self.waiting)

    @contextmanager
    def holding(self, table: Table, **key: object) -> Iterator[tuple[Connection, Queue]]:
        """Hold the lock of one row for the time of a block, by a transaction that is committed at its end.

        Yields:
            The connection that holds it, and a queue for those who are to wait for it.
        """
        row = select(table).filter_by(**key).with_for_update()
        with self.queue() as queue, self._database.transaction() as holder:
            assert holder.execute(row).all(), "there is no such row to hold"
            yield holder, queue

    def waiting(self) -> int:
        """Return how many connections wait for a lock."""
        with self._database.autocommit() as connection:
            return int(connection.execute(_WAITING).scalar_one())

    def terminate(self, pid: int) -> None:
        """End the connection of another, and wait until nothing is left of it."""
        with self._database.autocommit() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            assert wait_until(lambda: connection.execute(there, {"pid": pid}).scalar_one() == 0, _PATIENCE_S)


def pid_of(connection: Connection) -> int:
    """Return the id of the process that serves a connection."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
