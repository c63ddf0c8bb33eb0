"""The metrics server: its port, the folder in which processes count, and the metrics of workers that have ended."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import enumerate as enumerate_threads

import pytest
import requests

from promo_api.config.values import Address
from promo_api.dev.ports import free_port
from promo_api.telemetry import metrics_server as module
from promo_api.telemetry.metrics_server import CannotListenError, MetricsServer, run_metrics_server

# An address that only this process uses: on 127.0.0.1 another process could take a free port before the test does.
_HOST = f"127.0.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# A process that counts and then ends by the signal in its argument.
_COUNT = """
import os, sys
from promo_api.telemetry import metrics
metrics._BUILD.labels("1.2.3").set(1)
metrics._WORKERS.set(1)
metrics._REQUESTS_IN_PROGRESS.set(1)
metrics.request_finished("health.ping", 200, 0.002)
os.kill(os.getpid(), int(sys.argv[1])) if int(sys.argv[1]) else None
"""
# A master that forks a worker while it reads the metrics for a client. The worker counts and logs.
_FORK = """
import os, sys, threading, urllib.request
from promo_api.telemetry.logs import set_up_logging
from promo_api.telemetry.metrics_server import run_metrics_server
from promo_api.config.values import Address, LogFormat
set_up_logging(LogFormat.JSON)
address = Address.parse(sys.argv[1])
with run_metrics_server(address) as server:
    import logging
    from prometheus_client import multiprocess
    from promo_api.telemetry import metrics
    reads, forked, read = threading.Event(), threading.Event(), multiprocess.MultiProcessCollector._read_metrics
    def wait_for_fork(files):
        reads.set()
        forked.wait(20)
        return read(files)
    multiprocess.MultiProcessCollector._read_metrics = staticmethod(wait_for_fork)
    server.start()
    url = f"http://{address}/metrics"
    client = threading.Thread(target=lambda: print(urllib.request.urlopen(url, timeout=20).read().decode()))
    client.start()
    assert reads.wait(20)
    server.before_fork()
    worker = os.fork()
    if not worker:
        server.after_fork()
        metrics.request_finished("health.ping", 200, 0.002)
        logging.getLogger("promo_api.test").warning("worker_counts")
        os._exit(server.socket.fileno() != -1)
    assert os.waitpid(worker, 0)[1] == 0
    forked.set()
    client.join(20)
"""


@pytest.fixture
def address() -> Address:
    """An address on which nothing listens."""
    return Address(_HOST, free_port(_HOST))


@pytest.fixture
def server(address: Address, tmp_path: Path) -> Iterator[MetricsServer]:
    """A metrics server whose folder is that of the test."""
    with MetricsServer(address, tmp_path) as server:
        server.start()
        yield server


def _count(folder: Path, signal_number: int = 0) -> int:
    """Run a process that counts in a folder, and return its id after its end."""
    environment = {**os.environ, _VARIABLE: str(folder)}
    with subprocess.Popen([sys.executable, "-c", _COUNT, str(signal_number)], env=environment) as process:
        assert process.wait(60) == -signal_number
    return process.pid


def _samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^([^#\s].*) (\S+)$", text, re.MULTILINE)}


def _read(address: Address) -> dict[str, float]:
    # Less time than a client has that sends nothing.
    response = requests.get(f"http://{address}/metrics", timeout=module._RequestHandler.timeout - 1)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    return _samples(response.text)


_PINGS = 'promo_requests_total{operation="health.ping",status="200"}'
_FAST_PINGS = 'promo_request_duration_seconds_bucket{le="0.0025",operation="health.ping"}'


@pytest.mark.parametrize("signal_number", [0, 9])
def test_ended_workers(server: MetricsServer, address: Address, tmp_path: Path, signal_number: int) -> None:
    """The counters of a worker that has ended stay in the totals, however it ended; its gauges are removed."""
    pids = [_count(tmp_path, signal_number) for _ in range(3)]
    assert (_read(address)[_PINGS], _read(address)["promo_requests_in_progress"]) == (3, 3)
    for pid in pids[:2]:
        server.forget_worker(pid)
    values = _read(address)
    assert (values[_PINGS], values[_FAST_PINGS]) == (3, 3)
    assert (values["promo_requests_in_progress"], values["promo_workers"]) == (1, 1)
    server.forget_worker(pids[2])
    values = _read(address)
    assert (values[_PINGS], values[_FAST_PINGS]) == (3, 3)
    assert not {"promo_workers", "promo_requests_in_progress", 'promo_build_info{version="1.2.3"}'} & values.keys()


def test_file_without_content(
    server: MetricsServer, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a worker that starts has created a file without content, the files are read again."""
    assert server
    _count(tmp_path)
    empty = tmp_path / "counter_1.db"
    empty.touch()
    monkeypatch.setattr(module, "sleep", lambda _pause_s: empty.unlink())
    assert any(name.startswith("promo_requests_total") for name in _read(address))
    assert not empty.exists()


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE"])
def test_other_methods(server: MetricsServer, address: Address, method: str) -> None:
    """The metrics can only be read."""
    assert server
    assert requests.request(method, f"http://{address}/metrics", timeout=10).status_code == 405


