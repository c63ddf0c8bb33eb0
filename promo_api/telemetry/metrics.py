"""All metrics, and the functions that record them. docs/operations.md lists them.

A label has few values: never an id, a path or other request data.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from time import perf_counter, process_time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from promo_api.background import BackgroundJob
from promo_api.specification import (
    EVENT_TYPES,
    JOB_FAILURES,
    JOB_KINDS,
    REDEMPTION_REASONS,
    REDEMPTION_STATES,
    REFUSAL_REASONS,
)
from promo_api.telemetry.process import resident_bytes

REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CLOSED_REASONS = ("no_request", "idle", "slow_request", "slow_response", "unread", "files", "address")
_SHORTEST_WAIT_S = 0.001
_GAUGES_EVERY_S = 1.0


def _counter(name: str, sentence: str, *labels: str) -> Counter:
    return Counter(name, sentence, labels, registry=REGISTRY)


def _gauge(name: str, sentence: str, *labels: str, mode: str = "livesum") -> Gauge:
    """Return a gauge that is by default a sum over running workers."""
    return Gauge(name, sentence, labels, registry=REGISTRY, multiprocess_mode=mode)  # type: ignore[arg-type]


def _histogram(name: str, sentence: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
    return Histogram(name, sentence, labels, registry=REGISTRY, buckets=buckets)


_BUILD = _gauge("promo_build_info", "Always 1, with the version as a label", "version", mode="livemax")
_WORKERS = _gauge("promo_workers", "Running workers")
_MEMORY = _gauge("promo_worker_memory_bytes", "Resident memory of all workers")
_PROCESSOR = _counter("promo_worker_cpu_seconds_total", "Processor time of all workers")

_REQUESTS = _counter("promo_requests_total", "Requests by operationId and status", "operation", "status")
_REQUEST_DURATION = _histogram("promo_request_duration_seconds", "Duration of requests", "operation")
_REQUESTS_IN_PROGRESS = _gauge("promo_requests_in_progress", "Requests without a response yet")

_OVERLOADED = _counter(
    "promo_requests_overloaded_total",
    "Requests refused because the queue was full or the wait too long",
    "pool",
    "reason",
)
_CONNECTIONS_CLOSED = _counter("promo_connections_closed_total", "Connections closed by the server", "reason")

_ACTIVATIONS = _counter("promo_activations_total", "Activations by outcome and reason", "outcome", "reason")
_BATCH_CLAIMS = _histogram(
    "promo_activation_batch_claims",
    "Activations, or redemptions of a COMMON promo, by one statement",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)

_CALL_DURATION = _histogram(
    "promo_antifraud_call_duration_seconds", "Duration of calls to the anti-fraud service", "result"
)
_LOOKUPS = _counter("promo_antifraud_verdict_lookups_total", "Lookups of cached verdicts by result", "result")
_BREAKERS = _gauge(
    "promo_antifraud_circuit_breakers",
    "Workers whose circuit breaker for the anti-fraud service is open or half-open",
    "state",
)

_IN_USE = _gauge("promo_postgres_connections_in_use", "Connections to PostgreSQL in use")
_POOL_SIZE = _gauge("promo_postgres_pool_size", "Size of the connection pools of all workers")
_POOL_WAIT = _histogram("promo_postgres_pool_wait_seconds", "Waits of 1 ms or more for a connection")
_POOL_TIMEOUTS = _counter("promo_postgres_pool_timeouts_total", "Requests that got no connection in time")

_HASHES = _gauge("promo_password_hashes", "Password hashes by state", "state")
_HASH_WAIT = _histogram("promo_password_hash_wait_seconds", "Wait of a password hash before it runs")
_HASH_DURATION = _histogram("promo_password_hash_duration_seconds", "Run time of a password hash")

_RATE_LIMITED = _counter("promo_rate_limit_refusals_total", "Requests refused by a rate limit", "limit")
_RATE_LIMITS_UNAVAILABLE = _counter(
    "promo_rate_limits_unavailable_total", "Rate limit checks that failed because Redis was unavailable"
)

# The same in each worker, so no sum.
_ACTIVE_PROMOS = _gauge("promo_active_promos", "Active promos", mode="livemostrecent")
_CODES_LEFT = _gauge("promo_codes_left", "Codes of active promos that are not issued", mode="livemostrecent")

_CODE_ROWS = _counter("promo_code_rows_total", "Rows of code imports, and generated codes, by result", "result")
_CODE_JOBS = _counter("promo_code_jobs_total", "Finished jobs that add codes, by kind and result", "kind", "result")

_MAILS = _counter("promo_mails_total", "Mails by result; a failed one is retried, a dropped one is not", "result")
_REDEMPTIONS = _counter("promo_redemptions_total", "Redemptions by new state or reason against them", "result")

_EVENTS = _counter("promo_events_published_total", "Published events by type", "type")
# The same in each worker, so no sum.
_EVENTS_WAITING = _gauge("promo_events_unpublished", "Events that are not published yet", mode="livemostrecent")
_EVENTS_LAG = _gauge(
    "promo_events_oldest_unpublished_seconds", "Age of the oldest event that is not published", mode="livemostrecent"
)

# The same in each worker, so no sum.
_WEBHOOKS = _gauge(
    "promo_webhooks",
    "Webhooks: enabled, enabled with a failed last delivery, and disabled by the service",
    "state",
    mode="livemostrecent",
)
_DELIVERIES_PENDING = _gauge(
    "promo_webhook_deliveries_pending", "Pending deliveries of enabled webhooks", mode="livemostrecent"
)
_DELIVERIES_LAG = _gauge(
    "promo_webhook_deliveries_oldest_due_seconds",
    "Time since the oldest delivery of a webhook that is not failing was due",
    mode="livemostrecent",
)

_SWEEPS = _counter("promo_sweeps_total", "Steps of the sweepers by result", "sweeper", "result")
_SWEPT_ROWS = _counter("promo_swept_rows_total", "Rows changed by the sweepers", "sweeper")
# Prometheus sets the label `job`.
_LAST_SUCCESS = _gauge(
    "promo_job_last_success_timestamp_seconds", "Unix time of the last success", "sweeper", mode="livemax"
)


class _Level:
    """A gauge that is published once a second, because setting it is slow."""

    def __init__(self) -> None:
        self.now = 0


_in_progress = _Level()
# `labels` takes longer than counting.
_requests_of = cache(_REQUESTS.labels)
_request_duration_of = cache(_REQUEST_DURATION.labels)
# Exist from the start, so that rates include the first event.
_overloaded = {
    (pool, reason): _OVERLOADED.labels(pool, reason)
    for pool in ("default", "antifraud", "passwords", "health", "streams")
    for reason in ("full", "timeout")
}
_connections_closed = {reason: _CONNECTIONS_CLOSED.labels(reason) for reason in _CLOSED_REASONS}
_granted = _ACTIVATIONS.labels("granted", "none")
_refused = {reason: _ACTIVATIONS.labels("refused", reason) for reason in REFUSAL_REASONS}
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
        "forgot-passwords-per-account",
        "forgot-passwords-per-address",
        "failed-resets-per-address",
        "activations-per-user",
        "likes-per-user",
        "comments-per-user",
        "reports-per-user",
        "promos-per-company",
        "codes-per-company",
        "unknown-codes-per-company",
        "unknown-codes-per-key",
        "idempotency-keys-per-account",
    )
}
_webhooks = {state: _WEBHOOKS.labels(state) for state in ("enabled", "failing", "disabled")}
_code_rows = {result: _CODE_ROWS.labels(result) for result in ("accepted", "duplicates", "rejected")}
_mails = {result: _MAILS.labels(result) for result in ("sent", "failed", "dropped")}
_code_jobs = {
    (kind, result): _CODE_JOBS.labels(kind, result) for kind in JOB_KINDS for result in ("succeeded", *JOB_FAILURES)
}
_redemptions = {
    result: _REDEMPTIONS.labels(result) for result in (*REDEMPTION_STATES, *REDEMPTION_REASONS) if result != "expired"
}
for _type in EVENT_TYPES:
    _EVENTS.labels(_type)
_SWEEPERS = (
    "expired_responses", "feed_changes", "account_deletions", "earlier_events", "feed_status", "category_keys",
    "search_words", "job_files", "reset_mails", "activity_backfills", "events", "ended_promos", "old_events",
    "deleted_webhooks", "redeliveries", "webhook_secrets", "webhook_mails",
    "account_writes",
)  # fmt: skip
_sweeps = {(name, end): _SWEEPS.labels(name, end) for name in _SWEEPERS for end in ("done", "failed")}
_swept_rows = {name: _SWEPT_ROWS.labels(name) for name in _SWEEPERS}
_last_success = {name: _LAST_SUCCESS.labels(name) for name in _SWEEPERS}


@contextmanager
def worker_serving(version: str, pool_size: int, count_connections_in_use: Callable[[], int]) -> Iterator[None]:
    """Publish the gauges of this worker during a block."""
    _BUILD.labels(version).set(1)
    _WORKERS.set(1)
    _POOL_SIZE.set(pool_size)

    used_s = 0.0

    def set_gauges() -> bool:
        nonlocal used_s
        _REQUESTS_IN_PROGRESS.set(_in_progress.now)
        _MEMORY.set(resident_bytes())
        now_s = process_time()
        _PROCESSOR.inc(now_s - used_s)
        used_s = now_s
        _IN_USE.set(count_connections_in_use())
        return False

    job = BackgroundJob("gauges", set_gauges, _GAUGES_EVERY_S)
    job.start()
    try:
        yield
    finally:
        job.stop()
        _WORKERS.set(0)


def request_started() -> None:
    """Record a request, on the event loop."""
    _in_progress.now += 1


def request_finished(operation_id: str, status: int, duration_s: float) -> None:
    """Record a request, on the event loop; operation "": none, status 0: no response."""
    operation = operation_id or "none"
    _in_progress.now -= 1
    _requests_of(operation, str(status) if status else "cut").inc()
    _request_duration_of(operation).observe(duration_s)


def request_overloaded(pool: str, reason: str) -> None:
    """Record a request refused by a thread pool: `full` or `timeout`."""
    _overloaded[pool, reason].inc()


def connection_closed(reason: str) -> None:
    """Record a connection closed by the server."""
    _connections_closed[reason].inc()


def activation_granted() -> None:
    """Record a granted activation."""
    _granted.inc()


def activation_refused(reason: str) -> None:
    """Record a refused activation."""
    _refused[reason].inc()


def redemption(result: str) -> None:
    """Record the new state of a redemption, or the reason against it."""
    _redemptions[result].inc()


def claims_coalesced(claims: int) -> None:
    """Record the number of activations or redemptions in a statement."""
    _BATCH_CLAIMS.observe(claims)


def antifraud_responded(*, allowed: bool, duration_s: float) -> None:
    """Record a call that returned a verdict."""
    _calls["yes" if allowed else "no"].observe(duration_s)


def antifraud_failed(duration_s: float) -> None:
    """Record a call without a verdict."""
    _calls["no_response"].observe(duration_s)


def verdict_cache_read(verdict: bool | None) -> None:
    """Record a lookup; None: no verdict was cached."""
    _lookups["none" if verdict is None else "yes" if verdict else "no"].inc()


def verdict_cache_unavailable() -> None:
    """Record a lookup while Redis was unavailable."""
    _lookups["unavailable"].inc()


def breaker_changed(state: str) -> None:
    """Publish this worker's circuit breaker: `closed`, `open` or `half_open`."""
    for name, gauge in _breakers.items():
        gauge.set(name == state)


