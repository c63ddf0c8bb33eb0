"""How gunicorn runs the service: its options, its master, its workers, the application that it forks; and how they end.

| Signal | To the master | To one worker |
|---|---|---|
| SIGTERM | all workers stop; exit status 0 | this worker stops; when it has ended, the master starts another |
| SIGTERM again | no change | no change |
| SIGINT, SIGQUIT | all workers end at once, also those that are stopping; exit status 0 | SIGQUIT: it ends at once |
| SIGHUP | new workers start, and those that were there stop | it ends at once |

SIGINT to a worker, as Ctrl-C in a terminal sends it to all processes, is as SIGTERM, and the second one as SIGQUIT.

A stop has three steps:

1. Drain: for SERVER_DRAIN_S the worker serves as before, but `GET /api/health` returns 503, so that load balancers send
   new requests elsewhere.
2. Close: the worker accepts the connections in the backlog and closes the listening socket.
3. Finish: the worker sends the responses of all open connections, each with `Connection: close` (see
   graceful_stop.py). Requests that take longer than SERVER_STOP_TIMEOUT_S are cut and logged. Then the worker ends
   the threads of the handlers and closes its connections to PostgreSQL and Redis.

An immediate end cuts all requests. Either way no request is half done: a handler writes in one transaction.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, ClassVar, cast

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from starlette.types import ASGIApp
from uvicorn import Server as Uvicorn
from uvicorn_worker import UvicornWorker

from promo_api import metrics
from promo_api.metrics_server import MEMORY_FOLDER, MetricsServer
from promo_api.server.acceptor import FairAcceptor
from promo_api.server.connection_limits import AddressLimit, ConnectionLimit
from promo_api.server.file_limits import connections_max, raise_file_limit
from promo_api.server.graceful_stop import StrictHttpProtocol
from promo_api.server.memory import MemoryRelease, share_one_arena, tune_collector
from promo_api.server.pipelining import Turns
from promo_api.server.slow_clients import UnreadGuard
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

# A worker cuts its requests itself. If it can't even do that the master, which gives it this much more, kills it.
_END_S = 5
_TICKS_OF_A_SECOND = 10  # of uvicorn
# Unread responses of one worker. The largest response, thousands of codes, has some megabytes; the kernel holds what a
# client is about to read, and a proxy reads everything.
_UNREAD_MAX_BYTES = 64 * 1024 * 1024


class Server(BaseApplication):
    """Gunicorn with an application that has been built already.

    Args:
        app: the application.
        settings: of the service; workers read them here too.
        metrics_server: serves the metrics of all processes; None: there is none.
        on_drain: called in a worker when it starts to drain.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics_server: MetricsServer | None, on_drain: Callable[[], None]
    ) -> None:
        self._app = app
        self.settings = settings
        self.on_drain = on_drain
        self._metrics_server = metrics_server
        super().__init__()

    def load_config(self) -> None:
        """Take the options from the settings alone: neither from a file nor from GUNICORN_CMD_ARGS."""
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)
        server = self._metrics_server
        if server is not None:
            self.cfg.set("pre_fork", lambda _arbiter, _worker: server.before_fork())
            self.cfg.set("post_fork", lambda _arbiter, _worker: server.after_fork())
            self.cfg.set("child_exit", lambda _arbiter, worker: server.forget_worker(worker.pid))

    def load(self) -> ASGIApp:
        """Return the application."""
        return self._app

    def run(self) -> None:
        """Serve until a signal ends it."""
        share_one_arena()
        raise_file_limit()
        if self._metrics_server is not None:
            self._metrics_server.start()
        Arbiter(self).run()


class Lines(Logger):
    """Gunicorn's log, and uvicorn's, which takes its handlers from here: lines as the service writes them."""

    def setup(self, cfg: Config) -> None:
        """Write where the root logger does; of requests nothing, which would be their paths."""
        super().setup(cfg)
        # A list of its own, since at a reload gunicorn adds a handler to it first.
        self.error_log.handlers = [*logging.getLogger().handlers]


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
            settings=self.app.settings,
            on_drain=self.app.on_drain,
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
    """A uvicorn server that stops without losing a request, and limits the time of slow clients.

    Args:
        config: of uvicorn.
        settings: of the service.
        on_drain: called when the server starts to drain.
    """

    def __init__(self, config: Any, *, settings: Settings, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._drain_s = settings.server_drain_s
        self._drained_at_s: float | None = None
        self._stop_timeout_s = settings.server_stop_timeout_s
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
        """Check connections, ten times a second; return whether to close the listening socket and finish."""
        connections = list(self._connections)
        _survive(self._unread_guard.look, connections)
        if counter % _TICKS_OF_A_SECOND == 0:
            now_s = perf_counter()
            for connection in connections:
                _survive(connection.cut_if_slow, now_s, self._client_timeout_s)
            _survive(self._memory_release.look, self._accepted - len(connections), now_s)
        return await super().on_tick(counter) and self._has_drained()

    def _has_drained(self) -> bool:
        """Start to drain if the server has not yet, and return whether the drain period is over."""
        now_s = perf_counter()
        if self._drained_at_s is None:
            self._drained_at_s = now_s + self._drain_s
            _log.info("drain_started", extra={"drain_s": self._drain_s})
            self._on_drain()
        return self.force_exit or now_s >= self._drained_at_s

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
    graceful_timeout = settings.server_drain_s + settings.server_stop_timeout_s + _END_S
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
        "worker_tmp_dir": MEMORY_FOLDER,
        "control_socket_disable": True,
    }
