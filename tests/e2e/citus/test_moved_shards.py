"""The shard of a promo moves to the other worker while users activate it."""

import pytest

from tests.e2e.citus.cluster import Cluster
from tests.e2e.citus.placement import create_common_on, create_unique_on, sign_up_user_on
from tests.e2e.citus.storms import Loop, Storm, assert_exact
from tests.e2e.server import Server

_LIMIT = 5000


@pytest.mark.parametrize("mode", ["force_logical", "block_writes"])
def test_moved_shard(cluster: Cluster, service: Server, mode: str) -> None:
    """No activation fails while the shard of its promo moves there and back, and all counts are exact."""
    company = service.accounts.sign_up_company()
    users = [sign_up_user_on(cluster, service, worker) for worker in cluster.workers]
    source = cluster.workers[0]
    promos = [create(cluster, company, source, _LIMIT) for create in (create_common_on, create_unique_on)]
    loops = [Loop(user, promo_id) for user in users for promo_id in promos]
    with Storm(loops) as storm:
        for promo_id in promos:
            storm.await_each(200, 5)
            for target in (cluster.workers[1], source):
                cluster.move_shard("promos", promo_id, mode)
                assert cluster.find_worker("promos", promo_id) is target
                storm.await_each(200, 5)
    assert {status for loop in loops for status in loop.statuses} == {200}
    assert_exact(cluster, loops)
