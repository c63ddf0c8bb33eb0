"""The graceful stop: a worker that gets SIGTERM loses no request.

1. Drain: for SERVER_DRAIN_S, serve as before, but `GET /api/health` returns 503.
2. Accept the backlog, and close the listening socket.
3. Close each connection after its next response or 2 idle seconds; cut the rest after SERVER_STOP_TIMEOUT_S.
"""

import asyncio
import logging
import select
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from uvicorn import Config, Server

from promo_api.config.settings import Settings
from promo_api.server.acceptor import FairAcceptor
from promo_api.server.connection_limits import AddressLimit, ConnectionLimit
from promo_api.server.file_limits import max_connections
from promo_api.server.memory import MemoryRelease
from promo_api.server.pipelining import RequestScheduler
from promo_api.server.slow_clients import TimeLimitProtocol, UnreadLimit
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

_IDLE_S = 2
_TICKS_PER_SECOND = 10  # of uvicorn
# The largest response has some megabytes.
_MAX_UNREAD_BYTES = 64 * 1024 * 1024


class HttpProtocol(TimeLimitProtocol):
    """A connection that ends without losing a request. `address_limit` None: no limit."""

    _is_stopping = False

    def __init__(self, *arguments: Any, address_limit: AddressLimit | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._address_limit = address_limit

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection for its address."""
        super().connection_made(transport)
        if self._address_limit is not None:
            self._address_limit.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        if self._address_limit is not None:
            self._address_limit.remove(self)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Make the response the last during a stop."""
        before = self.cycle
        super().on_headers_complete()
        if self._is_stopping and self.cycle is not before:  # a head with Upgrade is parsed twice
            self.cycle.keep_alive = False

    def feed(self, piece: bytes) -> None:
        """Limit the idle time during a stop."""
        super().feed(piece)
        if self._is_stopping:
            self._limit_idle_time()

    def shutdown(self) -> None:
        """Close after the next response or 2 idle seconds: a request may be on its way."""
        self._is_stopping = True
        self.timeout_keep_alive = _IDLE_S  # if headers are sent already
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self._limit_idle_time()

    def timeout_keep_alive_handler(self) -> None:
        """Close, unless there is input: a delayed event loop runs timers before it reads."""
        if self.transport.is_closing() or self.has_unparsed_input:
            return
        if not _is_readable(self.transport.get_extra_info("socket").fileno()):
            self._count_closed("no_request" if self.cycle is None else "idle")
            self.transport.close()

    def _limit_idle_time(self) -> None:
        is_responding = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if is_responding or self.pipeline or self.has_unparsed_input or self.transport.is_closing():
            return
        if self._is_half_open or self.is_uploading:
            return
        self.cancel_keep_alive_timer()
        self.timeout_keep_alive_task = self.loop.call_later(_IDLE_S, self.timeout_keep_alive_handler)


class GracefulServer(Server):
    """A uvicorn server that stops gracefully and checks its connections."""

    def __init__(self, config: Config, *, settings: Settings, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._drain_s = settings.server_drain_s
        self._drain_ends_s: float | None = None
        self._stop_timeout_s = settings.server_stop_timeout_s
        self._client_timeout_s = settings.server_client_timeout_s
        self._connections = cast("set[HttpProtocol]", self.server_state.connections)
        self._connection_limit = ConnectionLimit(self._connections, max_connections(settings))
        # Behind a proxy, all clients have its address.
        is_limited = settings.server_connections_per_address and not settings.client_address_header
        self._address_limit = AddressLimit(settings.server_connections_per_address) if is_limited else None
        self._unread_limit = UnreadLimit(_MAX_UNREAD_BYTES)
        self._scheduler = RequestScheduler()
        self._memory_release = MemoryRelease()
        self._accepted = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup([])
        self.servers = [
            FairAcceptor(listener, self._make_protocol, self._connection_limit)  # type: ignore[misc]
            for listener in sockets or ()
        ]

    async def on_tick(self, counter: int) -> bool:
        """Check connections, ten times a second."""
        connections = list(self._connections)
        _run_check(self._unread_limit.enforce, connections)
        if counter % _TICKS_PER_SECOND == 0:
            now_s = perf_counter()
            for connection in connections:
                _run_check(connection.cut_if_slow, now_s, self._client_timeout_s)
            _run_check(self._memory_release.run_if_due, self._accepted - len(connections), now_s)
        return await super().on_tick(counter) and self._has_drained()

    def _has_drained(self) -> bool:
        """Start to drain on the first call."""
        now_s = perf_counter()
        if self._drain_ends_s is None:
            self._drain_ends_s = now_s + self._drain_s
            _log.info("drain_started", extra={"drain_s": self._drain_s})
            self._on_drain()
        return self.force_exit or now_s >= self._drain_ends_s

    def _make_protocol(self) -> asyncio.Protocol:
        self._accepted += 1
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            count_closed=metrics.connection_closed,
            address_limit=self._address_limit,
            scheduler=self._scheduler,
        )

    async def _wait_tasks_to_complete(self) -> None:
        # uvicorn calls shutdown() before the last connections are ready.
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await super()._wait_tasks_to_complete()
        except TimeoutError:
            state = self.server_state
            _log.error("stop_timed_out", extra={"requests": len(state.tasks), "connections": len(state.connections)})
            self.force_exit = True  # do not wait for handlers


def _run_check(check: Callable[..., None], *arguments: object) -> None:
    """Log an exception, which would otherwise end the worker."""
    try:
        check(*arguments)
    except Exception:  # noqa: BLE001 no error may end the worker
        _log.error("connection_check_failed", exc_info=True)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
