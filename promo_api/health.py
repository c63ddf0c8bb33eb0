"""Health of the dependencies, for load balancers and operators.

| Dependency | Down if | Status |
|---|---|---|
| PostgreSQL | unavailable, read-only, or its schema is too old | failing: almost nothing works |
| Redis | unavailable | degraded: verdicts are not cached, everything works |
| anti-fraud | no connection, or the circuit breaker of this process is open | degraded: activations are denied |

A report is cached for a second. Each dependency is checked by one thread at a time, on its own connection. A report
takes at most HEALTH_TIMEOUT_S, even if a dependency does not respond.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock, Thread
from time import monotonic, perf_counter

from persistence.database.engine import Database
from persistence.database.revisions import find_revision, newest_revision
from persistence.database.server import takes_writes
from promo_api.antifraud.checks import Antifraud
from promo_api.config.settings import Settings
from promo_api.specification import VERSION

_log = logging.getLogger(__name__)

_CACHE_S = 1.0


@dataclass(frozen=True)
class Finding:
    """The health of one dependency.

    Attributes:
        latency_ms: the duration of a successful check; None: it failed or timed out.
        reason: a sentence that says what is wrong; "": nothing.
    """

    latency_ms: float | None
    reason: str


@dataclass(frozen=True)
class Report:
    """The health of all dependencies.

    Attributes:
        findings: by the name of the dependency.
        needed_revision: the oldest schema revision that this version works with.
        found_revision: the revision of the database; None: no schema, or unknown.
        is_draining: the process is about to stop, so load balancers must send requests elsewhere.
    """

    findings: Mapping[str, Finding]
    needed_revision: str
    found_revision: str | None
    is_draining: bool = False

    @property
    def status(self) -> str:
        """`ok`, `degraded` (some operations fail) or `failing` (send requests elsewhere)."""
        if self.findings["postgres"].reason or self.is_draining:
            return "failing"
        return "degraded" if any(finding.reason for finding in self.findings.values()) else "ok"


class Health:
    """Checks the dependencies of this process. Thread-safe.

    Attributes:
        version: of api.yml.
    """

    def __init__(self, settings: Settings, antifraud: Antifraud) -> None:
        self.version = VERSION
        self._timeout_s = settings.health_timeout_s
        # A separate connection, so that checks and requests do not wait for each other. It stays open: PostgreSQL may
        # have no room for a new one while those of the requests work.
        self._database = Database(replace(settings, postgres_pool_size=1))
        self._antifraud = antifraud
        self._needed = newest_revision()
        self._found: str | None = None
        self._checks: dict[str, Callable[[], str]] = {
            "postgres": self._check_postgres,
            "redis": self._check_redis,
            "antifraud": self._check_antifraud,
        }
        self._running: dict[str, _Check] = {}
        self._lock = Lock()
        self._report: Report | None = None
        self._expires_at = 0.0
        self._is_draining = False

    def report(self) -> Report:
        """Return the cached report or, if it is older than a second, a new one."""
        with self._lock:
            if self._report is None or monotonic() >= self._expires_at:
                self._report = self._create_report(self._report)
                self._expires_at = monotonic() + _CACHE_S
            return replace(self._report, is_draining=True) if self._is_draining else self._report

    def start_draining(self) -> None:
        """Report from now on that the process is about to stop."""
        self._is_draining = True

    def close(self) -> None:
        """Close the connection to PostgreSQL."""
        self._database.close()

    def _create_report(self, previous: Report | None) -> Report:
        deadline_s = monotonic() + self._timeout_s
        for name, check in self._checks.items():
            # A check that timed out may still run. Wait for it again instead of starting another.
            if name not in self._running or not self._running[name].is_alive():
                self._running[name] = _Check(check)
                self._running[name].start()
        findings = {name: self._await(name, deadline_s) for name in self._checks}
        for name, finding in findings.items():
            if finding.reason != (previous.findings[name].reason if previous else ""):
                _log.warning("health_changed", extra={"dependency": name, "reason": finding.reason})
        return Report(findings, self._needed, self._found)

    def _await(self, name: str, deadline_s: float) -> Finding:
        check = self._running[name]
        check.join(max(0.0, deadline_s - monotonic()))
        return check.finding or Finding(None, "It did not respond in time.")

    def _check_postgres(self) -> str:
        self._found = None
        with self._database.autocommit() as connection:
            self._found = found = find_revision(connection)
            is_writable = takes_writes(connection)
        # Revisions are numbers. A newer revision is healthy: its version is being deployed, and the schema supports
        # this version until the deployment ends.
        if found is None or found < self._needed:
            return "Its schema is too old for this version. An operator must run the migrations."
        return "" if is_writable else "It is read-only."

    def _check_redis(self) -> str:
        self._antifraud.ping_cache()
        return ""

    def _check_antifraud(self) -> str:
        self._antifraud.ping_service()
        return "It failed repeatedly, and the circuit breaker is open." if self._antifraud.is_given_up() else ""


class _Check(Thread):
    """One check of a dependency; `finding` is None until it ends."""

    def __init__(self, check: Callable[[], str]) -> None:
        super().__init__(name="health", daemon=True)
        self._check = check
        self.finding: Finding | None = None

    def run(self) -> None:
        began_s = perf_counter()
        try:
            reason = self._check()
        except Exception:  # noqa: BLE001 any error means unavailable; requests log the details
            self.finding = Finding(None, "It is unavailable.")
        else:
            self.finding = Finding((perf_counter() - began_s) * 1000, reason)
