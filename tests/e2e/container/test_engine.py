"""The engine that all the other tests of this folder need."""

from tests.e2e.container.engine import Engine


def test_engine(engine: Engine) -> None:
    """There is a Docker engine that runs containers of Linux."""
    assert engine.docker("info", "--format", "{{.OSType}}").strip() == "linux"
