"""The checks of connections that a worker does between requests: a defect in one must not end the worker."""

import asyncio
from typing import Any

import pytest
from uvicorn import Config

from promo_api import gunicorn_conf
from promo_api.gunicorn_conf import StoppingServer
from promo_api.settings import Settings


class _Connection:
    """A connection that counts its checks, and may fail in them."""

    unread_bytes = 0

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.checks = 0

    def cut_if_slow(self, _now_s: float, _timeout_s: float) -> None:
        """Count a check."""
        self.checks += 1
        if self._error is not None:
            raise self._error


async def _app(*_arguments: Any) -> None:
    """Do nothing."""


def _tick(*connections: Any) -> bool:
    async def tick() -> bool:
        settings = Settings(antifraud_address="x", secret_key="x" * 32)
        server = StoppingServer(Config(_app), [], settings=settings, stop_timeout_s=1)
        server.server_state.connections.update(connections)
        return await server.on_tick(0)

    return asyncio.run(tick())


def test_worker_survives_a_check_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A check that fails is logged; the other connections are checked, and the worker goes on."""
    connections = [_Connection(), _Connection(ValueError()), _Connection()]
    assert _tick(*connections) is False, "True would end the worker"
    assert [connection.checks for connection in connections] == [1, 1, 1]
    logged = [record for record in caplog.records if record.name == gunicorn_conf.__name__]
    assert [(record.getMessage(), record.exc_info is not None) for record in logged] == [
        ("connection_check_failed", True)
    ]


def test_worker_survives_the_check_of_unread_responses(caplog: pytest.LogCaptureFixture) -> None:
    """If the check of all unread responses fails, it is logged, and slow clients are still looked for."""
    connection, broken = _Connection(), _Connection()
    broken.unread_bytes = None  # type: ignore[assignment]
    assert _tick(connection, broken) is False
    assert (connection.checks, broken.checks) == (1, 1)
    assert [record.getMessage() for record in caplog.records] == ["connection_check_failed"]
