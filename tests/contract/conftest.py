"""The contract is tested from outside too, on the running service of the end-to-end tests."""

from tests.e2e.conftest import e2e_environment, server

__all__ = ["e2e_environment", "server"]
