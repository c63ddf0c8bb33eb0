"""Metrics of a server with two workers: exact counts, also after killed workers and during a stop."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests

from promo_api.dev.processes import wait_until
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.scrape import Metrics, folder_of, scrape, settled, with_metrics
from tests.e2e.server import Server, run_command

_ACTIVATE = "user_activations.activate_promo"


@pytest.fixture
def server(env: Environment, tmp_path: Path) -> Iterator[Server]:
    """A server with metrics."""
    with Server(with_metrics(env.variables), tmp_path) as server:
        yield server
    assert_no_secrets(server)


def _send(server: Server, threads: ThreadPoolExecutor) -> "Counter[tuple[str, str]]":
    """Send concurrent requests of several kinds, and count them by operation and status."""
    company, users = server.accounts.sign_up_company(), [server.accounts.sign_up_user() for _ in range(6)]
    few = company.create_promo(promo_unique=[f"metric-{number}" for number in range(20)])
    elsewhere = company.create_promo(target={"country": "fr"})
    sent = Counter({("business_auth.sign_up", "200"): 1, ("user_auth.sign_up", "200"): 6})
    sent["business_promos.create_promo", "201"] = 2
    kinds: dict[str, Any] = {
        "user_promos.list_feed": lambda number: users[number % 6].get("/user/feed"),
        "user_profile.get_profile": lambda _: server.accounts.call("GET", "/user/profile"),
        "none": lambda number: server.accounts.call("GET", f"/nothing/{number}"),
        "health.get_health": lambda _: server.accounts.call("GET", "/health"),
        f"{_ACTIVATE} few": lambda number: users[number % 6].post(f"/user/promo/{few}/activate"),
        f"{_ACTIVATE} elsewhere": lambda number: users[number % 6].post(f"/user/promo/{elsewhere}/activate"),
    }
    responses = [(kind, threads.submit(send, number)) for number in range(25) for kind, send in kinds.items()]
    sent.update((kind.split()[0], str(response.result(60).status_code)) for kind, response in responses)
    return sent


def test_metrics_add_up(server: Server) -> None:
    """Counters over both workers equal the sent requests, and gauges return to zero."""
    with ThreadPoolExecutor(8) as threads:
        sent = _send(server, threads)
    assert sent[_ACTIVATE, "200"] == 20
    assert sent[_ACTIVATE, "403"] == 30
    metrics = settled(server, lambda now: _without_pings(now) == sum(sent.values()))
    for (operation, status), number in sent.items():
        assert metrics("promo_requests_total", operation=operation, status=status) == number, operation
    operations = Counter({operation: 0 for operation, _ in sent})
    for (operation, _), number in sent.items():
        operations[operation] += number
    for operation, number in operations.items():
        assert metrics("promo_request_duration_seconds_count", operation=operation) == number
        assert metrics("promo_request_duration_seconds_bucket", operation=operation, le="+Inf") == number
        assert metrics("promo_requests_total", operation=operation) == number
    assert metrics("promo_activations_total", outcome="granted", reason="none") == 20
    assert metrics("promo_activations_total", outcome="refused", reason="exhausted") == 5
    assert metrics("promo_activations_total", outcome="refused", reason="country") == 25
    assert metrics("promo_activations_total") == 50
    assert metrics("promo_antifraud_verdict_lookups_total", result="none") == 50
    assert metrics("promo_password_hash_duration_seconds_count") == 7
    assert metrics("promo_workers") == 2
    assert metrics("promo_postgres_pool_size") == 2 * 24
    assert metrics("promo_password_hashes") == 0
    settled(server, lambda now: now("promo_requests_in_progress") == now("promo_postgres_connections_in_use") == 0)


def test_worker_resources(server: Server) -> None:
    """Memory and processor time are sums over the workers, and processor time grows."""
    metrics = settled(server, lambda now: now("promo_workers") == 2 and now("promo_worker_memory_bytes") > 0)
    memory = sum(worker.memory_info().rss for worker in server.workers())
    assert memory / 2 < metrics("promo_worker_memory_bytes") < memory * 2
    used_s = sum(sum(worker.cpu_times()[:2]) for worker in server.workers())
    settled(server, lambda now: now("promo_worker_cpu_seconds_total") >= used_s)


def test_inventory(env: Environment, tmp_path: Path) -> None:
    """Each worker publishes the same counts, and their metric is not a sum."""
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        cache.set("inventory:lease", "1", ex=600)
        cache.set("inventory:result", "12 345", ex=600)
        with Server(with_metrics(env.variables), tmp_path) as server:
            metrics = settled(server, lambda now: now("promo_active_promos") > 0)
            assert (metrics("promo_active_promos"), metrics("promo_codes_left")) == (12, 345)
        cache.delete("inventory:lease", "inventory:result")


def _without_pings(metrics: Metrics) -> float:
    """Return the counted requests without the pings that wait for the start of the server."""
    return metrics("promo_requests_total") - metrics("promo_requests_total", operation="health.ping")


def test_killed_worker(env: Environment, server: Server) -> None:
    """The counters of a killed worker remain, and its gauges are removed."""
    with ThreadPoolExecutor(8) as threads:
        sent = _send(server, threads)
        feeds = sent["user_promos.list_feed", "200"]
        user = server.accounts.sign_up_user()
        env.configure_antifraud(user_email=user.body["email"], delay_ms=60_000)
        promo_id = server.accounts.sign_up_company().create_promo()
        activation = threads.submit(user.post, f"/user/promo/{promo_id}/activate")
        settled(server, lambda now: now("promo_requests_in_progress") == 1)
        server.kill_workers()
        with pytest.raises(requests.ConnectionError):
            activation.result(30)
    metrics = settled(server, lambda now: now("promo_workers") == 2 and now("promo_requests_in_progress") == 0)
    assert metrics("promo_requests_total", operation="user_promos.list_feed") == feeds
    assert metrics("promo_request_duration_seconds_count", operation="user_promos.list_feed") == feeds
    assert metrics("promo_activations_total", outcome="granted") == 20
    env.reset_antifraud()
    assert user.get("/user/feed").status_code == 200
    settled(server, lambda now: now("promo_requests_total", operation="user_promos.list_feed") == feeds + 1)


def test_stop(env: Environment, server: Server) -> None:
    """Metrics are served during a stop, and all files are deleted at its end."""
    user, folder = server.accounts.sign_up_user(), folder_of(server)
    promo_id = server.accounts.sign_up_company().create_promo()
    env.configure_antifraud(user_email=user.body["email"], delay_ms=60_000)
    with ThreadPoolExecutor(2) as threads:
        activation = threads.submit(user.post, f"/user/promo/{promo_id}/activate")
        settled(server, lambda now: now("promo_requests_in_progress") == 1)
        end = threads.submit(server.end)
        # The other worker has ended.
        metrics = settled(server, lambda now: now("promo_workers") == 1)
        assert metrics("promo_requests_in_progress") == 1
        assert metrics("promo_requests_total", operation="user_auth.sign_up", status="200") == 1
        assert folder.is_dir()
        env.reset_antifraud()
        assert activation.result(30).status_code == 200
        assert end.result(30) == 0
    assert not folder.exists()
    with pytest.raises(requests.ConnectionError):
        scrape(server)
    assert server.tracebacks() == []


def test_suspended_workers(server: Server) -> None:
    """Metrics do not depend on workers, which do not listen on the port of the metrics."""
    settled(server, lambda now: now("promo_workers") == 2)
    workers = server.workers()
    connections = [connection for worker in workers for connection in worker.net_connections()]
    assert {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN} == {server.port}
    for worker in workers:
        worker.suspend()
    try:
        assert scrape(server)("promo_workers") == 2
    finally:
        for worker in workers:
            worker.resume()


def test_new_workers(server: Server) -> None:
    """SIGHUP replaces the workers; the counters of the old workers stay."""
    user = server.accounts.sign_up_user()
    for _ in range(2):
        assert user.get("/user/feed").status_code == 200
        before = {worker.pid for worker in server.workers()}
        server.signal(signal.SIGHUP)
        assert _replaced(server, before)
    metrics = settled(server, lambda now: now("promo_workers") == 2)
    assert metrics("promo_requests_total", operation="user_promos.list_feed") == 2


def _replaced(server: Server, before: set[int]) -> bool:
    return wait_until(lambda: not before & {worker.pid for worker in server.workers()} and server.responds(), 40)


def test_address_in_use(server: Server, tmp_path: Path) -> None:
    """A server whose metrics port is in use exits with status 1 and a message. The first server is not affected."""
    address = server.environment["METRICS_ADDRESS"]
    done = run_command(server.environment, "serve", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"METRICS_ADDRESS: cannot listen on {address}: Address already in use.\n"
    assert scrape(server)("promo_workers") == 2
