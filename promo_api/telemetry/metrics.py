"""What the service counts of itself, for Prometheus: every metric, and how the other modules tell of what happens.

docs/operations.md lists all metrics and alerts. A label has few values, all known beforehand: never an id, a path or
anything else from a request.

The metrics stand in this module and not in a runtime, for they are those of the process, and prometheus_client, which
keeps them, knows no other way. Where `serve` has made a folder for them (see promo_api.telemetry.metrics_server) it keeps them in
files there, else in memory, where nobody reads them but the tests.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from promo_api.background import BackgroundJob

REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CLOSED_REASONS = ("no_request", "idle", "slow_request", "slow_response", "unread", "files", "address")
_REASONS = ("inactive", "not_started", "expired", "exhausted", "age", "country", "antifraud")
# A wait that is shorter is the way to the pool and back.
_SHORTEST_WAIT_S = 0.001
_LEVELS_EVERY_S = 1.0


def _counter(name: str, sentence: str, *labels: str) -> Counter:
    return Counter(name, sentence, labels, registry=REGISTRY)


def _gauge(name: str, sentence: str, *labels: str, mode: str = "livesum") -> Gauge:
    """Return a gauge whose value is the sum of those of the workers that live."""
    return Gauge(name, sentence, labels, registry=REGISTRY, multiprocess_mode=mode)  # type: ignore[arg-type]


def _histogram(name: str, sentence: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
    return Histogram(name, sentence, labels, registry=REGISTRY, buckets=buckets)


_BUILD = _gauge("promo_build_info", "Always 1; which version serves", "version", mode="livemax")
_WORKERS = _gauge("promo_workers", "Workers that serve")

_REQUESTS = _counter("promo_requests_total", "Requests by operationId and status", "operation", "status")
_REQUEST_DURATION = _histogram("promo_request_duration_seconds", "Time to answer a request", "operation")
_REQUESTS_IN_PROGRESS = _gauge("promo_requests_in_progress", "Requests that have no answer yet")

_OVERLOADED = _counter(
    "promo_requests_overloaded_total", "Requests refused by a full queue or a long wait", "pool", "reason"
)
_CONNECTIONS_CLOSED = _counter(
    "promo_connections_closed_total", "Connections that the server closed, by reason", "reason"
)

_ACTIVATIONS = _counter("promo_activations_total", "Activations by outcome and reason", "outcome", "reason")
_BATCH_CLAIMS = _histogram(
    "promo_activation_batch_claims", "Activations granted by one statement", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)

_CALL_DURATION = _histogram(
    "promo_antifraud_call_duration_seconds", "Time of a call to the anti-fraud service", "result"
)
_LOOKUPS = _counter("promo_antifraud_verdict_lookups_total", "Lookups of cached verdicts by result", "result")
_BREAKERS = _gauge(
    "promo_antifraud_breakers", "Workers whose circuit breaker for the anti-fraud service is open or half-open", "state"
)

_LENT = _gauge("promo_postgres_connections_lent", "Connections to PostgreSQL that requests hold")
_POOL_SIZE = _gauge("promo_postgres_pool_size", "Connections to PostgreSQL that the workers may have")
_POOL_WAIT = _histogram("promo_postgres_wait_seconds", "Waits of 1 ms or more for a connection that was got")
_POOL_TIMEOUTS = _counter("promo_postgres_pool_timeouts_total", "Waits for a connection that came to nothing")

_HASHES = _gauge("promo_password_hashes", "Password hashes by state", "state")
_HASH_WAIT = _histogram("promo_password_hash_wait_seconds", "Time that a password hash waits for its turn")
_HASH_DURATION = _histogram("promo_password_hash_duration_seconds", "Time to compute a password hash")

_RATE_LIMITED = _counter("promo_rate_limit_refusals_total", "Requests refused by a rate limit", "limit")
_RATE_LIMITS_UNAVAILABLE = _counter(
    "promo_rate_limits_unavailable_total", "Rate limit checks that failed because Redis was unavailable"
)

_SWEEPS = _counter("promo_sweeps_total", "Statements of the sweepers by how they ended", "sweeper", "result")
_SWEPT_ROWS = _counter("promo_swept_rows_total", "Rows that the sweepers have dealt with", "sweeper")
# Not `job`: Prometheus sets a label of this name itself.
_LAST_SUCCESS = _gauge(
    "promo_job_last_success_timestamp_seconds", "Unix time of the last success", "sweeper", mode="livemax"
)


class _Level:
    """A number that goes up and down with each request. To write it down each time would cost more than all else."""

    def __init__(self) -> None:
        self.now = 0


_in_progress = _Level()
# Looked up for each request: `labels` takes longer than to count.
_requests_of = cache(_REQUESTS.labels)
_request_duration_of = cache(_REQUEST_DURATION.labels)
# All the series that can be named now are there from the start, so that the first event is a change of a number.
_overloaded = {
    (pool, reason): _OVERLOADED.labels(pool, reason)
    for pool in ("default", "antifraud", "passwords", "health")
    for reason in ("full", "timeout")
}
_connections_closed = {reason: _CONNECTIONS_CLOSED.labels(reason) for reason in _CLOSED_REASONS}
_granted = _ACTIVATIONS.labels("granted", "none")
_refused = {reason: _ACTIVATIONS.labels("refused", reason) for reason in _REASONS}
_calls = {result: _CALL_DURATION.labels(result) for result in ("yes", "no", "no_response")}
_lookups = {result: _LOOKUPS.labels(result) for result in ("yes", "no", "none", "unavailable")}
_breakers = {state: _BREAKERS.labels(state) for state in ("open", "half_open")}
_hashes = {state: _HASHES.labels(state) for state in ("waiting", "running")}
_rate_limited = {
    limit: _RATE_LIMITED.labels(limit)
    for limit in (
        "failed-sign-ins-per-account",
        "failed-sign-ins-per-address",
        "sign-ins-per-account",
        "sign-ups-per-address",
        "password-changes-per-user",
        "activations-per-user",
        "likes-per-user",
        "comments-per-user",
        "promos-per-company",
        "codes-per-company",
        "idempotency-keys-per-account",
    )
}
_SWEEPERS = ("expired_responses", "feed_changes", "account_deletions", "feed_standings")
_sweeps = {(name, end): _SWEEPS.labels(name, end) for name in _SWEEPERS for end in ("done", "failed")}
_swept_rows = {name: _SWEPT_ROWS.labels(name) for name in _SWEEPERS}
_last_success = {name: _LAST_SUCCESS.labels(name) for name in _SWEEPERS}


@contextmanager
def worker_serving(version: str, pool_size: int, count_lent: Callable[[], int]) -> Iterator[None]:
    """Tell that this process serves for the time of a block, and once in a second how busy it is.

    Args:
        version: of the service.
        pool_size: how many connections to PostgreSQL it may have.
        count_lent: how many of them are in use.
    """
    _BUILD.labels(version).set(1)
    _WORKERS.set(1)
    _POOL_SIZE.set(pool_size)

    def set_levels() -> bool:
        _REQUESTS_IN_PROGRESS.set(_in_progress.now)
        _LENT.set(count_lent())
        return False

    job = BackgroundJob("levels", set_levels, _LEVELS_EVERY_S)
    job.start()
    try:
        yield
    finally:
        job.stop()
        _WORKERS.set(0)


def request_began() -> None:
    """Count a request that has come; on the event loop, as its end is."""
    _in_progress.now += 1


def request_ended(operation_id: str, status: int, duration_s: float) -> None:
    """Count a request that has ended: its operation, "" if it asked for none, and its status, 0 if it was cut."""
    operation = operation_id or "none"
    _in_progress.now -= 1
    _requests_of(operation, str(status) if status else "cut").inc()
    _request_duration_of(operation).observe(duration_s)


def request_overloaded(pool: str, reason: str) -> None:
    """Count a request that a thread pool refused; the reason is `full` or `timeout`."""
    _overloaded[pool, reason].inc()


def connection_closed(reason: str) -> None:
    """Count a connection that the server closed for a reason of its limits."""
    _connections_closed[reason].inc()


def activation_granted() -> None:
    """Count an activation that was granted."""
    _granted.inc()


def activation_refused(reason: str) -> None:
    """Count an activation that was refused; the reason is that of ActivationDenied."""
    _refused[reason].inc()


def batch_started(claims: int) -> None:
    """Record the number of activations in one statement."""
    _BATCH_CLAIMS.observe(claims)


def antifraud_responded(*, allowed: bool, duration_s: float) -> None:
    """Record a call to the anti-fraud service that returned a verdict."""
    _calls["yes" if allowed else "no"].observe(duration_s)


def antifraud_failed(duration_s: float) -> None:
    """Record a call to the anti-fraud service that returned no verdict."""
    _calls["no_response"].observe(duration_s)


def verdict_looked_up(verdict: bool | None) -> None:
    """Count a lookup of a cached verdict by its result."""
    _lookups["none" if verdict is None else "yes" if verdict else "no"].inc()


def verdicts_unavailable() -> None:
    """Count a lookup of a cached verdict that failed because Redis was unavailable."""
    _lookups["unavailable"].inc()


def breaker_changed(state: str) -> None:
    """Set the state of the anti-fraud circuit breaker: `open`, `half_open`; any other value means closed."""
    for name, gauge in _breakers.items():
        gauge.set(name == state)


def connection_got(asked_s: float) -> None:
    """Tell of a connection to PostgreSQL that was got; `asked_s`: when it was asked for."""
    waited_s = perf_counter() - asked_s
    if waited_s >= _SHORTEST_WAIT_S:
        _POOL_WAIT.observe(waited_s)


def pool_timed_out() -> None:
    """Count a wait for a connection to PostgreSQL that came to nothing."""
    _POOL_TIMEOUTS.inc()


def hash_asked() -> None:
    """Count a password hash that waits from now on."""
    _hashes["waiting"].inc()


@contextmanager
def hash_computed(asked_s: float) -> Iterator[None]:
    """Count a password hash as computed for the time of a block; `asked_s`: since when it has waited."""
    began_s = perf_counter()
    _hashes["waiting"].dec()
    _hashes["running"].inc()
    _HASH_WAIT.observe(began_s - asked_s)
    try:
        yield
    finally:
        _HASH_DURATION.observe(perf_counter() - began_s)
        _hashes["running"].dec()


def rate_limited(limit: str) -> None:
    """Count a request that was refused by this rate limit."""
    _rate_limited[limit].inc()


def rate_limits_unavailable() -> None:
    """Count a rate limit check that failed because Redis was unavailable."""
    _RATE_LIMITS_UNAVAILABLE.inc()


def swept(sweeper: str, rows: int) -> None:
    """Count a successful step of a sweeper and the rows that it changed."""
    _sweeps[sweeper, "done"].inc()
    _swept_rows[sweeper].inc(rows)
    _last_success[sweeper].set_to_current_time()


def sweep_failed(sweeper: str) -> None:
    """Count a failed step of a sweeper."""
    _sweeps[sweeper, "failed"].inc()
