"""The containers for the tests of this folder. Without a Docker engine, test_engine.py is skipped with the reason."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine, NoEngine
from tests.e2e.environment import assert_no_secrets


def _find_engine() -> Engine | str:
    """Return the Docker engine of this machine, or the reason to skip these tests."""
    if not os.environ.get("ENGINE"):
        return "The image and its containers are left out here: make containers tries them."
    try:
        return Engine()
    except NoEngine as reason:
        return f"The tests of the containers are skipped. {reason}"


_ENGINE = _find_engine()
if isinstance(_ENGINE, str):
    collect_ignore = ["test_containers.py", "test_image.py", "test_stories.py"]


@pytest.fixture(scope="package")
def engine() -> Engine:
    """The Docker engine. Without one, skip, or fail if ENGINE=required."""
    if isinstance(_ENGINE, Engine):
        return _ENGINE
    if os.environ.get("ENGINE") == "required":
        pytest.fail(_ENGINE)
    pytest.skip(_ENGINE)


@pytest.fixture(scope="package")
def deployment(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The running containers. A test that stops one starts it again. At the end, check the log for secrets."""
    with Deployment(engine, tmp_path_factory.mktemp("deployment")) as deployment:
        yield deployment
        assert_no_secrets(deployment)  # type: ignore[arg-type]


@pytest.fixture(scope="package")
def server(deployment: Deployment) -> Deployment:
    """The deployment, for tests that work with any server."""
    return deployment
