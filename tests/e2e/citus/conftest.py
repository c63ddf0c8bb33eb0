"""The cluster of the tests of this folder, and services that use it. Without CITUS_BIN they are skipped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from promo_api.dev.valkey import EmbeddedValkey
from tests.e2e.citus.cluster import Cluster, Node, find_obstacle
from tests.e2e.server import Server

# As in the other tests: password hashes are cheap, responses are validated, and no rate limit applies.
_SETTINGS = {
    "ARGON2_MEMORY_KIB": "8",
    "ARGON2_ITERATIONS": "1",
    "SIGN_UPS_PER_ADDRESS": "1000000/3600",
    "ACTIVATIONS_PER_USER": "1000000/60",
    "VALIDATE_RESPONSES": "true",
}


@pytest.fixture(scope="package")
def _folder() -> Iterator[Path]:
    obstacle = find_obstacle()
    if obstacle is not None:
        pytest.skip(obstacle)
    # Not in pytest's folder: another run of pytest makes it inaccessible to PostgreSQL's user.
    with TemporaryDirectory(prefix="promo-citus-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="package")
def _package_cluster(_folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack, _folder)


@pytest.fixture(scope="package")
def _valkey(_folder: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(_folder / "valkey") as valkey:
        yield valkey


@pytest.fixture
def cluster(_package_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose servers the test may stop. They run again for the next test."""
    yield _package_cluster
    _package_cluster.restore()


@pytest.fixture
def start_service(cluster: Cluster, _valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Callable[[Node], Server]]:
    """Starts a service that connects to a server of the cluster. No service may log an error."""
    with ExitStack() as stack:

        def start(node: Node) -> Server:
            folder = tmp_path / str(node.port)
            folder.mkdir()
            redis = {"REDIS_HOST": _valkey.host, "REDIS_PORT": str(_valkey.port)}
            service = Server(cluster.variables(node) | redis | _SETTINGS, folder)
            service.start()
            stack.push(service)
            services.append(service)
            return service

        services: list[Server] = []
        yield start
    for service in services:
        assert [line for line in service.lines() if line["level"] not in ("info", "warning")] == []


@pytest.fixture
def service(cluster: Cluster, start_service: Callable[[Node], Server]) -> Server:
    """A service that connects to the coordinator."""
    return start_service(cluster.coordinator)
