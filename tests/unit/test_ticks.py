"""The ticks of a worker: checks of connections, whose errors must not end the worker, and the drain."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from uvicorn import Config

from promo_api.config.settings import Settings
from promo_api.server import graceful_stop
from promo_api.server.graceful_stop import GracefulServer


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


_SETTINGS = Settings(antifraud_address="x", secret_key="x" * 32)


def _server(drains: list[str], drain_s: int = 0) -> GracefulServer:
    settings = replace(_SETTINGS, server_drain_s=drain_s)
    return GracefulServer(Config(_app, log_config=None), settings=settings, on_drain=lambda: drains.append("drain"))


def _tick(*connections: Any) -> bool:
    async def tick() -> bool:
        server = _server([])
        server.server_state.connections.update(connections)
        return await server.on_tick(0)

    return asyncio.run(tick())


def test_worker_survives_a_check_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A check that fails is logged, the other connections are checked, and the worker goes on."""
    connections = [_Connection(), _Connection(ValueError()), _Connection()]
    assert _tick(*connections) is False, "True would end the worker"
    assert [connection.checks for connection in connections] == [1, 1, 1]
    logged = [record for record in caplog.records if record.name == graceful_stop.__name__]
    assert [(record.getMessage(), record.exc_info is not None) for record in logged] == [
        ("connection_check_failed", True)
    ]


def test_worker_survives_the_check_of_unread_responses(caplog: pytest.LogCaptureFixture) -> None:
    """If the check of unread responses fails, it is logged, and slow clients are still cut."""
    connection, broken = _Connection(), _Connection()
    broken.unread_bytes = None  # type: ignore[assignment]
    assert _tick(connection, broken) is False
    assert (connection.checks, broken.checks) == (1, 1)
    assert [record.getMessage() for record in caplog.records] == ["connection_check_failed"]


@pytest.mark.parametrize("drain_s", [0, 5])
def test_drain(monkeypatch: pytest.MonkeyPatch, drain_s: int) -> None:
    """A worker that is to stop starts to drain once, and closes its listening socket when the drain period is over."""
    now_s, drains = [100.0], list[str]()
    monkeypatch.setattr(graceful_stop, "perf_counter", lambda: now_s[0])

    async def main() -> None:
        server = _server(drains, drain_s)
        assert not await server.on_tick(1)
        assert drains == []
        server.should_exit = True
        assert await server.on_tick(2) is (drain_s == 0)
        now_s[0] += 4.9
        assert await server.on_tick(3) is (drain_s == 0)
        now_s[0] += 0.2
        assert await server.on_tick(4)
        assert drains == ["drain"]

    asyncio.run(main())


def test_second_interrupt_ends_the_drain() -> None:
    """Ctrl-C, pressed a second time, ends the drain period."""

    async def main() -> None:
        server = _server([], 300)
        server.should_exit = True
        assert not await server.on_tick(1)
        server.force_exit = True
        assert await server.on_tick(2)

    asyncio.run(main())
