"""How gunicorn runs the service: its options, its worker, and the application that it forks."""

import os
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from starlette.types import ASGIApp
from uvicorn_worker import UvicornWorker

from promo_api.contract.protocol import StrictHttpProtocol
from promo_api.settings import Settings

_MEMORY_DISK = "/dev/shm"  # noqa: S108 gunicorn makes its files there with names of its own


class Worker(UvicornWorker):
    """A process that serves: uvicorn with its fast parts; a broken start is an error and not hidden."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": StrictHttpProtocol,
        "ws": "none",
        "lifespan": "on",
        "server_header": False,
    }


class Server(BaseApplication):
    """Gunicorn with an application that has been built already."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the options from the settings alone: neither from a file nor from GUNICORN_CMD_ARGS."""
        for name, value in gunicorn_options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> ASGIApp:
        """Return the application."""
        return self._app


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the options of gunicorn that differ from its defaults."""
    return {
        "bind": str(settings.server_address),
        "workers": settings.server_workers,
        "worker_class": Worker,
        # The application is built once, before the fork: the workers share its memory.
        "preload_app": True,
        # Longer than a load balancer keeps a connection that it may use again at any moment.
        "keepalive": 75,
        "graceful_timeout": 20,
        # The heartbeat of the workers, in memory: a disk that is slow or full must not end them.
        "worker_tmp_dir": _MEMORY_DISK if os.access(_MEMORY_DISK, os.W_OK) else None,
        "control_socket_disable": True,
    }
