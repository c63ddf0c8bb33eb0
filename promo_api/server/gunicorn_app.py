"""How gunicorn runs the service.

| Signal | To the master | To one worker |
|---|---|---|
| SIGTERM | all workers stop; exit status 0 | it stops, and the master starts another |
| SIGTERM again | no change | no change |
| SIGINT, SIGQUIT | all workers end at once, even during a stop; exit status 0 | SIGQUIT: it ends at once |
| SIGHUP | new workers start, then the old workers stop | it ends at once |

A worker treats SIGINT (Ctrl-C reaches all processes) as SIGTERM, and a second as SIGQUIT. A request that is cut leaves
nothing half done: a handler writes in one transaction.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from starlette.types import ASGIApp
from uvicorn_worker import UvicornWorker

from promo_api.config.settings import Settings
from promo_api.config.values import LogFormat
from promo_api.server.file_limits import raise_file_limit
from promo_api.server.graceful_stop import GracefulServer, HttpProtocol
from promo_api.server.memory import share_one_arena, tune_collector
from promo_api.telemetry.metrics_server import MEMORY_FOLDER, MetricsServer

_log = logging.getLogger(__name__)

# If a worker fails to cut its requests, the master kills it.
_KILL_AFTER_S = 5
_KEEP_ALIVE_S = 75
_WORKER_TIMEOUT_MIN_S = 30


class GunicornApp(BaseApplication):
    """Builds the application before the fork."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics_server: MetricsServer | None, on_drain: Callable[[], None]
    ) -> None:
        self._app = app
        self.settings = settings
        self.on_drain = on_drain
        self._metrics_server = metrics_server
        super().__init__()

    def load_config(self) -> None:
        """Ignore gunicorn's file and GUNICORN_CMD_ARGS."""
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)
        metrics_server = self._metrics_server
        if metrics_server is not None:
            self.cfg.set("pre_fork", lambda _arbiter, _worker: metrics_server.before_fork())
            self.cfg.set("post_fork", lambda _arbiter, _worker: metrics_server.after_fork())
            self.cfg.set("child_exit", lambda _arbiter, worker: metrics_server.forget_worker(worker.pid))

    def load(self) -> ASGIApp:
        """Return the ASGI application."""
        return self._app

    def run(self) -> None:
        """Serve until a signal."""
        share_one_arena()
        raise_file_limit()
        if self._metrics_server is not None:
            self._metrics_server.start()
        Arbiter(self).run()


class JsonLogger(Logger):
    """Logs through the handlers of the service."""

    def setup(self, cfg: Config) -> None:
        """Write no access log: it would contain paths."""
        super().setup(cfg)
        # A copy: on a reload gunicorn appends a handler first.
        self.error_log.handlers = [*logging.getLogger().handlers]


class Worker(UvicornWorker):
    """A worker process: uvicorn on uvloop."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": "none",
        "lifespan": "on",
        "server_header": False,
        # CLIENT_ADDRESS_HEADER replaces this.
        "proxy_headers": False,
    }

    def init_process(self) -> None:
        """Serve until a signal."""
        tune_collector()
        super().init_process()

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, _end_at_once)
        server = GracefulServer(self.config, settings=self.app.settings, on_drain=self.app.on_drain)
        # The event loop rejects gunicorn's wrappers.
        await server.serve([listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def _end_at_once() -> None:
    """End by SIGTERM's default action: no thread or task can delay that."""
    _log.warning("stopped_immediately")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the options that differ from gunicorn's defaults."""
    graceful_timeout = settings.server_drain_s + settings.server_stop_timeout_s + _KILL_AFTER_S
    return {
        "bind": str(settings.server_address),
        "workers": settings.server_workers,
        "worker_class": Worker,
        "preload_app": True,
        "logger_class": JsonLogger,
        # Start and stop of the processes are no news to a developer.
        "loglevel": "error" if settings.log_format is LogFormat.DEV else "info",
        # Longer than that of load balancers.
        "keepalive": _KEEP_ALIVE_S,
        "graceful_timeout": graceful_timeout,
        # A worker that stops sends no heartbeat.
        "timeout": max(_WORKER_TIMEOUT_MIN_S, 2 * graceful_timeout),
        # A slow or full disk must not stop heartbeats.
        "worker_tmp_dir": MEMORY_FOLDER,
        "control_socket_disable": True,
    }
