"""Serves the metrics of all workers to Prometheus, even if they are busy or dead.

prometheus_client decides on import whether it counts in files: import it, and telemetry.metrics, only after
`run_metrics_server`.
"""

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from shutil import rmtree
from socketserver import ThreadingMixIn
from tempfile import gettempdir, mkdtemp
from threading import Thread
from time import sleep
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from promo_api.config.values import Address

_log = logging.getLogger(__name__)

_MEMORY_FOLDER = "/dev/shm"  # noqa: S108 folders in it have unique names, and only their owner can read them
# None: no folder in memory.
MEMORY_FOLDER = _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else None
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# How often the thread checks whether to end.
_POLL_S = 0.1
_PREFIX = "promo-metrics-"
_READS_MAX, _READ_PAUSE_S = 10, 0.01


class CannotListenError(Exception):
    """The message is for the operator."""


class _Collector:
    """Reads the files of all workers, again if a worker that starts has created one without content."""

    def __init__(self, folder: Path) -> None:
        from prometheus_client.multiprocess import MultiProcessCollector

        self._files = MultiProcessCollector(None, str(folder))

    def collect(self) -> list[Any]:
        """Return all metrics."""
        for _ in range(_READS_MAX - 1):
            with suppress(struct.error):
                return list(self._files.collect())
            sleep(_READ_PAUSE_S)
        return list(self._files.collect())


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Uses a thread per request: a slow client blocks no other."""

    daemon_threads = True

    def __init__(self, address: Address, folder: Path) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import make_wsgi_app

        self._folder = folder
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._thread = Thread(target=self.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        super().__init__(address, _RequestHandler)
        registry = CollectorRegistry()
        registry.register(_Collector(folder))
        self.set_app(make_wsgi_app(registry))

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def server_close(self) -> None:
        """End the thread, which does not exist in a worker, and close the socket."""
        if self._thread.is_alive():
            self.shutdown()
        super().server_close()

    def before_fork(self) -> None:
        """Restore the folder: systemd empties /dev/shm when the user logs out."""
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def after_fork(self) -> None:
        """Close the socket in a worker."""
        self.socket.close()

    def forget_worker(self, pid: int) -> None:
        """Delete a worker's gauges. Its counters stay, so totals never decrease."""
        from prometheus_client.multiprocess import mark_process_dead

        with suppress(OSError):  # the folder is missing
            mark_process_dead(pid, str(self._folder))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 not for the log
        """Log one line: the client disconnected or was slow."""
        _log.warning("metrics_not_sent", extra={"reason": type(sys.exception()).__name__})


class _RequestHandler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 the name in the base class
        """Log nothing."""


@contextmanager
def run_metrics_server(address: Address | None) -> Iterator[MetricsServer | None]:
    """Make this process and its forks count in a folder; None: in memory.

    Raises:
        CannotListenError: the address is in use, or not of this machine.
    """
    if address is None:
        yield None
        return
    with _unique_folder() as folder:
        os.environ[_VARIABLE] = str(folder)
        try:
            with _listen(address, folder) as server:
                yield server
        finally:
            del os.environ[_VARIABLE]


def _listen(address: Address, folder: Path) -> MetricsServer:
    try:
        return MetricsServer(address, folder)
    except OSError as error:
        reason = error.strerror or error
        raise CannotListenError(f"METRICS_ADDRESS: cannot listen on {address}: {reason}.") from error


@contextmanager
def _unique_folder() -> Iterator[Path]:
    """Delete folders of killed masters too. Workers inherit the lock, which holds until the last ends."""
    parent = Path(MEMORY_FOLDER or gettempdir())
    for leftover in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError), _lock(leftover):  # in use, of another user, or deleted
            rmtree(leftover, ignore_errors=True)
    unlocked, master = Path(mkdtemp(dir=parent)), os.getpid()
    with _lock(unlocked):
        # Once locked: other masters look for the prefix.
        folder = unlocked.rename(parent / f"{_PREFIX}{unlocked.name}")
        try:
            yield folder
        finally:
            if os.getpid() == master:  # workers leave this block too
                rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(descriptor)
