"""The port of the metrics, the folder that processes count in, and what becomes of the counts of the dead."""

import errno
import os
import re
import socket
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from promo_api import exposition as exposition_module
from promo_api.dev.ports import free_port
from promo_api.exposition import CannotListen, Exposition, expose
from promo_api.setting_values import Address
from tests.e2e.raw import request, send_raw

# An address of this process alone: on that of all, another one may take a free port before it is used.
_HOST = f"127.0.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# A process that counts, tells its id, and ends as it is told to.
_COUNT = """
import os, signal, sys
from promo_api import metrics
metrics._BUILD.labels("1.2.3").set(1)
metrics._WORKERS.set(1)
metrics._REQUESTS_IN_PROGRESS.set(1)
metrics.request_ended("health.ping", 200, 0.002)
os.kill(os.getpid(), int(sys.argv[1])) if int(sys.argv[1]) else None
"""


@pytest.fixture
def address() -> Address:
    """Where nobody listens."""
    return Address(_HOST, free_port(_HOST))


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], None]]:
    """What is to be done when this process forks, which it does not: nothing takes that back."""
    handlers: dict[str, Callable[[], None]] = {}
    monkeypatch.setattr(os, "register_at_fork", handlers.update)
    return handlers


@pytest.fixture
def exposition(address: Address, tmp_path: Path, forks: dict[str, Callable[[], None]]) -> Iterator[Exposition]:
    """The metrics of processes that count in a folder of the test, served."""
    assert forks == {}
    exposition = Exposition(address, tmp_path)
    exposition.start()
    yield exposition
    exposition.close()


def _count(folder: Path, signal_number: int = 0) -> int:
    """Have a process count in a folder and end, and return its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _COUNT, str(signal_number)], env={**os.environ, _VARIABLE: str(folder)}
    ) as process:
        assert process.wait(30) == -signal_number
    return process.pid


def _told(address: Address) -> dict[str, float]:
    """Return what is told by name and labels."""
    # Sooner than a client that says nothing is given up.
    answer = requests.get(f"http://{address}/metrics", timeout=exposition_module._PATIENCE_S - 1)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {name: float(value) for name, value in re.findall(r"^([^#\s].*) (\S+)$", answer.text, re.MULTILINE)}


_ANSWERED = 'promo_requests_total{operation="health.ping",status="200"}'
_QUICK = 'promo_request_duration_seconds_bucket{le="0.0025",operation="health.ping"}'


@pytest.mark.parametrize("signal_number", [0, 9])
def test_counts_of_the_dead(exposition: Exposition, address: Address, tmp_path: Path, signal_number: int) -> None:
    """What processes counted that have ended, or were killed, is told all the same; their gauges are not."""
    pids = [_count(tmp_path, signal_number) for _ in range(3)]
    assert (_told(address)[_ANSWERED], _told(address)["promo_requests_in_progress"]) == (3, 3)
    for pid in pids[:2]:
        exposition.keep_counts_of_dead(pid)
    told = _told(address)
    assert (told[_ANSWERED], told[_QUICK], told["promo_requests_in_progress"], told["promo_workers"]) == (3, 3, 1, 1)
    exposition.keep_counts_of_dead(pids[2])
    told = _told(address)
    assert (told[_ANSWERED], told[_QUICK]) == (3, 3)
    assert not {"promo_workers", "promo_requests_in_progress", 'promo_build_info{version="1.2.3"}'} & told.keys()


def test_folder_does_not_grow(exposition: Exposition, tmp_path: Path) -> None:
    """However many processes have ended, their counts are in two files."""
    for _ in range(3):
        exposition.keep_counts_of_dead(_count(tmp_path))
    assert {file.name for file in tmp_path.iterdir()} == {"counter_ended.db", "histogram_ended.db"}


def test_dead_that_left_nonsense(exposition: Exposition, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that can't be read is logged and deleted: neither the master nor who reads metrics stumbles over it."""
    (tmp_path / "counter_1.db").write_bytes(b"")
    exposition.keep_counts_of_dead(1)
    assert "metrics_of_dead_lost" in caplog.text
    assert not (tmp_path / "counter_1.db").exists()


