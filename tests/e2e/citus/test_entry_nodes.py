"""Services that connect to the coordinator and to the workers of a cluster share its promos."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.accounts import Account
from tests.e2e.citus.cluster import Cluster, Node
from tests.e2e.citus.placement import create_common_on, create_unique_on
from tests.e2e.citus.storms import Loop, assert_exact
from tests.e2e.server import Server

_LIMIT, _THREADS = 60, 12


def test_race_through_all_nodes(cluster: Cluster, start_service: Callable[[Node], Server]) -> None:
    """Users of services at all nodes get exactly as many uses as there are, and each code once."""
    services = [start_service(node) for node in cluster.nodes]
    company = services[0].accounts.sign_up_company()
    users = [service.accounts.sign_up_user() for service in services for _ in range(_THREADS // len(services))]
    for worker in cluster.workers:
        for create in (create_common_on, create_unique_on):
            promo_id = create(cluster, company, worker, _LIMIT)
            loops = [Loop(user, promo_id) for user in users]
            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(_activate_until_refused, loops))
            assert sum(len(loop.values) for loop in loops) == _LIMIT
            assert_exact(cluster, loops)


def test_account_through_all_nodes(cluster: Cluster, start_service: Callable[[Node], Server]) -> None:
    """Each node is healthy, and a service at any node serves an account that another one created."""
    services = [start_service(node) for node in cluster.nodes]
    for service in services:
        company, user = service.accounts.sign_up_company(), service.accounts.sign_up_user()
        promo_id = company.create_promo()
        for other in services:
            assert other.accounts.call("GET", "/health").json()["status"] == "ok"
            same = Account(other.accounts, user.token, user.body)
            assert same.get(f"/user/promo/{promo_id}").status_code == 200
            assert same.post(f"/user/promo/{promo_id}/like").status_code == 200
            assert same.get("/user/feed").json()[0]["promo_id"] == promo_id
            assert Account(other.accounts, company.token, company.body).get("/business/promo").status_code == 200


def _activate_until_refused(loop: Loop) -> None:
    while loop.activate() == 200:
        pass
    assert loop.statuses[-1] == 403
