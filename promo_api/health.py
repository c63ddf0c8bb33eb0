"""Is what the service needs well? Looked at for load balancers and people, without being in anybody's way.

| Dependency | is away | What that means |
|---|---|---|
| PostgreSQL | it does not answer, takes no writes, or its schema is too old | failing: hardly anything works |
| Redis | it does not answer | degraded: verdicts are not kept, all works |
| anti-fraud | nothing listens, or this worker's breaker is open | degraded: activations are refused, all else works |

However often one asks, each thing is looked at by one thread at a time, over a connection of its own, and what was
found is told for a second. However silent a thing is, one waits for it no longer than HEALTH_TIMEOUT_S.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock, Thread
from time import monotonic, perf_counter

from persistence.engine import Database
from persistence.revisions import find_revision, newest_revision
from promo_api import SPECIFICATION
from promo_api.antifraud import Antifraud
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

_KEPT_S = 1.0


@dataclass(frozen=True)
class Finding:
    """What was found of one dependency.

    Attributes:
        latency_ms: how long it took to answer; None: it did not, or not in time.
        reason: a sentence that says what is wrong; "": nothing.
    """

    latency_ms: float | None
    reason: str


@dataclass(frozen=True)
class Report:
    """What was found of all; the revisions are those of the schema, `found_revision` None: there is none, or not seen.

    Attributes:
        findings: by the name of the dependency.
        needed_revision: what this version needs, or a later one.
        found_revision: what is there.
    """

    findings: Mapping[str, Finding]
    needed_revision: str
    found_revision: str | None

    @property
    def status(self) -> str:
        """`ok`, `degraded`: not all works, or `failing`: send requests elsewhere."""
        if self.findings["postgres"].reason:
            return "failing"
        return "degraded" if any(finding.reason for finding in self.findings.values()) else "ok"


class Health:
    """Looks at what this process needs; threads may share it.

    Args:
        settings: of the service.
        antifraud: what this process asks.

    Attributes:
        version: of the contract, as it stands in api.yml.
    """

    def __init__(self, settings: Settings, antifraud: Antifraud) -> None:
        self.version = _version_of_contract()
        self._timeout_s = settings.health_timeout_s
        # A connection of its own: the others are for requests, and to make a new one each time would tell nothing of
        # them where PostgreSQL has no room for more.
        self._database = Database(replace(settings, postgres_pool_size=1))
        self._antifraud = antifraud
        self._needed = newest_revision()
        self._found: str | None = None
        self._looks: dict[str, Callable[[], str]] = {
            "postgres": self._look_at_postgres,
            "redis": self._look_at_redis,
            "antifraud": self._look_at_antifraud,
        }
        self._running: dict[str, _Look] = {}
        self._lock = Lock()
        self._report: Report | None = None
        self._looks_again_at = 0.0

    def report(self) -> Report:
        """Return what was found within the last second, else look."""
        with self._lock:
            if self._report is None or monotonic() >= self._looks_again_at:
                self._report = self._looked(self._report)
                self._looks_again_at = monotonic() + _KEPT_S
            return self._report

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _looked(self, before: Report | None) -> Report:
        ends_at = monotonic() + self._timeout_s
        for name, look in self._looks.items():
            # One that still runs found nothing in time before; it is waited for once more, in place of another one.
            if name not in self._running or not self._running[name].is_alive():
                self._running[name] = _Look(look)
                self._running[name].start()
        findings = {name: self._finding(name, ends_at) for name in self._looks}
        for name, finding in findings.items():
            if finding.reason != (before.findings[name].reason if before else ""):
                _log.warning("health_changed", extra={"dependency": name, "reason": finding.reason})
        return Report(findings, self._needed, self._found)

    def _finding(self, name: str, ends_at: float) -> Finding:
        look = self._running[name]
        look.join(max(0.0, ends_at - monotonic()))
        return look.finding or Finding(None, "It does not answer in time.")

    def _look_at_postgres(self) -> str:
        self._found = None
        with self._database.autocommit() as connection:
            self._found = found = find_revision(connection)
            takes_writes = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "off"
        # Revisions are numbered. A later one is that of a version which is being deployed, and does without this one
        # no sooner than this one is gone.
        if found is None or found < self._needed:
            return "Its schema is not that of this version: its operator runs the migrations."
        return "" if takes_writes else "It takes no writes."

    def _look_at_redis(self) -> str:
        self._antifraud.ping_cache()
        return ""

    def _look_at_antifraud(self) -> str:
        self._antifraud.ping_service()
        return "It gave no answers, and is not asked for a while." if self._antifraud.is_given_up() else ""


class _Look(Thread):
    """One look at a dependency; `finding` is None until it has ended."""

    def __init__(self, look: Callable[[], str]) -> None:
        super().__init__(name="health", daemon=True)
        self._look = look
        self.finding: Finding | None = None

    def run(self) -> None:
        began_s = perf_counter()
        try:
            reason = self._look()
        except Exception:  # noqa: BLE001 whatever it is, it does not answer as it should; requests log what it says
            self.finding = Finding(None, "It does not answer.")
        else:
            self.finding = Finding((perf_counter() - began_s) * 1000, reason)


def _version_of_contract() -> str:
    # To parse all of it takes half a second, and the contract layer has it done.
    found = re.search(r"^info:\n(?:  .*\n)*?  version: (.+)$", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError("api.yml has no version.")
    return found[1]
