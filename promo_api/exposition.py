"""How the metrics of all processes get to Prometheus: by a folder in memory, and a port of the master's.

Each process counts in files of its own in the folder, which stay when it dies; the master adds them up when it is
asked. So it answers also when all workers are busy or dead, and what the dead have counted stays counted.

prometheus_client decides when it is imported whether it counts in files. So `expose` comes before anything imports
promo_api.metrics, and this module imports prometheus_client within its functions.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from pathlib import Path
from shutil import rmtree
from socketserver import TCPServer, ThreadingMixIn
from tempfile import gettempdir, mkdtemp
from threading import Lock
from time import sleep
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from promo_api.background import BackgroundJob
from promo_api.setting_values import Address

_log = logging.getLogger(__name__)

_DISK = "/dev/shm"  # noqa: S108 the folder below it gets a name of its own, and is its owner's alone
# Where files are in memory, None: the usual folder of temporary files.
MEMORY_DISK = _DISK if os.access(_DISK, os.W_OK) else None
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "promo-metrics-"
_PATH = "/metrics"
_PATIENCE_S = 5
_RETRY_S = 1.0


class CannotListen(Exception):
    """The address of the metrics is taken, or none of this machine's; it says so in a sentence."""


class Exposition:
    """The metrics of a master and its workers, added up and served.

    Threads of the master serve them. What they do under the lock they do not do while the master forks, so that no
    worker begins with a lock that nobody will ever release.

    Args:
        address: where to listen.
        folder: where the processes count.

    Raises:
        CannotListen: it can't listen there.
    """

    def __init__(self, address: Address, folder: Path) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import make_wsgi_app
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        self._folder = folder
        self._lock = Lock()
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(folder))
        self._metrics = make_wsgi_app(registry)
        self._drop_gauges = partial(mark_process_dead, path=str(folder))
        try:
            self._server = _Server(address)
        except OSError as error:
            raise CannotListen(
                f"METRICS_ADDRESS: the metrics can't be served at {address}: {error.strerror or error}."
            ) from error
        self._server.set_app(self._answer)

    def start(self) -> None:
        """Begin to serve; forks of this process leave that to it."""
        os.register_at_fork(
            before=self._prepare, after_in_parent=self._lock.release, after_in_child=self._server.socket.close
        )
        BackgroundJob("metrics", self._serve, _RETRY_S).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.socket.close()

    def keep_counts_of_dead(self, pid: int) -> None:
        """Add what a process has counted that has ended to what all that ended have counted, and drop its gauges.

        Without it the folder would grow with each worker that is replaced, and so would the time to read it.
        """
        try:
            with self._lock:
                self._drop_gauges(pid)
                for file in self._folder.glob(f"*_{pid}.db"):
                    _move_counts(file, self._folder / file.name.replace(str(pid), "ended"))
        except Exception:  # noqa: BLE001 whatever it is, it must not end the master
            _log.error("metrics_of_dead_lost", exc_info=True)

    def _serve(self) -> bool:
        self._server.serve_forever()
        return False

    def _prepare(self) -> None:
        self._lock.acquire()
        # Where the service runs as a user who also logs in, systemd may empty the disk as soon as they log out.
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def _answer(self, request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if request["PATH_INFO"] != _PATH:
            return _refused("404 Not Found", start_response)
        if request["REQUEST_METHOD"] != "GET":
            return _refused("405 Method Not Allowed", start_response, ("Allow", "GET"))
        with self._lock:
            return self._metrics(request, start_response)  # type: ignore[no-any-return]


class _Handler(WSGIRequestHandler):
    """A request, which has to come within some seconds."""

    timeout = _PATIENCE_S

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 the library's name for it
        """Write no line for each request, as the one for the API does not write two."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that none has to wait for one that is slow to come."""

    daemon_threads = True

    def __init__(self, address: Address) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Do what the method that this replaces does, but for asking the network for the name of this machine."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; pause after an error, for the socket stays ready and the next try would come at once."""
        try:
            return super().get_request()
        except OSError as error:
            if self.socket.fileno() != -1:
                _log.warning("metrics_accept_failed", extra={"reason": error.strerror})
            sleep(_RETRY_S)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 nor is anybody to know who it was
        """Write a line and no traceback: whoever asked has gone, or was too slow."""
        _log.warning("metrics_not_sent", extra={"reason": type(sys.exception()).__name__})


@contextmanager
def expose(address: Address | None) -> Iterator[Exposition | None]:
    """Have this process and its forks count in a folder, and listen for who wants to know, for the time of a block.

    With None they count in memory, and nobody is told.

    Raises:
        CannotListen: with a sentence.
    """
    if address is None:
        yield None
        return
    with _own_folder() as folder:
        os.environ[_VARIABLE] = str(folder)
        try:
            with closing(Exposition(address, folder)) as exposition:
                yield exposition
        finally:
            del os.environ[_VARIABLE]


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Make a folder, and delete it at the end, along with those that killed masters have left.

    Each is locked by its master, and through it by the workers, which are its forks, for as long as one of them lives.
    """
    place = Path(MEMORY_DISK or gettempdir())
    for found in place.glob(f"{_PREFIX}*"):
        # Held by others, or of another user, or somebody else has just deleted it.
        with suppress(OSError), _locked(found):
            rmtree(found, ignore_errors=True)
    made, master = Path(mkdtemp(dir=place)), os.getpid()
    with _locked(made):
        # Only now is it found by those who look for what was left.
        folder = made.rename(place / f"{_PREFIX}{made.name}")
        try:
            yield folder
        finally:
            # A worker leaves this block too when it ends.
            if os.getpid() == master:
                rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process and its forks; BlockingIOError if others hold it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _move_counts(file: Path, kept_in: Path) -> None:
    """Add the numbers of a file to those of another one, and delete it; one that can't be read is deleted too."""
    from prometheus_client.mmap_dict import MmapedDict

    try:
        with closing(MmapedDict(str(kept_in))) as kept:
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):
                kept.write_value(key, kept.read_value(key)[0] + value, 0.0)
    finally:
        file.unlink()


def _refused(status: str, start_response: StartResponse, *headers: tuple[str, str]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain"), *headers])
    return [f"{status}\n".encode()]
