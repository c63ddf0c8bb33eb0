"""Restarts under load, of two instances in turn or of a single one: no request fails."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.balancer import BalancedLoad, HealthChecks
from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server

_ROUNDS = 2


@pytest.fixture
def instances(e2e_environment: dict[str, str], tmp_path: Path) -> Iterator[list[Server]]:
    """Two servers on one database, which drain for two seconds."""
    environment = e2e_environment | {"SERVER_DRAIN_S": "2"}
    with ExitStack() as stack:
        servers = []
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            servers.append(stack.enter_context(Server(environment, folder)))
        yield servers
    for server in servers:
        assert_no_secrets(server)


def _restarted_under_load(instances: list[Server], checks: HealthChecks | None = None) -> None:
    """Restart each in turn under load: no request fails, and stored activations equal successful responses."""
    accounts = instances[0].accounts
    company, user = accounts.sign_up_company(), accounts.sign_up_user()
    promo_id = company.create_promo(max_count=1_000_000)
    ports = [server.port for server in instances]
    path, headers = f"/api/user/promo/{promo_id}/activate", {"Authorization": f"Bearer {user.token}"}
    with BalancedLoad(ports, path, headers, persistent=6, short_lived=2, checks=checks) as load:
        for server in instances * _ROUNDS:
            load.wait_for(server.port, 100)
            server.restart()
    assert load.failures == []
    assert {status for _, status in load.responses} == {200}
    recorded = company.get(f"/business/promo/{promo_id}/stat").json()["activations_count"]
    assert recorded == sum(load.responses.values())


def test_rolling_restart_under_load(instances: list[Server]) -> None:
    """Behind a load balancer that checks health, two instances are restarted in turn and no request is lost."""
    with HealthChecks([server.port for server in instances]) as checks:
        _restarted_under_load(instances, checks)


def test_restart_of_a_single_instance(e2e_environment: dict[str, str], tmp_path: Path) -> None:
    """With socket activation, as by systemd, connections wait during a restart."""
    server = Server(e2e_environment, tmp_path)
    with socket.create_server(("127.0.0.1", server.port)) as server.listener, server:
        _restarted_under_load([server])
    assert_no_secrets(server)
