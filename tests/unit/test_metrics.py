"""Metrics of one process: what each function counts."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import perf_counter, process_time, thread_time
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.user_activations import _REFUSALS
from promo_api.antifraud.checks import Antifraud
from promo_api.circuit_breaker import State
from promo_api.coalescing import Coalescer
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.security.passwords import Passwords
from promo_api.telemetry import metrics
from tests.metric_delta import MetricDelta

_CHEAP: Any = {"argon2_memory_kib": 8, "argon2_iterations": 1, "argon2_parallelism": 1, "argon2_concurrency": 1}


def test_refusal_reasons() -> None:
    """The metric has a label for each reason of a refusal; a missing label would fail the request."""
    assert {*metrics._refused} == {*_REFUSALS}


def test_requests() -> None:
    """A request is counted by operation, status and duration."""
    counted = MetricDelta()
    metrics.request_started()
    metrics.request_finished("health.ping", 200, 0.003)
    assert counted("promo_requests_total", operation="health.ping", status="200") == 1
    assert counted("promo_request_duration_seconds_bucket", operation="health.ping", le="0.0025") == 0
    assert counted("promo_request_duration_seconds_bucket", operation="health.ping", le="0.005") == 1


def _gauge(name: str) -> float | None:
    # Not a difference: other services of this process set the same gauges.
    return metrics.REGISTRY.get_sample_value(name)


def test_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a worker serves, its gauges are updated, such as requests in progress, and so is its processor time."""
    monkeypatch.setattr(metrics, "_GAUGES_EVERY_S", 0.01)
    counted, in_use = MetricDelta(), [3]
    with metrics.worker_serving("1.2.3", 24, lambda: in_use[0]):
        metrics.request_started()
        assert wait_until(lambda: counted("promo_requests_in_progress") == 1, 10)
        assert wait_until(lambda: _gauge("promo_postgres_connections_in_use") == 3, 10)
        assert counted("promo_build_info", version="1.2.3") == _gauge("promo_workers") == 1
        assert _gauge("promo_postgres_pool_size") == 24
        memory_bytes = _gauge("promo_worker_memory_bytes")
        assert memory_bytes is not None
        assert memory_bytes > 10_000_000
        began_s = process_time()
        while process_time() < began_s + 0.05:
            pass
        assert wait_until(lambda: 0.05 <= counted("promo_worker_cpu_seconds_total") <= process_time(), 10)
        metrics.request_finished("health.ping", 200, 0.003)
        in_use[0] = 0
        assert wait_until(lambda: counted("promo_requests_in_progress") == 0, 10)
        assert wait_until(lambda: _gauge("promo_postgres_connections_in_use") == 0, 10)
    assert _gauge("promo_workers") == 0


def test_gauges_survive_an_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An error while a gauge is updated is logged, and the update is repeated."""
    monkeypatch.setattr(metrics, "_GAUGES_EVERY_S", 0.01)
    errors = [ValueError()]

    def count_connections_in_use() -> int:
        if errors:
            raise errors.pop()
        return 3

    with metrics.worker_serving("1.2.3", 24, count_connections_in_use):
        assert wait_until(lambda: _gauge("promo_postgres_connections_in_use") == 3, 10)
    assert [vars(record)["job"] for record in caplog.records if record.getMessage() == "job_failed"] == ["gauges"]
    metrics._IN_USE.set(0)


@pytest.mark.parametrize(("status", "counted_as"), [(404, "404"), (0, "cut")])
def test_requests_without_an_operation(status: int, counted_as: str) -> None:
    """A request for an unknown path counts as `none`, and a request that was cut as `cut`."""
    counted = MetricDelta()
    metrics.request_started()
    metrics.request_finished("", status, 0.1)
    assert counted("promo_requests_total", operation="none", status=counted_as) == 1


def test_breaker() -> None:
    """The gauge shows the state of an open or half-open circuit breaker, and nothing while it is closed."""
    antifraud = Antifraud(Settings(antifraud_address="http://127.0.0.1:1", secret_key="x" * 32, redis_port=1))
    seen = []
    for state in (State.OPEN, State.HALF_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED):
        antifraud._on_breaker_change(state)
        # The value, not its growth: an earlier test may have left a breaker open.
        breakers = [
            metrics.REGISTRY.get_sample_value("promo_antifraud_circuit_breakers", {"state": name})
            for name in ("open", "half_open")
        ]
        seen.append(tuple(breakers))
    assert seen == [(1, 0), (0, 1), (1, 0), (0, 1), (0, 0)]
    antifraud.close()


def test_password_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password hash counts as waiting, then as running, then as neither; both durations are recorded."""
    passwords = Passwords(Settings(antifraud_address="x", secret_key="x" * 32, **_CHEAP))
    begun, go = Event(), Event()
    counted = MetricDelta()

    def hash_slowly(_password: str) -> str:
        begun.set()
        assert go.wait(10)
        return "hash"

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=hash_slowly))
    with ThreadPoolExecutor(2) as threads:
        hashes = [threads.submit(passwords.hash, "Passw0rd!") for _ in range(2)]
        assert begun.wait(10)
        assert wait_until(lambda: counted("promo_password_hashes", state="waiting") == 1, 10)
        assert counted("promo_password_hashes", state="running") == 1
        go.set()
        assert [each.result(10) for each in hashes] == ["hash", "hash"]
    assert counted("promo_password_hashes", state="waiting") == counted("promo_password_hashes", state="running") == 0
    assert counted("promo_password_hash_duration_seconds_count") == 2
    assert counted("promo_password_hash_wait_seconds_count") == 2


def test_batches() -> None:
    """Each batch is recorded with the number of its claims."""
    counted = MetricDelta()
    assert Coalescer().submit("key", 1, lambda items: [*items]) == 1
    assert counted("promo_activation_batch_claims_count") == 1
    assert counted("promo_activation_batch_claims_sum") == 1


def test_cost_of_counting_a_request() -> None:
    """MetricDelta a request and its two connections takes microseconds; the bound is many times that."""

    def took_s() -> float:
        began_s = thread_time()
        for _ in range(1000):
            metrics.request_started()
            for _ in range(2):
                metrics.connection_acquired(perf_counter())
            metrics.request_finished("health.ping", 200, 0.001)
        return thread_time() - began_s

    # The best of three, because other programs may slow one down.
    assert min(took_s() for _ in range(3)) < 0.1
