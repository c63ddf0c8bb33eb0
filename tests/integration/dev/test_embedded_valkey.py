"""The embedded Valkey."""

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

from promo_api.dev import SandboxError
from promo_api.dev.ports import listen
from promo_api.dev.processes import is_alive
from promo_api.dev.valkey import EmbeddedValkey


def client(server: EmbeddedValkey) -> redis.Redis:
    """Return a client that tries each command once."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(host=server.host, port=server.port, decode_responses=True, retry=once)


def process_id(server: EmbeddedValkey) -> int:
    """Return the number of the process that answers."""
    with client(server) as connection:
        return int(connection.info("server")["process_id"])


def test_data_survive_a_restart_on_the_same_port(folder: Path) -> None:
    """What was written before a stop is there after the next start, where it was before, until it expires."""
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


def test_data_survive_a_kill(folder: Path) -> None:
    """A server that was killed starts again on its port with all that had reached its disk, a second later at most."""
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


def test_leftover_is_ended(folder: Path, killed_owner: Callable[[str, Path], None]) -> None:
    """The server of an owner that was killed makes room for the next one, which has its data."""
    killed_owner("promo_api.dev.valkey:EmbeddedValkey", folder / "data")
    leftover = int((folder / "data" / "valkey.pid").read_text())
    with EmbeddedValkey(folder / "data") as server:
        assert process_id(server) != leftover
        assert not psutil.pid_exists(leftover) or not is_alive(psutil.Process(leftover))


def test_number_of_the_server_went_to_another_process(folder: Path) -> None:
    """A process that has got the number of a server that is gone is not ended."""
    (folder / "data").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder / "data" / "valkey.pid").write_text(str(other.pid))
        with EmbeddedValkey(folder / "data"):
            assert other.poll() is None
        other.kill()


def test_out_of_reach_of_the_terminal(folder: Path) -> None:
    """The server is in a session of its own, where Ctrl-C doesn't reach it."""
    with EmbeddedValkey(folder / "data") as server:
        assert os.getsid(process_id(server)) != os.getsid(0)


def test_starting_and_stopping_twice(folder: Path) -> None:
    """A second start changes nothing, and neither does a stop of what doesn't run."""
    server = EmbeddedValkey(folder / "data")
    server.stop()
    server.start()
    first = process_id(server)
    server.start()
    assert process_id(server) == first
    server.stop()
    server.stop()


def test_taken_port_is_a_sentence(folder: Path) -> None:
    """A port that was asked for and is taken is named, with the place of the log."""
    with listen("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=rf"port {port} of 127\.0\.0\.1\. Its log is .*server\.log"):
            EmbeddedValkey(folder / "data", port).start()


def test_many_at_once(folder: Path) -> None:
    """Each of several servers gets a port of its own."""
    servers = [EmbeddedValkey(folder / str(number)) for number in range(5)]
    try:
        for server in servers:
            server.start()
        assert len({process_id(server) for server in servers}) == len(servers)
    finally:
        for server in servers:
            server.stop()