def test_slow_client(server: MetricsServer, address: Address) -> None:
    """A client that sends nothing, or half a request, blocks no other, and its thread ends after some seconds."""
    assert server
    assert module._RequestHandler.timeout == 5
    with socket.create_connection(address), socket.create_connection(address) as other:
        other.sendall(b"GET /metr")
        assert _read(address) == {}


def _closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_error_is_one_line(server: MetricsServer, caplog: pytest.LogCaptureFixture) -> None:
    """An error while a response is sent is logged in one line, without the address of the client."""
    with suppress(BrokenPipeError):
        try:
            os.write(_closed_pipe(), b"x")
        finally:
            server.handle_error(None, ("192.0.2.1", 1))
    [record] = caplog.records
    assert (record.getMessage(), vars(record)["reason"], record.exc_info) == (
        "metrics_not_sent",
        "BrokenPipeError",
        None,
    )


def test_fork_while_metrics_are_read(address: Address) -> None:
    """A worker that is forked while the metrics are read can count and log, and does not listen."""
    command = [sys.executable, "-c", _FORK, str(address)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "worker_counts" in done.stderr
    assert _samples(done.stdout)["promo_workers"] == 0


def test_folder_is_created_again(server: MetricsServer, tmp_path: Path) -> None:
    """After the system has deleted the folder, a new worker gets a new one, and the end of a worker is no error."""
    tmp_path.rmdir()
    server.forget_worker(1)
    server.before_fork()
    assert tmp_path.is_dir()


def test_folder(address: Address) -> None:
    """While the server runs, processes count in a folder that only their user can read; then it is deleted."""
    with run_metrics_server(address) as server:
        assert server is not None
        folder = Path(os.environ[_VARIABLE])
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert _VARIABLE not in os.environ


def test_thread_ends(address: Address, tmp_path: Path) -> None:
    """The thread of the server ends with the block of the server."""
    before = set(enumerate_threads())
    with MetricsServer(address, tmp_path) as server:
        server.start()
        [thread] = set(enumerate_threads()) - before
    thread.join(10)
    assert not thread.is_alive()


def test_address_in_use(address: Address) -> None:
    """If another process listens on the address, the error is a sentence, and no folder is left."""
    with socket.create_server(address):
        message = f"^METRICS_ADDRESS: cannot listen on {address}: Address already in use.$"
        with pytest.raises(CannotListenError, match=message), run_metrics_server(address):
            pass
    assert _VARIABLE not in os.environ


def test_worker_leaves_the_folder(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends does not delete the folder of the others."""
    with monkeypatch.context() as patch, run_metrics_server(address):
        folder = Path(os.environ[_VARIABLE])
        patch.setattr(os, "getpid", lambda: 1)
    assert folder.is_dir()
    folder.rmdir()


def test_folders_of_killed_masters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A master deletes the folder that a killed master left, and no folder of a running master."""
    monkeypatch.setattr(module, "MEMORY_FOLDER", str(tmp_path))
    (tmp_path / "promo-metrics-left").mkdir()
    (tmp_path / "promo-metrics-left" / "counter_1.db").write_bytes(b"")
    (tmp_path / "another").mkdir()
    with module._unique_folder() as first:
        assert {*tmp_path.iterdir()} == {first, tmp_path / "another"}
        with module._unique_folder() as second:
            assert {*tmp_path.iterdir()} == {first, second, tmp_path / "another"}
    assert {*tmp_path.iterdir()} == {tmp_path / "another"}


def test_no_address() -> None:
    """Without an address there is no folder and no server."""
    with run_metrics_server(None) as server:
        assert server is None
        assert _VARIABLE not in os.environ
