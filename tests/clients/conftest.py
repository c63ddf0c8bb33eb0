"""The server that the generated clients talk to: one of the package, as in the tests from outside."""

from tests.e2e.conftest import e2e_environment, server

__all__ = ["e2e_environment", "server"]
