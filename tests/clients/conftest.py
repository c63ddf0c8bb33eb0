"""The server for the generated clients."""

from tests.e2e.conftest import e2e_environment, server

__all__ = ["e2e_environment", "server"]
