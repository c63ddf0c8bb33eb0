"""An unresponsive PostgreSQL: each wait for it ends in time, and later requests are unaffected."""

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

from persistence.database.engine import Database
from persistence.database.timeouts import ResponseTimeout, unlimited_transaction
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from tests.sigstop import frozen

Open = Callable[..., Database]
_MODES = pytest.mark.parametrize("mode", ["autocommit", "transaction"])
_STATEMENT_S, _RESPONSE_S = 0.2, 1.2
_CONNECT_S = 2
# A busy machine may add this much.
_SLACK_S = 3


@contextmanager
def _fails_within(bound_s: float) -> Iterator[None]:
    """Assert that a block raises ServiceUnavailable in time."""
    began = monotonic()
    with pytest.raises(ServiceUnavailable, match="is unavailable"):
        yield
    assert monotonic() - began < bound_s + _SLACK_S


def _pid(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _ask(database: Database, mode: str = "autocommit") -> int:
    with getattr(database, mode)() as connection:
        return _pid(connection)


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server that tests may freeze."""
    # Not pytest's folder: another run of pytest makes it unreadable for PostgreSQL's user.
    with (
        TemporaryDirectory(prefix="promo-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server,
    ):
        yield server


@pytest.fixture
def database(open_database: Open, postgres: EmbeddedPostgres) -> Database:
    """A pool of one used connection to that server."""
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
def test_response_timeout(open_database: Open, mode: str) -> None:
    """A statement without a response fails after the timeout. The next request gets a new connection at once."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    pids = []

    def wait() -> None:
        with getattr(database, mode)() as connection:
            pids.append(_pid(connection))
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SELECT pg_sleep(60)"))

    with _fails_within(_RESPONSE_S):
        wait()
    pids.append(_ask(database, mode))
    assert len({*pids}) == 2
    with database.autocommit() as connection:
        connection.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer))"), {"pid": pids[0]})


@_MODES
def test_responses_in_time(open_database: Open, mode: str) -> None:
    """The timeout limits each response. A connection may be borrowed for longer and returns to the pool."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    began = monotonic()
    with getattr(database, mode)() as connection:
        pid = _pid(connection)
        while monotonic() - began < _RESPONSE_S:
            connection.execute(text("SELECT pg_sleep(0.1)"))
        assert _pid(connection) == pid
    assert _ask(database, mode) == pid


@_MODES
def test_frozen_before_a_statement(database: Database, postgres: EmbeddedPostgres, mode: str) -> None:
    """A frozen server blocks neither a statement nor a new connection for long. Once it continues, requests succeed."""
    with frozen(postgres):
        with _fails_within(_RESPONSE_S):
            _ask(database, mode)
        with _fails_within(_CONNECT_S):
            _ask(database, mode)
    assert _ask(database, mode)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_frozen_before_the_end_of_a_transaction(database: Database, postgres: EmbeddedPostgres, end: str) -> None:
    """A frozen server blocks neither a commit nor a rollback for long."""

    def write() -> None:
        with database.transaction() as connection:
            _pid(connection)
            stack.enter_context(frozen(postgres))
            if end == "rollback":
                raise KeyError("any")

    with ExitStack() as stack, _fails_within(_RESPONSE_S):
        write()
    assert _ask(database)


def test_frozen_before_the_return(database: Database, postgres: EmbeddedPostgres) -> None:
    """A frozen server blocks neither the return of a connection nor the close of the pool."""
    with ExitStack() as stack:
        with database.autocommit() as connection:
            _pid(connection)
            stack.enter_context(frozen(postgres))
            began = monotonic()
        database.close()
        assert monotonic() - began < _RESPONSE_S


@pytest.fixture(params=["tcp", "unix"])
def mute(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The settings of a server that accepts connections and never sends anything."""
    with TemporaryDirectory(prefix="promo-") as folder:
        if request.param == "tcp":
            listening = socket.create_server(("127.0.0.1", 0))
            address = {"postgres_host": "127.0.0.1", "postgres_port": listening.getsockname()[1]}
        else:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(f"{folder}/.s.PGSQL.5432")
            listening.listen()
            address = {"postgres_host": folder, "postgres_port": 5432}
        with listening:
            yield address | {"postgres_connect_timeout_s": _CONNECT_S}


def test_mute_server(open_database: Open, mute: dict[str, Any]) -> None:
    """A connection attempt ends after the connect timeout. While one request probes the server, others fail at once."""
    database = open_database(**mute)
    with _fails_within(_CONNECT_S):
        _ask(database)
    with ThreadPoolExecutor(1) as threads:
        probe = threads.submit(_ask, database)
        assert wait_until(database._breaker.refuses, 10)
        with pytest.raises(ServiceUnavailable) as caught:
            _ask(database)
        assert "circuit breaker" in caught.value.reason
        assert not probe.done()
        with _fails_within(_CONNECT_S):
            probe.result()


def test_recovery_takes_one_probe(open_database: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a timeout requests fail until a probe succeeds. Later requests send no probe."""
    database, probes = open_database(), list[Exception | None]()
    outcomes: list[Exception | None] = [ResponseTimeout(), ResponseTimeout(), None]
    send = database._probe

    def probe() -> bool:
        probes.append(outcome := outcomes.pop(0))
        if outcome is not None:
            raise outcome
        return send()

    monkeypatch.setattr(database, "_probe", probe)
    database._breaker.record_failure()
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            _ask(database)
    assert [_ask(database) > 0 for _ in range(3)] == [True] * 3
    assert len(probes) == 3


def test_other_errors_do_not_open_the_breaker(open_database: Open) -> None:
    """Only a timeout makes requests fail at once: a lost connection costs one request."""
    database = open_database(postgres_host="127.0.0.1", postgres_port=1)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            _ask(database)
    assert database._breaker.is_closed


def test_unlimited_transaction(open_database: Open) -> None:
    """A migration has no response timeout, and its connection does not return to the pool."""
    database = open_database(postgres_pool_size=1, postgres_statement_timeout_s=_STATEMENT_S)
    with unlimited_transaction(database.engine) as connection:
        pid = _pid(connection)
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SELECT pg_sleep({_RESPONSE_S + 0.3})"))
    assert _ask(database) != pid
