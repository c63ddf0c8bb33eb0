"""The coordinator is killed while transactions of several servers are prepared."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from threading import Event
from time import monotonic
from typing import Any

import psutil
import psycopg

from promo_api.dev.processes import wait_until
from tests.accounts import Account, promo_body
from tests.e2e.citus.cluster import Cluster, Node
from tests.e2e.server import Server

_THREADS = 8
_KILLS = 3
_TIMEOUT_S = 60
# The coordinator resolves prepared transactions when it has started.
_RESOLVED_S = 30
_numbers = count(1)


def test_killed_coordinator(cluster: Cluster, service: Server) -> None:
    """After kills with prepared transactions, a promo and its idempotency key exist both or not at all."""
    companies = [service.accounts.sign_up_company() for _ in range(_THREADS)]
    for _ in range(_KILLS):
        responses = _create_until_killed(cluster, companies)
        # A worker can have the last message unread, and finish the transaction after the kill.
        deadline_s = monotonic() + _TIMEOUT_S
        while cluster.list_prepared() == []:
            assert monotonic() < deadline_s
            cluster.coordinator.start()
            responses += _create_until_killed(cluster, companies)
        assert companies[0].get("/business/promo").status_code == 503
        cluster.coordinator.start()
        assert wait_until(lambda: cluster.list_prepared() == [], _RESOLVED_S)
        _assert_all_or_nothing(cluster, responses)
        for company, key, status in responses:
            assert status in (201, 503)
            assert _create(company, key).status_code == 201
            assert _count(cluster, key) == (1, 1)


def _create_until_killed(cluster: Cluster, companies: list[Account]) -> list[tuple[Account, str, int]]:
    """Create promos, kill the coordinator while a transaction is prepared, and return each company, key and status."""
    killed = Event()
    responses: list[tuple[Account, str, int]] = []

    def create(company: Account) -> None:
        while not killed.is_set():
            key = f"free-coffee-{next(_numbers)}"
            responses.append((company, key, _create(company, key).status_code))

    with ThreadPoolExecutor(len(companies)) as threads:
        running = [threads.submit(create, company) for company in companies]
        try:
            _kill_when_prepared(cluster)
        finally:
            killed.set()
    for each in running:
        each.result()
    return responses


def _kill_when_prepared(cluster: Cluster) -> None:
    """Kill the coordinator while a transaction is prepared. It is frozen before, so that it cannot finish it."""
    deadline_s = monotonic() + _TIMEOUT_S
    with ExitStack() as stack:
        workers = [stack.enter_context(worker.connect()) for worker in cluster.workers]
        # Without a pause: a transaction is prepared for a few milliseconds.
        while not (_is_prepared(workers) and _is_prepared_while_frozen(workers, cluster.coordinator)):
            assert monotonic() < deadline_s
        cluster.coordinator.kill()


def _is_prepared(workers: Sequence["psycopg.Connection[Any]"]) -> bool:
    return any(worker.execute("SELECT FROM pg_prepared_xacts").rowcount for worker in workers)


def _is_prepared_while_frozen(workers: Sequence["psycopg.Connection[Any]"], coordinator: Node) -> bool:
    """Freeze the coordinator, and resume it if no transaction is prepared."""
    # The parent first, so that it has no new children.
    coordinator.processes()[0].suspend()
    processes = coordinator.processes()
    for process in processes[1:]:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    if _is_prepared(workers):
        return True
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()
    return False


def _create(company: Account, key: str) -> Any:
    """Create a promo whose description is its idempotency key."""
    return company.post("/business/promo", json=promo_body(description=key), headers={"Idempotency-Key": key})


def _assert_all_or_nothing(cluster: Cluster, responses: list[tuple[Account, str, int]]) -> None:
    for _, key, status in responses:
        numbers = _count(cluster, key)
        assert numbers == (1, 1) if status == 201 else numbers in ((0, 0), (1, 1)), key


def _count(cluster: Cluster, key: str) -> tuple[int, int]:
    """Count the promos and the stored responses of a key."""
    [(promos,)] = cluster.coordinator.run("SELECT count(*) FROM promos WHERE description = %s", values=(key,))
    [(keys,)] = cluster.coordinator.run("SELECT count(*) FROM kept_answers WHERE key = %s", values=(key,))
    return promos, keys
