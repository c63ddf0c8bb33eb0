"""Many connections and many pipelined requests: other clients are served, and memory is limited."""

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import psutil
import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.environment import assert_no_secrets
from tests.e2e.raw import received, request
from tests.e2e.server import Server

_PING = request(b"GET", b"/api/ping")
_FLOOD = request(b"GET", b"/x") * 7000
_FLOODING = 16
_GROWTH_MAX_MB = 40
_FILES = 256
_LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, {_FILES}))
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def _started(server: Server) -> Iterator[Server]:
    with server:
        yield server
    assert_no_secrets(server)


def _connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def _is_served(connection: socket.socket) -> bool:
    connection.sendall(_PING)
    return received(connection).startswith(b"HTTP/1.1 200")


def _peaks_mb(server: Server) -> dict[int, float]:
    """Return the peak memory of each worker."""
    statuses = {worker.pid: Path(f"/proc/{worker.pid}/status").read_text() for worker in server.workers()}
    return {pid: int(text.partition("VmHWM:")[2].split()[0]) / 1000 for pid, text in statuses.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_flood_of_pipelined_requests(own_server: Server) -> None:
    """Pipelined requests with unread responses take little memory, and other clients are served."""
    before = _peaks_mb(own_server)
    for _ in range(3):
        with ExitStack() as stack:
            flooding = [stack.enter_context(_connect(own_server)) for _ in range(_FLOODING)]
            for connection in flooding:
                connection.sendall(_FLOOD)
            assert all(received(connection, with_body=False) for connection in flooding)
            assert own_server.responds()
    after = _peaks_mb(own_server)
    assert after.keys() == before.keys()
    assert max(after[pid] - before[pid] for pid in before) < _GROWTH_MAX_MB


def test_more_idle_connections_than_files(e2e_environment: dict[str, str], tmp_path: Path) -> None:
    """A worker without free file descriptors closes the longest idle connections and serves new ones."""
    server = Server(e2e_environment | {"SERVER_WORKERS": "1"}, tmp_path)
    server.around = [sys.executable, "-c", _LIMITED]
    with _started(server), ExitStack() as stack:
        [worker] = server.workers()
        assert worker.rlimit(psutil.RLIMIT_NOFILE) == (_FILES, _FILES)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * _FILES
        idle = [stack.enter_context(_connect(server)) for _ in range(_FILES + 100)]
        assert _is_served(stack.enter_context(_connect(server)))
        assert idle[0].recv(1) == b""
        assert _is_served(idle[-1])
        assert worker.num_fds() <= _FILES - 24  # for PostgreSQL
        [line] = [line for line in server.lines() if line["event"] == "accept_failed"]
        assert (line["level"], line["reason"], line["closed"]) == ("warning", "Too many open files", 16)


def test_connections_of_one_address(e2e_environment: dict[str, str], tmp_path: Path) -> None:
    """Above the limit per address the longest idle connection is closed, and the new one is served."""
    own = {"SERVER_WORKERS": "1", "SERVER_CONNECTIONS_PER_ADDRESS": "3"}
    with _started(Server(e2e_environment | own, tmp_path)) as server, ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(3)]
        assert all(map(_is_served, connections))
        # Longer than the resolution of idle times, a millisecond.
        until_s = monotonic() + 0.05
        while monotonic() < until_s:
            assert all(map(_is_served, (connections[0], connections[2])))
        assert wait_until(lambda: _is_served(stack.enter_context(_connect(server))), 10)
        assert connections[1].recv(1) == b""
        assert _is_served(connections[0])
        assert _is_served(connections[2])