def test_server_survives_any_error(
    address: Address, tmp_path: Path, forks: dict[str, Callable[[], None]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The port of the metrics is served again after an error, be it while a connection is accepted or anywhere else."""
    assert forks == {}
    monkeypatch.setattr(exposition_module, "_RETRY_S", 0.01)
    errors = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), ValueError()]
    accept = socketserver.TCPServer.get_request

    def get_request(server: socketserver.TCPServer) -> tuple[socket.socket, object]:
        if errors:
            raise errors.pop(0)
        return accept(server)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    exposition = Exposition(address, tmp_path)
    exposition.start()
    _told(address)
    assert [(record.getMessage(), vars(record)["reason"]) for record in caplog.records] == [
        ("metrics_accept_failed", "Too many open files"),
        ("job_failed", "ValueError"),
    ]
    exposition.close()


@pytest.mark.parametrize("path", ["/", "/metrics/", "/Metrics", "/metrics/..", "/favicon.ico"])
def test_other_paths(exposition: Exposition, address: Address, path: str) -> None:
    """Nothing is at any other path."""
    assert exposition
    assert send_raw(f"http://{address}", request(b"GET", path.encode())).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PURGE"])
def test_other_methods(exposition: Exposition, address: Address, method: str) -> None:
    """The metrics can only be read."""
    assert exposition
    answer = requests.request(method, f"http://{address}/metrics", timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


def test_silent_client(exposition: Exposition, address: Address) -> None:
    """Who connects and says nothing keeps nobody waiting, and is not waited for without end."""
    assert exposition
    assert exposition_module._Handler.timeout == exposition_module._PATIENCE_S
    with socket.create_connection(address), socket.create_connection(address) as other:
        other.sendall(b"GET /metr")
        assert _told(address) == {}


def test_forks(exposition: Exposition, address: Address, forks: dict[str, Callable[[], None]], tmp_path: Path) -> None:
    """Nobody reads while the master forks; a worker has a folder to count in, even if it had gone, and no port."""
    tmp_path.rmdir()
    forks["before"]()
    assert exposition._lock.locked()
    assert tmp_path.is_dir()
    forks["after_in_parent"]()
    assert _told(address) == {}
    forks["after_in_child"]()
    with pytest.raises(OSError, match="Bad file descriptor"):
        exposition._server.socket.getsockname()


def test_expose(address: Address) -> None:
    """For its time processes count in a folder of their own, which nobody else can read; then it is gone."""
    with expose(address) as exposition:
        assert exposition is not None
        folder = Path(os.environ[_VARIABLE])
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert _VARIABLE not in os.environ


def test_address_that_is_taken(address: Address) -> None:
    """Where another one listens that is told in a sentence, and no folder is left."""
    with socket.create_server(address):
        said = f"^METRICS_ADDRESS: the metrics can't be served at {address}: Address already in use.$"
        with pytest.raises(CannotListen, match=said), expose(address):
            pass
    assert _VARIABLE not in os.environ


def test_worker_leaves_the_folder(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker, which comes out of the same block when it ends, leaves the folder to the others."""
    with monkeypatch.context() as patch, expose(address):
        folder = Path(os.environ[_VARIABLE])
        patch.setattr(os, "getpid", lambda: 1)
    assert folder.is_dir()
    folder.rmdir()


def test_folders_of_killed_masters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a killed master has left is deleted by the next one; the folder of one that lives is not."""
    monkeypatch.setattr(exposition_module, "MEMORY_DISK", str(tmp_path))
    (tmp_path / "promo-metrics-left").mkdir()
    (tmp_path / "promo-metrics-left" / "counter_1.db").write_bytes(b"")
    (tmp_path / "another").mkdir()
    with exposition_module._own_folder() as first:
        assert {*tmp_path.iterdir()} == {first, tmp_path / "another"}
        with exposition_module._own_folder() as second:
            assert {*tmp_path.iterdir()} == {first, second, tmp_path / "another"}
    assert {*tmp_path.iterdir()} == {tmp_path / "another"}


def test_expose_nowhere() -> None:
    """Without an address nobody counts in a folder, nor listens."""
    with expose(None) as exposition:
        assert exposition is None
        assert _VARIABLE not in os.environ
