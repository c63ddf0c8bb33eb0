"""The order of concurrent requests, decided by a barrier, or by a row lock that a test holds until they wait for it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select, text

from persistence.database.engine import Database
from persistence.database.statements import is_distributed
from promo_api.dev.processes import wait_until

_TIMEOUT_S = 30
_T = TypeVar("_T")
# The sessions of this database that wait for a lock of another session.
_BLOCKED_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0"
)
_BLOCKED_ON_ALL_SERVERS = text("SELECT sum(result::integer) FROM run_command_on_all_nodes(:query)").bindparams(
    query=_BLOCKED_SESSIONS
)


def together(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """Run all jobs at once, each in a separate thread, and return their results in order."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], _T]) -> _T:
        barrier.wait(_TIMEOUT_S)
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs, timeout=2 * _TIMEOUT_S))


@dataclass
class Queue:
    """Jobs that wait for the lock of a row, in the order in which they were started."""

    _threads: ThreadPoolExecutor
    _waiting: Callable[[], int]
    _jobs: list[Future[Any]] = field(default_factory=list)

    def add(self, *jobs: Callable[[], Any]) -> None:
        """Start each job once the previous one waits for the lock, and return when all of them wait."""
        for job in jobs:
            self._jobs.append(self._threads.submit(job))
            assert wait_until(self._all_wait, _TIMEOUT_S), f"{self._waiting()} of {len(self._jobs)} wait"

    def results(self) -> list[Any]:
        """Return the results of the jobs in order. The lock must have been released."""
        return [job.result(_TIMEOUT_S) for job in self._jobs]

    def _all_wait(self) -> bool:
        return self._waiting() >= len(self._jobs)


class Stage:
    """Holds locks on one connection, and counts on another the sessions that wait for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """Yield a queue. The block must release the lock that its jobs wait for."""
        with ThreadPoolExecutor(16) as threads:
            yield Queue(threads, self.waiting)

    @contextmanager
    def lock_row(self, table: Table, **key: object) -> Iterator[tuple[Connection, Queue]]:
        """Hold the lock of one row in a transaction that is committed at the end of the block.

        Yields:
            The connection that holds the lock, and a queue for jobs that wait for it.
        """
        find = select(*table.primary_key).filter_by(**key)
        with self.queue() as queue, self._database.transaction() as holder:
            rows = holder.execute(find).mappings().all()
            assert rows, "no such row"
            # By the whole key, because Citus locks only rows of one shard.
            for row in rows:
                assert holder.execute(select(table).filter_by(**row).with_for_update()).all(), "no such row"
            yield holder, queue

    def waiting(self) -> int:
        """Return the number of sessions that wait for a lock."""
        with self._database.autocommit() as connection:
            query = _BLOCKED_ON_ALL_SERVERS if is_distributed(connection) else text(_BLOCKED_SESSIONS)
            return int(connection.execute(query).scalar_one())

    def terminate(self, pid: int) -> None:
        """Terminate a session, and wait until its process has ended."""
        with self._database.autocommit() as connection:
            connection.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer))"), {"pid": pid})
            exists = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            assert wait_until(lambda: connection.execute(exists, {"pid": pid}).scalar_one() == 0, _TIMEOUT_S)


def pid_of(connection: Connection) -> int:
    """Return the process ID of the session of a connection."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
