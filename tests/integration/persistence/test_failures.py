"""Errors of PostgreSQL: outages raise ServiceUnavailable, and no message contains parameters or rows."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.abc import PQGen
from sqlalchemy import Connection, event, text

from persistence.accounts.credentials import USER_ACCOUNTS
from persistence.database.engine import Database
from persistence.database.errors import StatementRefused
from persistence.database.statements import Statement
from persistence.promos.promos import insert_promo
from promo_api.config.settings import Settings
from promo_api.dev.ports import free_port
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from promo_api.errors import ConcurrentRequest, ServiceUnavailable
from tests.accounts import Api

Open = Callable[..., Database]
_MODES = pytest.mark.parametrize("mode", ["autocommit", "transaction"])
_SECRET = "secret@example.com"


def _ask(database: Database, mode: str) -> Any:
    with getattr(database, mode)() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


class Administrator:
    """Terminates connections of others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def others(self) -> list[int]:
        """Return the server processes of all other connections to this database."""
        query = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'promo-api'"
            " AND pid <> pg_backend_pid()"
        )
        with self._database.autocommit() as connection:
            return list(connection.scalars(query))

    def terminate(self, pids: list[int]) -> None:
        """Terminate connections, and wait until they are gone."""
        remaining = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids)")
        with self._database.autocommit() as connection:
            for pid in pids:
                connection.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer))"), {"pid": pid})
            assert wait_until(lambda: connection.execute(remaining, {"pids": pids}).scalar_one() == 0, 10)


@pytest.fixture
def administrator(open_database: Open) -> Administrator:
    """Terminates connections of others."""
    # Different limits mean a separate role behind a pooler, which would otherwise share connections with the others.
    return Administrator(open_database(postgres_pool_size=1, postgres_statement_timeout_s=10.0))


@_MODES
def test_connections_closed_at_once(open_database: Open, administrator: Administrator, mode: str) -> None:
    """If PostgreSQL closes each new connection, a request gets 503. The next one succeeds after that."""
    database = open_database(postgres_pool_size=1)

    def terminate(connection: "psycopg.Connection[Any]", *_: object) -> None:
        administrator.terminate([connection.info.backend_pid])

    event.listen(database.engine, "checkout", terminate, insert=True)
    with pytest.raises(ServiceUnavailable), getattr(database, mode)():
        pass
    assert database.count_connections_in_use() == 0
    event.remove(database.engine, "checkout", terminate)
    with getattr(database, mode)() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


@_MODES
def test_connections_closed_while_idle(open_database: Open, administrator: Administrator, mode: str) -> None:
    """Connections that PostgreSQL closed while they were idle are replaced, and no request fails."""
    database = open_database(postgres_pool_size=4)
    with ExitStack() as stack:
        connections: list[Connection] = [stack.enter_context(getattr(database, mode)()) for _ in range(4)]
        pids = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in connections]
    administrator.terminate(pids)
    with ExitStack() as stack:
        connections = [stack.enter_context(getattr(database, mode)()) for _ in range(4)]
        new = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in connections]
    assert not {*pids} & {*new}


@_MODES
def test_connection_closed_while_used(open_database: Open, administrator: Administrator, mode: str) -> None:
    """A request that loses its connection fails with an outage. The next request gets a new connection."""
    database = open_database(postgres_pool_size=1)

    def lose() -> None:
        with getattr(database, mode)() as connection:
            administrator.terminate([connection.execute(text("SELECT pg_backend_pid()")).scalar_one()])
            connection.execute(text("SELECT 1"))

    with pytest.raises(ServiceUnavailable, match="is unavailable"):
        lose()
    assert _ask(database, mode)


@_MODES
def test_connection_end_reported_twice(open_database: Open, mode: str) -> None:
    """It is an outage too if a pooler repeats the error, which psycopg reports as an internal error."""
    database = open_database(postgres_pool_size=1)

    def lose() -> None:
        with getattr(database, mode)() as connection:
            driver: psycopg.Connection[Any] = connection.connection.dbapi_connection

            def receive() -> PQGen[None]:
                driver.close()
                raise psycopg.InternalError("received 2 results from command 'COMMIT'")
                yield

            driver.wait(receive())

    with pytest.raises(ServiceUnavailable, match="is unavailable"):
        lose()
    assert _ask(database, mode)


