"""The Docker engine, which all tests of this folder need."""

from tests.e2e.container.engine import Engine


def test_engine(engine: Engine) -> None:
    """There is a Docker engine for Linux containers."""
    assert engine.docker("info", "--format", "{{.OSType}}").strip() == "linux"
