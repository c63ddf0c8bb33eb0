"""Accounts and promos whose rows are on a chosen worker."""

from uuid import uuid4

from tests.accounts import Account
from tests.e2e.citus.cluster import Cluster, Node
from tests.e2e.server import Server

# With two workers, this many rows are almost surely not all on the same one.
_ATTEMPTS = 40


def find_user_id(cluster: Cluster, user: Account) -> str:
    """Return the id of a user."""
    [(user_id,)] = cluster.coordinator.run("SELECT id FROM users WHERE email = %s", values=(user.email,))
    return str(user_id)


def sign_up_user_on(cluster: Cluster, service: Server, worker: Node) -> Account:
    """Create a user whose rows are on a worker."""
    for _ in range(_ATTEMPTS):
        user = service.accounts.sign_up_user()
        if cluster.find_worker("users", find_user_id(cluster, user)) is worker:
            return user
    raise AssertionError(f"no user is on the worker with port {worker.port}")


def create_common_on(cluster: Cluster, company: Account, worker: Node, limit: int) -> str:
    """Create a COMMON promo whose rows are on a worker."""
    return _create_on(cluster, company, worker, {"max_count": limit})


def create_unique_on(cluster: Cluster, company: Account, worker: Node, codes: int) -> str:
    """Create a UNIQUE promo whose rows are on a worker."""
    batch = uuid4().hex[:12]
    return _create_on(cluster, company, worker, {"promo_unique": [f"{batch}-{number}" for number in range(codes)]})


def _create_on(cluster: Cluster, company: Account, worker: Node, changes: dict[str, object]) -> str:
    for _ in range(_ATTEMPTS):
        promo_id = company.create_promo(**changes)
        if cluster.find_worker("promos", promo_id) is worker:
            return promo_id
    raise AssertionError(f"no promo is on the worker with port {worker.port}")
