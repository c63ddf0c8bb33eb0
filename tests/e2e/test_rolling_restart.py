"""A restart of one instance after the other, under load: nobody behind a load balancer notices."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance import Conformance
from tests.e2e.balancer import Load
from tests.e2e.conftest import assert_discreet
from tests.e2e.server import Server

_ROUNDS = 2


@pytest.fixture
def instances(e2e_environment: dict[str, str], conformance: Conformance, tmp_path: Path) -> Iterator[list[Server]]:
    """Two servers on one database."""
    with ExitStack() as stack:
        servers = []
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            servers.append(stack.enter_context(Server(e2e_environment, folder, conformance)))
        yield servers
    for server in servers:
        assert_discreet(server)


def test_rolling_restart_under_load(instances: list[Server]) -> None:
    """No request fails, and what is recorded is exactly what was answered."""
    people = instances[0].people
    company, user = people.sign_up_company(), people.sign_up_user()
    promo_id = company.create_promo(max_count=1_000_000)
    ports = [server.port for server in instances]
    path, headers = f"/api/user/promo/{promo_id}/activate", {"Authorization": f"Bearer {user.token}"}
    with Load(ports, path, headers, keeping=6, changing=2) as load:
        for server in instances * _ROUNDS:
            load.wait_for(server.port, 100)
            server.restart()
    assert load.failures == []
    assert {status for _, status in load.answers} == {200}
    recorded = company.get(f"/business/promo/{promo_id}/stat").json()["activations_count"]
    assert recorded == sum(load.answers.values())