@_MODES
@pytest.mark.parametrize("prepared", [True, False])
def test_connection_to_a_standby(open_database: Open, empty: Settings, mode: str, prepared: bool) -> None:
    """A write to a standby is an outage. The next request gets a new connection."""
    database = open_database(empty, postgres_pool_size=1)
    write, name = text("INSERT INTO written VALUES (1) RETURNING number"), empty.postgres_database
    with open_database(empty).autocommit() as owner:
        owner.execute(text("CREATE TABLE IF NOT EXISTS written (number integer)"))

    def try_to_write() -> None:
        with getattr(database, mode)() as connection:
            assert Statement(write).rows(connection, {}) if prepared else connection.execute(write).all()

    with open_database().autocommit() as administrator:
        administrator.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        assert _ask(database, mode)
        administrator.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    with pytest.raises(ServiceUnavailable):
        try_to_write()
    try_to_write()


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_request_after_connections_were_closed(api: Api, administrator: Administrator, method: str) -> None:
    """Requests succeed after PostgreSQL closed all idle connections, reading or writing."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    pids = administrator.others()
    assert pids
    administrator.terminate(pids)
    body = {"json": {"description": "After the storm"}} if method == "PATCH" else {}
    response = api.call(method, f"/business/promo/{promo_id}", token=company.token, **body)
    assert response.status_code == 200


@_MODES
def test_missing_tables(open_database: Open, empty: Settings, mode: str) -> None:
    """The error about a database without tables says that migrations are needed."""
    database = open_database(empty)

    def look() -> None:
        with getattr(database, mode)() as connection:
            USER_ACCOUNTS.find_credentials(connection, _SECRET)

    with pytest.raises(ServiceUnavailable, match="migrations") as caught:
        look()
    assert caught.value.retry_after_s == 30


@_MODES
@pytest.mark.parametrize(
    "changes",
    [
        {"postgres_host": "127.0.0.1", "postgres_port": 0},
        {"postgres_host": "/nowhere/at/all"},
        {"postgres_host": "no-such-host.invalid"},
        {"postgres_database": "promo_that_is_not_there"},
        {"postgres_username": "nobody_of_this_name", "postgres_password": "Wr0ng!password"},
    ],
    ids=["nothing-listens", "no-socket", "no-host", "no-database", "no-role"],
)
def test_server_refuses_connections(open_database: Open, mode: str, changes: dict[str, Any]) -> None:
    """A server that refuses connections or logins is unavailable, and the error has no password."""
    if changes.get("postgres_port") == 0:
        changes = changes | {"postgres_port": free_port("127.0.0.1")}
    with pytest.raises(ServiceUnavailable) as caught:
        _ask(open_database(**changes), mode)
    assert "Wr0ng!password" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside pytest's: another run of pytest makes those unreadable for PostgreSQL's user."""
    with TemporaryDirectory(prefix="promo-") as path:
        yield Path(path)


def test_password(open_database: Open, folder: Path) -> None:
    """The right password is accepted. A wrong one is an outage, and the error does not contain it."""
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    address = {
        "postgres_host": server.host,
        "postgres_port": server.port,
        "postgres_username": server.username,
        "postgres_database": "postgres",
    }
    with server:
        with open_database(**address).autocommit() as connection:
            connection.execute(text("ALTER ROLE postgres PASSWORD 'R1ght!password'"))
            (folder / "postgres" / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute(text("SELECT pg_reload_conf()"))
        wrong = open_database(**address, postgres_password="Wr0ng!password")
        assert wait_until(lambda: _is_refused(wrong), 10)
        with pytest.raises(ServiceUnavailable) as caught:
            _ask(wrong, "autocommit")
        assert _ask(open_database(**address, postgres_password="R1ght!password"), "autocommit")
    assert "Wr0ng!password" not in "".join(traceback.format_exception(caught.value))


def _is_refused(database: Database) -> bool:
    """Return whether the server requires a password yet: it reloads its rules asynchronously."""
    try:
        _ask(database, "autocommit")
    except ServiceUnavailable:
        return True
    database.close()
    return False


def test_invalid_statement_is_not_an_outage(open_database: Open) -> None:
    """An invalid statement is a defect of the service, and not an outage."""
    database = open_database()
    with pytest.raises(StatementRefused), database.autocommit() as connection:
        connection.execute(text("SELECT FROM WHERE"))


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement), {"secret": _SECRET})


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_sleep(60), CAST(:secret AS text)",
        "SELECT 1 FROM not_there WHERE CAST(:secret AS text) <> ''",
        "SELECT 1 WHERE CAST(:secret AS text) <> '' AND 1 / 0 > 0",
        "SELECT nowhere(CAST(:secret AS text))",
    ],
    ids=["timeout", "no-table", "broken-rule", "no-function"],
)
def test_error_without_parameters(open_database: Open, statement: str) -> None:
    """The error of a statement does not contain its parameters, because it is logged."""
    database = open_database(postgres_statement_timeout_s=0.1)
    with pytest.raises((ServiceUnavailable, StatementRefused)) as caught, database.autocommit() as connection:
        _execute(connection, statement)
    logged = "".join(traceback.format_exception(caught.value))
    assert type(caught.value).__name__ in logged
    assert _SECRET not in logged


def test_violation_without_the_row(open_database: Open, api: Api) -> None:
    """The error of a violated constraint does not contain the row with the value of its promo, because it is logged."""
    values = {
        "company_id": UUID(api.sign_up_company().id),
        "mode": "COMMON",
        "description": "A promo that ends early",
        "promo_common": "c0de-nobody-may-log",
        "active_from": date(2025, 1, 2),
        "active_until": date(2025, 1, 1),
        "country": None,
        "categories": None,
    }
    with (
        pytest.raises(StatementRefused, match="promos_period_ck") as caught,
        open_database().transaction() as connection,
    ):
        insert_promo(connection, uuid4(), values, date(2025, 6, 1), use_limit=1, codes=None)
    assert "c0de-nobody-may-log" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["kept_answers_pk", "kept_answers_pk_102172"])
def test_violation_in_a_shard(open_database: Open, name: str) -> None:
    """Citus reports a used idempotency key without the name of the constraint, but in the message with a number."""
    statement = f"""
        DO $$ BEGIN
            RAISE unique_violation USING MESSAGE = 'duplicate key value violates unique constraint "{name}"'
                {"" if "1" in name else f", CONSTRAINT = '{name}'"};
        END $$
    """
    with pytest.raises(ConcurrentRequest), open_database().autocommit() as connection:
        connection.execute(text(statement))
