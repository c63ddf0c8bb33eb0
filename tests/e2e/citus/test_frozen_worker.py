"""A worker does not respond, while the kernel keeps its connections open."""

from itertools import product

from tests.e2e.citus.cluster import Cluster
from tests.e2e.citus.placement import create_common_on, sign_up_user_on
from tests.e2e.citus.storms import Loop, Storm, assert_exact
from tests.e2e.server import Server
from tests.sigstop import frozen

_LIMIT = 5000
# POSTGRES_STATEMENT_TIMEOUT_S is 5; the rest is for a busy machine.
_LONGEST_S = 15


def test_frozen_worker(cluster: Cluster, service: Server) -> None:
    """Statements to a frozen worker end with 503 in time, others succeed, and all counts are exact."""
    company = service.accounts.sign_up_company()
    users = [sign_up_user_on(cluster, service, worker) for worker in cluster.workers]
    promos = [create_common_on(cluster, company, worker, _LIMIT) for worker in cluster.workers]
    loops = [Loop(user, promo_id) for user, promo_id in product(users, promos)]
    unaffected, affected = loops[3:], loops[:3]
    with Storm(loops) as storm:
        storm.await_each(200, 5)
        with frozen(cluster.workers[0]):
            storm.await_each(503, 2, affected)
            storm.await_each(200, 5, unaffected)
        storm.await_each(200, 10)
    assert {status for loop in unaffected for status in loop.statuses} == {200}
    assert max(loop.longest_s for loop in loops) < _LONGEST_S
    assert {status for loop in loops for status in loop.statuses} == {200, 503}
    assert_exact(cluster, loops)
