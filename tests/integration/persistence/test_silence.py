"""A PostgreSQL that says nothing: whoever waits for it is told so in time, and nobody after them is harmed."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, text

from persistence.engine import Database
from persistence.silence import NoAnswer, unlimited_transaction
from promo_api.errors import DependencyDown
from promo_api.sandbox.postgres import EmbeddedPostgres
from promo_api.sandbox.processes import wait_until
from tests.sigstop import frozen

Open = Callable[..., Database]
_MODES = pytest.mark.parametrize("mode", ["autocommit", "transaction"])
_STATEMENT_S, _LIMIT_S = 0.2, 1.2
_CONNECT_S = 2
# What a busy machine may add.
_SLACK_S = 3


@contextmanager
def _told_within(bound_s: float) -> Iterator[None]:
    """Assert that a block ends with DependencyDown, and in time."""
    began = monotonic()
    with pytest.raises(DependencyDown, match="does not answer"):
        yield
    assert monotonic() - began < bound_s + _SLACK_S


def _pid(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _ask(database: Database, mode: str = "autocommit") -> int:
    with getattr(database, mode)() as connection:
        return _pid(connection)


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server that a test may freeze."""
    # Not within pytest's folder, which any other run of pytest closes to the user of PostgreSQL.
    with (
        TemporaryDirectory(prefix="promo-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server,
    ):
        yield server


@pytest.fixture
def database(open_database: Open, postgres: EmbeddedPostgres) -> Database:
    """A database on that server, with one connection that has been used."""
    database = open_database(
        postgres_host=postgres.host,
        postgres_port=postgres.port,
        postgres_username=postgres.username,
        postgres_database="postgres",
        postgres_pool_size=1,
        postgres_statement_timeout_s=_STATEMENT_S,
        postgres_connect_timeout_s=_CONNECT_S,
    )
    assert _ask(database)
    return database


@_MODES
def test_answer_that_does_not_come(open_database: Open, mode: str) -> None:
    """Who waits for an answer over the limit is told so, and the next one gets another connection at once."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    pids = []

    def wait() -> None:
        with getattr(database, mode)() as connection:
            pids.append(_pid(connection))
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SELECT pg_sleep(60)"))

    with _told_within(_LIMIT_S):
        wait()
    pids.append(_ask(database, mode))
    assert len({*pids}) == 2
    with database.autocommit() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pids[0]})


@_MODES
def test_answers_that_come(open_database: Open, mode: str) -> None:
    """The limit is that of a single answer: a loan may be longer, and goes back to the pool unharmed."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    began = monotonic()
    with getattr(database, mode)() as connection:
        pid = _pid(connection)
        while monotonic() - began < _LIMIT_S:
            connection.execute(text("SELECT pg_sleep(0.1)"))
        assert _pid(connection) == pid
    assert _ask(database, mode) == pid


@_MODES
def test_frozen_before_a_statement(database: Database, postgres: EmbeddedPostgres, mode: str) -> None:
    """On a frozen server neither a statement nor a new connection is waited for without end; thawed, all is well."""
    with frozen(postgres):
        with _told_within(_LIMIT_S):
            _ask(database, mode)
        with _told_within(_CONNECT_S):
            _ask(database, mode)
    assert _ask(database, mode)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_frozen_before_the_end_of_a_transaction(database: Database, postgres: EmbeddedPostgres, end: str) -> None:
    """Neither the commit nor the rollback of a transaction is waited for without end."""

    def write() -> None:
        with database.transaction() as connection:
            _pid(connection)
            stack.enter_context(frozen(postgres))
            if end == "rollback":
                raise KeyError("any")

    with ExitStack() as stack, _told_within(_LIMIT_S):
        write()
    assert _ask(database)


def test_frozen_before_the_return(database: Database, postgres: EmbeddedPostgres) -> None:
    """Neither the return of a connection that has its answers nor the end of the pool waits for the server."""
    with ExitStack() as stack:
        with database.autocommit() as connection:
            _pid(connection)
            stack.enter_context(frozen(postgres))
            began = monotonic()
        database.close()
        assert monotonic() - began < _LIMIT_S


@pytest.fixture(params=["tcp", "unix"])
def deaf(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The settings of a server whose kernel takes connections, and that never says a word."""
    with TemporaryDirectory(prefix="promo-") as folder:
        if request.param == "tcp":
            listening = socket.create_server(("127.0.0.1", 0))
            place = {"postgres_host": "127.0.0.1", "postgres_port": listening.getsockname()[1]}
        else:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(f"{folder}/.s.PGSQL.5432")
            listening.listen()
            place = {"postgres_host": folder, "postgres_port": 5432}
        with listening:
            yield place | {"postgres_connect_timeout_s": _CONNECT_S}


def test_server_that_is_deaf(open_database: Open, deaf: dict[str, Any]) -> None:
    """A connection that is taken and left without a word is given up; meanwhile others are told at once."""
    database = open_database(**deaf)
    with _told_within(_CONNECT_S):
        _ask(database)
    with ThreadPoolExecutor(1) as threads:
        listener = threads.submit(_ask, database)
        assert wait_until(database._silence._listening.locked, 10)
        with pytest.raises(DependencyDown) as caught:
            _ask(database)
        assert "listens" in caught.value.reason
        assert not listener.done()
        with _told_within(_CONNECT_S):
            listener.result()


def test_silence_is_broken_once(open_database: Open) -> None:
    """The first one who hears PostgreSQL again ends the silence, and whoever comes after asks nothing more."""
    database = open_database()
    database._silence.begin()
    assert _ask(database)

    def ask_in_vain() -> None:
        raise NoAnswer

    assert database._silence.breaks(ask_in_vain)
    database._silence.begin()
    with pytest.raises(NoAnswer):
        database._silence.breaks(ask_in_vain)
    with pytest.raises(NoAnswer):
        database._silence.breaks(ask_in_vain)
    assert _ask(database)


def test_transaction_without_a_limit(open_database: Open) -> None:
    """A migration may wait for its answers as long as it must, and its connection does not get into the pool."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    with unlimited_transaction(database.engine) as connection:
        pid = _pid(connection)
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SELECT pg_sleep({_LIMIT_S + 0.3})"))
    assert _ask(database) != pid
