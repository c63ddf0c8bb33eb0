"""Health of the dependencies, for load balancers and operators.

| Dependency | Down if | Status |
|---|---|---|
| PostgreSQL | unavailable, read-only, or its schema is too old | failing |
| Redis | unavailable | degraded: verdicts are not cached |
| anti-fraud | no connection, or the circuit breaker of this process is open | degraded: activations are denied |

With ANTIFRAUD_ADDRESS=none the anti-fraud service is never down, and the report has a warning.

A report takes at most HEALTH_TIMEOUT_S.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock, Thread
from time import monotonic, perf_counter

from persistence.database.engine import Database
from persistence.database.revisions import find_revision, newest_revision
from persistence.database.server import takes_writes
from promo_api.antifraud.checks import DISABLED, Antifraud, DisabledAntifraud
from promo_api.config.settings import Settings
from promo_api.failure_messages import describe_failure
from promo_api.specification import VERSION

_log = logging.getLogger(__name__)

_CACHE_S = 1.0


@dataclass(frozen=True)
class DependencyHealth:
    """The health of one dependency."""

    latency_ms: float | None  # None: the check failed, timed out or is not needed
    reason: str  # empty: healthy
    cause: str = ""  # the reason with details, for the log


_HEALTHY = DependencyHealth(None, "")


@dataclass(frozen=True)
class Report:
    """The health of all dependencies."""

    dependencies: Mapping[str, DependencyHealth]
    needed_revision: str
    current_revision: str | None  # None: no schema, or unknown
    warnings: Sequence[str] = ()
    is_draining: bool = False

    @property
    def status(self) -> str:
        """`ok`, `degraded` or `failing`."""
        if self.dependencies["postgres"].reason or self.is_draining:
            return "failing"
        return "degraded" if any(dependency.reason for dependency in self.dependencies.values()) else "ok"


class Health:
    """Checks the dependencies of this process. Thread-safe."""

    def __init__(self, settings: Settings, antifraud: Antifraud | DisabledAntifraud) -> None:
        self.version = VERSION
        self._timeout_s = settings.health_timeout_s
        # A separate connection, so that checks do not wait for requests. It stays open: a new one may be refused.
        self._database = Database(replace(settings, postgres_pool_size=1))
        self._needed_revision = newest_revision()
        self._current_revision: str | None = None
        self._checks: dict[str, Callable[[], str]] = {
            "postgres": self._check_postgres,
            "redis": partial(_check_redis, antifraud),
        }
        self._warnings: list[str] = []
        if isinstance(antifraud, Antifraud):
            self._checks["antifraud"] = partial(_check_antifraud, antifraud)
        else:
            self._warnings.append(DISABLED)
        self._running: dict[str, _Check] = {}
        self._lock = Lock()
        self._results: dict[str, DependencyHealth] = {}
        self._expires_at: dict[str, float] = {}
        self._recovered_at: dict[str, float] = {}
        self._is_draining = False

    def report(self) -> Report:
        """Return a report that is at most a second old."""
        with self._lock:
            self._refresh(self._checks)
            results = {name: self._results[name] for name in self._checks}
            results.setdefault("antifraud", _HEALTHY)
            return Report(results, self._needed_revision, self._current_revision, self._warnings, self._is_draining)

    def is_postgres_usable(self) -> bool:
        """Return whether PostgreSQL is usable. The result is at most a second old."""
        with self._lock:
            self._refresh(["postgres"])
            return not self._results["postgres"].reason

    def had_postgres_outage(self, since_s: float) -> bool:
        """Check PostgreSQL. Return whether it is unusable, or was found usable again after `since_s` of `monotonic`."""
        with self._lock:
            self._expires_at.pop("postgres", None)
            self._refresh(["postgres"])
            return bool(self._results["postgres"].reason) or self._recovered_at.get("postgres", 0.0) > since_s

    def start_draining(self) -> None:
        """Report that the process is about to stop."""
        self._is_draining = True

    def close(self) -> None:
        """Close the connection to PostgreSQL."""
        self._database.close()

    def _refresh(self, names: Iterable[str]) -> None:
        """Run the checks whose results are too old, and log changes."""
        deadline_s = monotonic() + self._timeout_s
        due = [name for name in names if monotonic() >= self._expires_at.get(name, 0.0)]
        for name in due:
            # A check that timed out may still run.
            if name not in self._running or not self._running[name].is_alive():
                self._running[name] = _Check(self._checks[name])
                self._running[name].start()
        for name in due:
            result, previous = self._await(name, deadline_s), self._results.get(name, _HEALTHY)
            self._results[name] = result
            self._expires_at[name] = monotonic() + _CACHE_S
            if result.reason != previous.reason:
                if not result.reason:
                    self._recovered_at[name] = monotonic()
                cause = result.cause or result.reason or "It is available again."
                _log.warning("health_changed", extra={"dependency": name, "reason": cause})

    def _await(self, name: str, deadline_s: float) -> DependencyHealth:
        check = self._running[name]
        check.join(max(0.0, deadline_s - monotonic()))
        return check.result or DependencyHealth(None, "It did not respond in time.")

    def _check_postgres(self) -> str:
        self._current_revision = None
        with self._database.autocommit() as connection:
            self._current_revision = current = find_revision(connection)
            is_writable = takes_writes(connection)
        # A newer revision is healthy, because the schema supports the previous version too.
        if current is None or current < self._needed_revision:
            return "Its schema is too old for this version. An operator must run the migrations."
        return "" if is_writable else "It is read-only."


def _check_redis(antifraud: Antifraud | DisabledAntifraud) -> str:
    antifraud.ping_cache()
    return ""


def _check_antifraud(antifraud: Antifraud) -> str:
    antifraud.ping_service()
    return "It failed repeatedly, and the circuit breaker is open." if antifraud.is_unavailable() else ""


class _Check(Thread):
    """One check; `result` is None until it ends."""

    def __init__(self, check: Callable[[], str]) -> None:
        super().__init__(name="health", daemon=True)
        self._check = check
        self.result: DependencyHealth | None = None

    def run(self) -> None:
        began_s = perf_counter()
        try:
            reason = self._check()
        except Exception as error:  # noqa: BLE001 any error means unavailable
            self.result = DependencyHealth(None, "It is unavailable.", f"It is unavailable: {describe_failure(error)}")
        else:
            self.result = DependencyHealth((perf_counter() - began_s) * 1000, reason)
