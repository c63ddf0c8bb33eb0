"""The containers, for all tests of this folder; where they can't be tried, one of these says why."""

import os
from collections.abc import Iterator

import pytest

from tests.conformance import Conformance
from tests.e2e.conftest import assert_discreet
from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine, NoEngine


def _found() -> Engine | str:
    """Return the engine of this machine, or why there is none to try the containers on."""
    if not os.environ.get("ENGINE"):
        return "The image and its containers are left out here: make containers tries them."
    try:
        return Engine()
    except NoEngine as reason:
        return f"The image and its containers are not tried: {reason}"


_ENGINE = _found()
if isinstance(_ENGINE, str):
    collect_ignore = ["test_containers.py", "test_image.py", "test_stories.py"]


@pytest.fixture(scope="package")
def engine() -> Engine:
    """The engine of this machine; where it is required, it is a failure that there is none."""
    if isinstance(_ENGINE, Engine):
        return _ENGINE
    if os.environ.get("ENGINE") == "required":
        pytest.fail(_ENGINE)
    pytest.skip(_ENGINE)


@pytest.fixture(scope="package")
def deployment(
    engine: Engine, conformance: Conformance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """All containers, running; a test that stops some starts them again. The log is looked through at the end."""
    with Deployment(engine, tmp_path_factory.mktemp("deployment"), conformance) as deployment:
        yield deployment
        assert_discreet(deployment)  # type: ignore[arg-type]


@pytest.fixture(scope="package")
def server(deployment: Deployment) -> Deployment:
    """The same, for the stories that are told of any server."""
    return deployment
