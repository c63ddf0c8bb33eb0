"""What `serve` logs without a usable PostgreSQL: the cause and the recovery, once in each process."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.environment import Environment
from tests.e2e.server import Server

_TIMEOUT_S = 40
_RECOVERED = "It is available again."


def _direct(env: Environment, **changes: str) -> dict[str, str]:
    """Return the settings of a service that connects to PostgreSQL itself, not through PgBouncer."""
    target = {"POSTGRES_HOST": env.postgres.host, "POSTGRES_PORT": str(env.postgres.port)}
    return env.variables | target | {"POSTGRES_TRANSACTION_POOLING": "false"} | changes


def _changes(server: Server, since: int = 0) -> dict[int, list[str]]:
    """Return what each process has logged about PostgreSQL."""
    changes: dict[int, list[str]] = {}
    for line in server.lines(since):
        if line["event"] == "health_changed" and line["dependency"] == "postgres":
            changes.setdefault(line["process"], []).append(line["reason"])
    return changes


def _others(server: Server, since: int = 0) -> list[dict[str, Any]]:
    """Return the other warnings and errors."""
    return [line for line in server.lines(since) if line["level"] != "info" and line["event"] != "health_changed"]


def _is_logged(server: Server, number: int, since: int = 0) -> bool:
    """Return whether each of two workers has logged a number of changes."""
    changes = _changes(server, since)
    return len(changes) == 2 and all(len(reasons) >= number for reasons in changes.values())


@pytest.fixture
def refusals() -> Iterator[tuple[int, list[None]]]:
    """A server that closes each connection: its port, and a list with an item for each connection."""
    refused: list[None] = []

    def refuse(listener: socket.socket) -> None:
        with suppress(OSError):  # it is closed
            while True:
                listener.accept()[0].close()
                refused.append(None)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=refuse, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], refused
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_cause_is_logged_once(env: Environment, tmp_path: Path, refusals: tuple[int, list[None]]) -> None:
    """However often a worker tries to connect, it logs the cause once."""
    port, refused = refusals
    server = Server(_direct(env, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(port)), tmp_path)
    server.start()
    try:
        assert wait_until(lambda: len(refused) > 40, _TIMEOUT_S)
    finally:
        assert server.end() == 0
    changes = _changes(server)
    assert [len(reasons) for reasons in changes.values()] == [1, 1]
    assert all(reason.startswith("It is unavailable: ") for [reason] in changes.values())
    assert _others(server) == []


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_outage_and_recovery(env: Environment, tmp_path: Path, action: str) -> None:
    """An outage without requests is logged once in each process, and so is its end."""
    with Server(_direct(env), tmp_path) as server:
        getattr(env.postgres, action)()
        assert wait_until(lambda: _is_logged(server, 1), _TIMEOUT_S)
        assert server.accounts.call("GET", "/health").status_code == 503
        env.start_postgres()
        assert wait_until(lambda: _is_logged(server, 2), _TIMEOUT_S)
        changes = _changes(server)
        assert len(changes) == 2
        for cause, recovery in changes.values():
            assert cause.startswith("It is unavailable: ")
            assert recovery == _RECOVERED
        assert _others(server) == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"POSTGRES_DATABASE": "absent"},
            'database "absent" does not exist. Create the database, or check POSTGRES_DAT',
        ),
        (
            {"POSTGRES_USERNAME": "nobody"},
            'role "nobody" does not exist. Check POSTGRES_USERNAME and POSTGRES_PASSWORD.',
        ),
        (
            {"POSTGRES_DATABASE": "postgres"},
            "Its schema is too old for this version. An operator must run the migrations.",
        ),
    ],
)
def test_unusable_at_the_start(env: Environment, tmp_path: Path, changes: dict[str, str], cause: str) -> None:
    """With a wrong role or database, or an old schema, the service starts and logs why it cannot work."""
    server = Server(_direct(env, **changes), tmp_path)
    server.start()
    try:
        assert wait_until(lambda: _is_logged(server, 1), _TIMEOUT_S)
        assert all(cause in reason for [reason] in _changes(server).values())
        assert server.accounts.call("GET", "/ping").status_code == 200
        assert server.accounts.call("GET", "/health").status_code == 503
    finally:
        assert server.end() == 0


def test_migrated_while_serving(env: Environment, tmp_path: Path) -> None:
    """When the missing schema is created, each process logs that PostgreSQL is usable, and requests succeed."""
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with closing(psycopg.connect(**target, dbname="postgres", autocommit=True)) as connection:
        connection.execute("CREATE DATABASE later")
        server = Server(_direct(env, POSTGRES_DATABASE="later"), tmp_path)
        server.start()
        try:
            assert wait_until(lambda: _is_logged(server, 1), _TIMEOUT_S)
            server.migrate()
            assert wait_until(lambda: _is_logged(server, 2), _TIMEOUT_S)
            assert {reasons[1] for reasons in _changes(server).values()} == {_RECOVERED}
            assert server.accounts.sign_up_company().get("/business/promo").status_code == 200
        finally:
            assert server.end() == 0
            connection.execute("DROP DATABASE later WITH (FORCE)")
