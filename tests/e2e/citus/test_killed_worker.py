"""A worker is unavailable while users activate promos of all workers."""

from contextlib import closing
from itertools import product

import pytest
from sqlalchemy import text

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from tests.e2e.citus.cluster import Cluster
from tests.e2e.citus.placement import create_common_on, create_unique_on, sign_up_user_on
from tests.e2e.citus.storms import Loop, Storm, assert_exact
from tests.e2e.server import Server

_LIMIT = 5000
_TIMEOUT_S = 60


@pytest.mark.parametrize("number", [0, 1])
def test_killed_worker(cluster: Cluster, service: Server, number: int) -> None:
    """Only activations that need a killed worker get 503. After its restart all work, and all counts are exact."""
    company = service.accounts.sign_up_company()
    killed, other = cluster.workers[number], cluster.workers[1 - number]
    users = [sign_up_user_on(cluster, service, worker) for worker in (killed, other)]
    promos = [
        create(cluster, company, worker, _LIMIT)
        for create in (create_common_on, create_unique_on)
        for worker in (killed, other)
    ]
    loops = [Loop(user, promo_id) for user, promo_id in product(users, promos)]
    unaffected = [loop for loop in loops if loop.user is users[1] and loop.promo_id in (promos[1], promos[3])]
    affected = [loop for loop in loops if loop not in unaffected]

    with Storm(loops) as storm:
        storm.await_each(200, 5)
        killed.kill()
        storm.await_each(503, 3, affected)
        storm.await_each(200, 20, unaffected)
        killed.start()
        storm.await_each(200, 10)

    assert {status for loop in unaffected for status in loop.statuses} == {200}
    assert {status for loop in affected for status in loop.statuses} == {200, 503}
    assert_exact(cluster, loops)
    assert wait_until(lambda: cluster.list_prepared() == [], _TIMEOUT_S)


@pytest.mark.parametrize("shards", [1, 2])
def test_killed_before_commit(cluster: Cluster, service: Server, shards: int) -> None:
    """The service is unavailable, not defective, when a worker is killed before COMMIT. Nothing is left half done."""
    company = service.accounts.sign_up_company()
    promos = [create_common_on(cluster, company, worker, _LIMIT) for worker in cluster.workers][:shards]
    change = text("UPDATE promos SET description = 'changed' WHERE id = :id")

    def change_and_kill(database: Database) -> None:
        with database.transaction() as connection:
            for promo_id in promos:
                connection.execute(change, {"id": promo_id})
            cluster.workers[0].kill()

    with closing(Database(Settings.from_environment(service.environment))) as database:
        with pytest.raises(ServiceUnavailable):
            change_and_kill(database)
        cluster.workers[0].start()
        assert wait_until(lambda: cluster.list_prepared() == [], _TIMEOUT_S)
    for promo_id in promos:
        assert company.get(f"/business/promo/{promo_id}").json()["description"] != "changed"
