"""The embedded Valkey."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promo_api.dev.embedded import DevError
from promo_api.dev.ports import listen
from promo_api.dev.processes import is_alive
from promo_api.dev.valkey import EmbeddedValkey


def client(server: EmbeddedValkey) -> redis.Redis:
    """Return a client that does not retry."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(host=server.host, port=server.port, decode_responses=True, retry=once)


def process_id(server: EmbeddedValkey) -> int:
    """Return the process ID of the server."""
    with client(server) as connection:
        return int(connection.info("server")["process_id"])


def test_data_and_port_survive_restart(folder: Path) -> None:
    """Data, its expiry and the port survive a stop and a start."""
    server = EmbeddedValkey(folder / "data")
    with server, client(server) as connection:
        connection.set("verdict", "yes", px=600_000)
        port = server.port
    with client(server) as connection, pytest.raises(redis.ConnectionError):
        connection.ping()
    with server, client(server) as connection:
        assert server.port == port
        assert connection.get("verdict") == "yes"
        assert 0 < connection.pttl("verdict") <= 600_000


def test_data_survives_kill(folder: Path) -> None:
    """A killed server starts again on the same port, with the data that was on disk."""
    with EmbeddedValkey(folder / "data") as server, client(server) as connection:
        port = server.port
        for number in range(100):
            connection.set(f"verdict {number}", number)
        assert connection.waitaof(1, 0, 20_000)[0] == 1
        server.kill()
        with pytest.raises(redis.ConnectionError):
            connection.ping()
        server.start()
        assert server.port == port
        assert connection.dbsize() == 100


def test_leftover_is_replaced(folder: Path, killed_owner: Callable[[str, Path], None]) -> None:
    """A server that a killed process left behind is stopped by the next start."""
    killed_owner("promo_api.dev.valkey:EmbeddedValkey", folder / "data")
    leftover = json.loads((folder / "data" / "valkey.pid").read_text())["pid"]
    with EmbeddedValkey(folder / "data") as server:
        assert process_id(server) != leftover
        assert not psutil.pid_exists(leftover) or not is_alive(psutil.Process(leftover))


def test_reused_process_id(folder: Path) -> None:
    """A process that has the process ID of a former server is not stopped."""
    (folder / "data").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder / "data" / "valkey.pid").write_text(json.dumps({"pid": other.pid, "started_at": 0}))
        with EmbeddedValkey(folder / "data"):
            assert other.poll() is None
        other.kill()


def test_terminal_cannot_stop_it(folder: Path) -> None:
    """The server has its own session, which Ctrl-C in the terminal does not reach."""
    with EmbeddedValkey(folder / "data") as server:
        assert os.getsid(process_id(server)) != os.getsid(0)


def test_repeated_start_and_stop(folder: Path) -> None:
    """Starting a running server and stopping a stopped one do nothing."""
    server = EmbeddedValkey(folder / "data")
    server.stop()
    server.start()
    first = process_id(server)
    server.start()
    assert process_id(server) == first
    server.stop()
    server.stop()


def test_port_in_use(folder: Path) -> None:
    """A port in use raises an error that names the port and the log."""
    with listen("127.0.0.1", None) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DevError, match=rf"port {port} of 127\.0\.0\.1\. Its log is .*server\.log"):
            EmbeddedValkey(folder / "data", port).start()


def test_several_servers(folder: Path) -> None:
    """Several servers each get another port."""
    servers = [EmbeddedValkey(folder / str(number)) for number in range(5)]
    try:
        for server in servers:
            server.start()
        assert len({process_id(server) for server in servers}) == len(servers)
    finally:
        for server in servers:
            server.stop()
