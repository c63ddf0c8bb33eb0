"""The metrics of requests to webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Counter, Histogram

from promo_api.telemetry.metrics import REGISTRY

# The receiver has accepted the event, has responded with another status, or there was no response.
RESULTS = (
    "succeeded", "refused", "timeout", "name_not_found", "address_forbidden", "connection_failed", "connection_lost",
    "tls_failed", "invalid_response", "invalid_url", "insecure_url", "secret_unreadable", "too_large",
    "event_deleted", "internal_error",
)  # fmt: skip
_ATTEMPTS = Counter(
    "promo_webhook_deliveries_total", "Attempts to deliver an event to a webhook, by result", ["result"],
    registry=REGISTRY,
)  # fmt: skip
_DURATION = Histogram(
    "promo_webhook_request_duration_seconds", "Duration of requests to webhooks", registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)  # fmt: skip
# Exist from the start, so that rates include the first event.
_attempts = {result: _ATTEMPTS.labels(result) for result in RESULTS}


@contextmanager
def request_sent() -> Iterator[None]:
    """Record the duration of a request."""
    began_s = perf_counter()
    try:
        yield
    finally:
        _DURATION.observe(perf_counter() - began_s)


def delivery_attempted(result: str) -> None:
    """Count an attempt to deliver an event."""
    _attempts[result].inc()