def connection_acquired(requested_s: float) -> None:
    """Record the wait for a pooled connection, since `requested_s` by perf_counter."""
    waited_s = perf_counter() - requested_s
    if waited_s >= _SHORTEST_WAIT_S:
        _POOL_WAIT.observe(waited_s)


def pool_timed_out() -> None:
    """Record a request that got no connection."""
    _POOL_TIMEOUTS.inc()


def hash_queued() -> None:
    """Record a password hash that waits."""
    _hashes["waiting"].inc()


@contextmanager
def hash_running(queued_s: float) -> Iterator[None]:
    """Record a password hash that waited since `queued_s` by perf_counter."""
    started_s = perf_counter()
    _hashes["waiting"].dec()
    _hashes["running"].inc()
    _HASH_WAIT.observe(started_s - queued_s)
    try:
        yield
    finally:
        _HASH_DURATION.observe(perf_counter() - started_s)
        _hashes["running"].dec()


def rate_limited(limit: str) -> None:
    """Count a refusal by a rate limit."""
    _rate_limited[limit].inc()


def inventory_counted(active_promos: int, codes_left: int) -> None:
    """Publish the counts of all active promos and their codes."""
    _ACTIVE_PROMOS.set(active_promos)
    _CODES_LEFT.set(codes_left)


