"""How gunicorn runs the service: its options, its master, its workers, the application that it forks; and how they end.

| Signal | To the master | To one worker |
|---|---|---|
| SIGTERM | all workers stop; exit status 0 | this worker stops; when it has ended, the master starts another |
| SIGTERM again | no change | no change |
| SIGINT, SIGQUIT | all workers end at once, also those that are stopping; exit status 0 | SIGQUIT: it ends at once |
| SIGHUP | new workers start, and those that were there stop | it ends at once |

SIGINT to a worker, as Ctrl-C in a terminal sends it to all processes, is as SIGTERM, and the second one as SIGQUIT.

To stop is: connections that are being made are taken in, then new ones are refused. Each request is answered, and so is
each one that comes over a connection that is there; the answer is the last one on its connection, and says so (see
contract/protocol.py). When all connections have ended the handlers' threads end, then the connections to PostgreSQL and
Redis are closed, and the process ends. Requests that take longer than SERVER_STOP_TIMEOUT_S are cut, which is logged.
To end at once is to cut all requests. Nothing is half done in either case: a handler's writes are one transaction.
"""

import asyncio
import ctypes
import logging
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, ClassVar, cast

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.sock import BaseSocket
from starlette.types import ASGIApp
from uvicorn import Server as Uvicorn
from uvicorn_worker import UvicornWorker

from promo_api import metrics
from promo_api.acceptor import FairAcceptor
from promo_api.contract.connections import AddressLimit, ConnectionLimit
from promo_api.contract.pipelining import Turns
from promo_api.contract.protocol import StrictHttpProtocol
from promo_api.contract.slow_clients import UnreadGuard
from promo_api.exposition import MEMORY_DISK, Exposition
from promo_api.files import connections_max, raise_file_limit
from promo_api.memory import MemoryRelease, share_one_arena, tune_collector
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

# A client that has been told that it is connected says so within this: many times the way from a load balancer.
_HANDSHAKE_S = 0.1
_ACCEPT_S = 2
# A worker cuts its requests itself. If it can't even do that the master, which gives it this much more, kills it.
_END_S = 5
_TICKS_OF_A_SECOND = 10  # of uvicorn
# Unread responses of one worker. The largest response, thousands of codes, has some megabytes; the kernel holds what a
# client is about to read, and a proxy reads everything.
_UNREAD_MAX_BYTES = 64 * 1024 * 1024

_SO_ATTACH_FILTER = 26
# Of a TCP segment, load the byte of the flags; drop what asks for a new connection (SYN), and take everything else.
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class Server(BaseApplication):
    """Gunicorn with an application that has been built already.

    Args:
        app: the application.
        settings: of the service; workers read them here too.
        exposition: serves the metrics of all processes; None: nobody does.
    """

    def __init__(self, app: ASGIApp, settings: Settings, exposition: Exposition | None) -> None:
        self._app = app
        self.settings = settings
        self._exposition = exposition
        super().__init__()

    def load_config(self) -> None:
        """Take the options from the settings alone: neither from a file nor from GUNICORN_CMD_ARGS."""
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)
        exposition = self._exposition
        if exposition is not None:
            self.cfg.set("child_exit", lambda _master, worker: exposition.keep_counts_of_dead(worker.pid))

    def load(self) -> ASGIApp:
        """Return the application."""
        return self._app

    def run(self) -> None:
        """Serve until a signal ends it."""
        share_one_arena()
        raise_file_limit()
        if self._exposition is not None:
            self._exposition.start()
        Master(self).run()


class Lines(Logger):
    """Gunicorn's log, and uvicorn's, which takes its handlers from here: lines as the service writes them."""

    def setup(self, cfg: Config) -> None:
        """Write where the root logger does; of requests nothing, which would be their paths."""
        super().setup(cfg)
        # A list of its own, since at a reload gunicorn adds a handler to it first.
        self.error_log.handlers = [*logging.getLogger().handlers]


class Master(Arbiter):
    """The process that starts, watches and stops the workers.

    The kernel makes connections on its own and keeps them until a worker accepts them. When the last process closes the
    listening socket it resets those that wait, and a client may have sent a request by then. So the kernel is told to
    drop requests for new connections, the workers accept all that are there, and only then close the socket.

    Who asks for a connection meanwhile, 0.3 s at most, asks again after a second and is refused. What remains is a
    client that has needed longer than `_HANDSHAKE_S` for the last step of the handshake: its connection is reset
    before any process has seen it, so that nothing was done and it may try again. Some kernels do as they are told for
    CAP_NET_ADMIN alone. There another one remains: who comes between the moment at which the last worker finds nobody
    waiting and the one at which it closes the socket, which is its next step.
    """

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT002 gunicorn's
        """Stop the workers, or end them at once."""
        # Unless others go on listening on the same socket: systemd that made it, or a master that took it over.
        if graceful and not self.systemd and self.reexec_pid == self.master_pid == 0:
            for listener in self.LISTENERS:
                drop_newcomers(listener)
        super().stop(graceful)


