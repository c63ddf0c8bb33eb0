"""Reads from replicas of PostgreSQL: standbys that replay the WAL of the primary.

After the response to a successful write, all reads of the account show that write. Before the response is sent, the
primary stores the position of its WAL for the account, and a read uses a replica only if it has replayed that position.

Writes of other accounts appear after at most LAG_MAX_S: a replica must also have replayed what the primary had then.
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

from persistence.account_writes import find_positions, insert_write
from persistence.database.engine import Database
from persistence.database.errors import StatementRefused, was_canceled
from persistence.database.server import find_replayed_position
from persistence.database.timeouts import response_timeout
from promo_api.circuit_breaker import CircuitBreaker, State
from promo_api.config.settings import Settings
from promo_api.errors import NotFound, RequestError, ServiceUnavailable
from promo_api.telemetry.replica_metrics import replica_read

_log = logging.getLogger(__name__)

# Much shorter than positions of writes are stored.
LAG_MAX_S = 10.0
_SAMPLE_EVERY_S = 1.0
_COOLDOWN_S = 5.0
_POSITION_TIMEOUT_S = 1.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Attempt:
    """A read from a replica.

    Attributes:
        result: `replica`, or why the primary must be read: see replica_metrics.RESULTS.
        value: what the read returned.
        error: what the read raised.
    """

    result: str
    value: Any = None
    error: RequestError | None = None


class LagLimit:
    """The position that each replica must have replayed: one that the primary had in the last LAG_MAX_S."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._lock = Lock()

    def find_position(self, current: int) -> int:
        """Return the oldest position of the last LAG_MAX_S that is known, given the current one of the primary."""
        with self._lock:
            now_s = self._clock()
            while self._samples and self._samples[0][0] < now_s - LAG_MAX_S:
                self._samples.popleft()
            if not self._samples or self._samples[-1][0] <= now_s - _SAMPLE_EVERY_S:
                self._samples.append((now_s, current))
            return self._samples[0][1]


class Replicas:
    """The replicas at POSTGRES_READ_HOST; without one, the primary serves all reads."""

    def __init__(self, settings: Settings, primary: Database) -> None:
        self._primary = primary
        self._replicas = Database(settings, of_replicas=True) if settings.postgres_read_host else None
        # Behind a pooler, two statements may otherwise run on different servers.
        self._in_transaction = settings.postgres_transaction_pooling
        self._lag_limit = LagLimit()
        self._breaker = CircuitBreaker(failures=1, cooldown_s=_COOLDOWN_S, on_change=self._on_breaker_change)
        self._is_used = True
        self._failure = ""

    @property
    def are_configured(self) -> bool:
        """Whether there are replicas."""
        return self._replicas is not None

    def read(self, account_id: UUID, read: Callable[[Any], _T]) -> _T:
        """Call `read` with a connection to a replica that has the writes of the account, or else to the primary.

        If the replica fails or does not find something, `read` is called again with the primary.
        """
        attempt = None if self._replicas is None else self._try_replica(self._replicas, account_id, read)
        if attempt is None or attempt.result != "replica":
            with self._primary.autocommit() as connection:
                return read(connection)
        if attempt.error is not None:
            raise attempt.error
        value: _T = attempt.value
        return value

    def record_write(self, account_id: UUID) -> None:
        """Let later reads of the account show what is committed now. Raise ServiceUnavailable if they might not."""
        if self._replicas is not None:
            with self._primary.autocommit() as connection:
                insert_write(connection, account_id)

    def close(self) -> None:
        """Close all connections to replicas."""
        if self._replicas is not None:
            self._replicas.close()

    def _try_replica(self, replicas: Database, account_id: UUID, read: Callable[[Any], object]) -> _Attempt:
        attempt = None
        if not self._breaker.refuses():
            with self._primary.autocommit() as connection:
                positions = find_positions(connection, account_id)
            of_all = max(self._lag_limit.find_position(positions.current), positions.complete_from)
            with suppress(ServiceUnavailable, StatementRefused):
                attempt = self._breaker.run(partial(self._attempt, replicas, of_all, positions.of_account, read))
        attempt = attempt or _Attempt("failed")
        replica_read(attempt.result)
        return attempt

    def _attempt(self, replicas: Database, of_all: int, of_account: int, read: Callable[[Any], object]) -> _Attempt:
        """Read from a replica that has replayed both positions. Raise an error if the replica should not be used."""
        try:
            with replicas.transaction() if self._in_transaction else replicas.autocommit() as connection:
                replayed = _find_replayed(connection)
                if replayed < of_all:
                    return _Attempt("lag")
                if replayed < of_account:
                    return _Attempt("own_write")
                return _Attempt("replica", read(connection))
        except NotFound:
            # It may have been created a moment ago.
            return _Attempt("not_found")
        except ServiceUnavailable as error:
            if was_canceled(error):
                return _Attempt("failed")
            self._failure = error.reason
            raise
        except StatementRefused as error:
            self._failure = str(error)
            raise
        except RequestError as error:
            return _Attempt("replica", error=error)

    def _on_breaker_change(self, state: State) -> None:
        if state is State.OPEN and self._is_used:
            self._is_used = False
            _log.warning("replica_left", extra={"reason": self._failure})
        elif state is State.CLOSED:
            self._is_used = True
            _log.warning("replica_used_again")


def _find_replayed(connection: Any) -> int:
    with response_timeout(connection, _POSITION_TIMEOUT_S):
        replayed = find_replayed_position(connection)
    if replayed is None:
        connection.invalidate()
        raise ServiceUnavailable("", reason="the replica is not a standby any more")
    return replayed