def rate_limits_unavailable() -> None:
    """Count a check while Redis was unavailable."""
    _RATE_LIMITS_UNAVAILABLE.inc()


def mail_sent() -> None:
    """Count a mail that the mail server accepted."""
    _mails["sent"].inc()


def mail_failed(*, will_retry: bool) -> None:
    """Count a mail that was not sent."""
    _mails["failed" if will_retry else "dropped"].inc()


def event_published(type_: str) -> None:
    """Count a published event. A later version may have written it, so its type may be new."""
    _EVENTS.labels(type_).inc()


def events_waiting(number: int, age_s: float) -> None:
    """Publish the number of unpublished events, and the age of the oldest."""
    _EVENTS_WAITING.set(number)
    _EVENTS_LAG.set(age_s)


def webhooks_counted(states: Mapping[str, int], pending: int, oldest_due_s: float) -> None:
    """Publish the number of webhooks by state, of pending deliveries, and how late the oldest is."""
    for state, number in states.items():
        _webhooks[state].set(number)
    _DELIVERIES_PENDING.set(pending)
    _DELIVERIES_LAG.set(oldest_due_s)


def sweep_succeeded(sweeper: str, rows: int) -> None:
    """Count a successful step and its changed rows."""
    _sweeps[sweeper, "done"].inc()
    _swept_rows[sweeper].inc(rows)
    _last_success[sweeper].set_to_current_time()


def sweep_failed(sweeper: str) -> None:
    """Count a failed step."""
    _sweeps[sweeper, "failed"].inc()


def code_rows(result: str, number: int) -> None:
    """Count rows of imports and generated codes: accepted, duplicates or rejected."""
    _code_rows[result].inc(number)


def code_job_finished(kind: str, result: str) -> None:
    """Count a finished job; the result is `succeeded` or the reason of its failure."""
    _code_jobs[kind, result].inc()