class Worker(UvicornWorker):
    """A process that serves: uvicorn with its fast parts; a broken start is an error and not hidden."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": StrictHttpProtocol,
        "ws": "none",
        "lifespan": "on",
        "server_header": False,
        # Nobody asks where a request came from.
        "proxy_headers": False,
    }

    def init_process(self) -> None:
        """Serve, until told to end."""
        tune_collector()
        super().init_process()

    async def _serve(self) -> None:
        """Do what the method that this replaces does, with a server and an end at once of our own."""
        self.config.app = self.wsgi
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, self._end_at_once)
        server = StoppingServer(
            self.config,
            self.sockets,
            settings=self.app.settings,
            stop_timeout_s=self.cfg.graceful_timeout - _END_S,
        )
        # The sockets themselves: the event loop takes nothing that wraps one.
        await server.serve([listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _end_at_once(self) -> None:
        """End as a process that handles no signals: what is left running has no way to delay it."""
        _log.warning("ended_at_once")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


class StoppingServer(Uvicorn):
    """Uvicorn, which stops without losing a request, and waits for no client without end.

    Args:
        config: of uvicorn.
        listeners: gunicorn's listening sockets.
        settings: of the service.
        stop_timeout_s: after how long requests that still run are cut.
    """

    def __init__(self, config: Any, listeners: list[BaseSocket], *, settings: Settings, stop_timeout_s: float) -> None:
        super().__init__(config)
        self._listeners = listeners
        self._stop_timeout_s = stop_timeout_s
        self._client_timeout_s = settings.server_client_timeout_s
        self._connections = cast("set[StrictHttpProtocol]", self.server_state.connections)
        self._connection_limit = ConnectionLimit(self._connections, connections_max(settings))
        # Behind a proxy all connections are the proxy's.
        limited = settings.server_connections_per_address and not settings.client_address_header
        self._address_limit = AddressLimit(settings.server_connections_per_address) if limited else None
        self._unread_guard = UnreadGuard(_UNREAD_MAX_BYTES)
        self._turns = Turns()
        self._memory_release = MemoryRelease()
        self._accepted = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections."""
        await super().startup([])
        self.servers = [
            FairAcceptor(listener, self._make_protocol, self._connection_limit)  # type: ignore[misc]
            for listener in sockets or ()
        ]

    async def on_tick(self, counter: int) -> bool:
        """Do uvicorn's work of each tick, ten times a second, and look for clients that do not read or are slow."""
        connections = list(self._connections)
        _survive(self._unread_guard.look, connections)
        if counter % _TICKS_OF_A_SECOND == 0:
            now_s = perf_counter()
            for connection in connections:
                _survive(connection.cut_if_slow, now_s, self._client_timeout_s)
            _survive(self._memory_release.look, self._accepted - len(connections), now_s)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits to be accepted, refuse what comes, and let the rest end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ACCEPT_S):
                await self._empty_backlog()
        await super().shutdown(sockets)

    def _make_protocol(self) -> asyncio.Protocol:
        state = self.lifespan.state
        self._accepted += 1
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=state,
            count_closed=metrics.connection_closed,
            address_limit=self._address_limit,
            turns=self._turns,
        )

    async def _empty_backlog(self) -> None:
        await asyncio.sleep(_HANDSHAKE_S)
        # In each turn the loop accepts; the kernel tells no other way that there is nothing left.
        while any(listener.get_backlog() > 0 for listener in self._listeners):  # noqa: ASYNC110 there is no event
            await asyncio.sleep(0)

    async def _wait_tasks_to_complete(self) -> None:
        # Those that were accepted last were no connections yet when the others were told.
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await super()._wait_tasks_to_complete()
        except TimeoutError:
            state = self.server_state
            _log.error("stop_timed_out", extra={"requests": len(state.tasks), "connections": len(state.connections)})
            self.force_exit = True  # else it would wait for the threads of the handlers


def _survive(check: Callable[..., None], *arguments: object) -> None:
    """Run a check of connections. An exception would end the worker and cut all its requests, so log it."""
    try:
        check(*arguments)
    except Exception:  # noqa: BLE001 no error may end the worker
        _log.error("connection_check_failed", exc_info=True)


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the options of gunicorn that differ from its defaults."""
    graceful_timeout = settings.server_stop_timeout_s + _END_S
    return {
        "bind": str(settings.server_address),
        "workers": settings.server_workers,
        "worker_class": Worker,
        # The application is built once, before the fork: the workers share its memory.
        "preload_app": True,
        "logger_class": Lines,
        # Longer than a load balancer keeps a connection that it may use again at any moment.
        "keepalive": 75,
        "graceful_timeout": graceful_timeout,
        # Without a sign of life for so long a worker is killed. It gives one in each half of this, but none once it
        # stops, and must be able to end what it does also if it is stopped alone.
        "timeout": max(30, 2 * graceful_timeout),
        # The heartbeat of the workers, in memory: a disk that is slow or full must not end them.
        "worker_tmp_dir": MEMORY_DISK,
        "control_socket_disable": True,
    }


def drop_newcomers(listener: BaseSocket) -> None:
    """Have the kernel drop requests for new connections, if it can be told to: Linux, partly by CAP_NET_ADMIN alone."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN))
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        )
