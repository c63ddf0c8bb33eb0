"""The counts of active promos and codes left: exact, and counted by one process at a time."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
import redis

from persistence.promos.inventory import Inventory, count_inventory
from promo_api import inventory
from promo_api.config.settings import Settings
from promo_api.inventory import InventoryJob
from promo_api.runtime import Runtime
from promo_api.telemetry import metrics
from tests.accounts import Api

_KEYS = ("inventory:lease", "inventory:result")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch, cache: "redis.Redis") -> Iterator[list[Inventory]]:
    """The inventories that were counted during the test, which starts without one in Redis."""
    counted: list[Inventory] = []

    def count(*arguments: object) -> Inventory:
        counted.append(count_inventory(*arguments))  # type: ignore[arg-type]
        return counted[-1]

    monkeypatch.setattr(inventory, "count_inventory", count)
    cache.delete(*_KEYS)
    yield counted
    cache.delete(*_KEYS)


def _count(runtime: Runtime) -> Inventory:
    with runtime.database.autocommit() as connection:
        return count_inventory(connection, runtime.today())


def _published() -> Inventory:
    values = (metrics.REGISTRY.get_sample_value(name) for name in ("promo_active_promos", "promo_codes_left"))
    return Inventory(*(int(value or 0) for value in values))


def test_counts(api: Api, runtime: Runtime) -> None:
    """Active promos count, and of UNIQUE promos the codes that are not issued; nothing else does."""
    company, user = api.sign_up_company(), api.sign_up_user()
    before = _count(runtime)
    company.create_promo(max_count=100)
    company.create_promo(max_count=0)
    company.create_promo(active_until="2020-01-01")
    company.create_promo(promo_unique=["one", "two"], active_from="2999-01-01")
    promo_id = company.create_promo(promo_unique=["one", "two", "six"])
    used_up = company.create_promo(promo_unique=["one"])
    for each in (promo_id, used_up):
        assert user.post(f"/user/promo/{each}/activate").status_code == 200
    assert _count(runtime) == Inventory(before.active_promos + 2, before.codes_left + 2)


def test_one_process_counts(
    settings: Settings, runtime: Runtime, counts: list[Inventory], cache: "redis.Redis"
) -> None:
    """One of several processes counts, and all publish its result; after 5 minutes one of them counts again."""
    jobs = [InventoryJob(settings, runtime.database, runtime.today) for _ in range(3)]
    with ExitStack() as stack:
        for job in jobs:
            stack.callback(job._redis.close)
        assert [job.publish() for job in jobs] == [False] * 3
        assert _published() == counts[0]
        metrics.inventory_counted(-1, -1)
        jobs[2].publish()
        assert _published() == counts[0]
        assert len(counts) == 1
        assert 240 < cache.ttl("inventory:lease") <= 300 < cache.ttl("inventory:result")
        cache.delete("inventory:lease")  # as its expiry does
        jobs[1].publish()
    assert len(counts) == 2


def test_without_redis(settings: Settings, runtime: Runtime, counts: list[Inventory]) -> None:
    """Without Redis nothing is counted, and the last result stays."""
    metrics.inventory_counted(7, 9)
    job = InventoryJob(replace(settings, redis_port=1), runtime.database, runtime.today)
    assert job.publish() is False
    assert (_published(), counts) == (Inventory(7, 9), [])
