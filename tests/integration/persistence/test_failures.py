"""Failures of PostgreSQL: each is told as DependencyDown, and none tells what a statement was given."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.abc import PQGen
from sqlalchemy import Connection, text

from persistence.accounts import USER_ACCOUNTS
from persistence.engine import Database, StatementRefused
from persistence.prepared import Prepared
from persistence.promos import insert_promo
from promo_api.errors import DependencyDown
from promo_api.sandbox.ports import free_port
from promo_api.sandbox.postgres import EmbeddedPostgres
from promo_api.sandbox.processes import wait_until
from promo_api.settings import Settings
from tests.accounts import Api

Open = Callable[..., Database]
_MODES = pytest.mark.parametrize("mode", ["autocommit", "transaction"])
_SECRET = "kept-to-itself@example.com"


def _ask(database: Database, mode: str) -> Any:
    with getattr(database, mode)() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


class Administrator:
    """One who ends connections of others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def others(self) -> list[int]:
        """Return the connections of all services to this database."""
        found = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'promo-api'"
            " AND pid <> pg_backend_pid()"
        )
        with self._database.autocommit() as connection:
            return list(connection.scalars(found))

    def terminate(self, pids: list[int]) -> None:
        """End connections, and wait until nothing is left of them."""
        there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids)")
        with self._database.autocommit() as connection:
            for pid in pids:
                connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            assert wait_until(lambda: connection.execute(there, {"pids": pids}).scalar_one() == 0, 10)


@pytest.fixture
def administrator(open_database: Open) -> Administrator:
    """One who ends connections of others."""
    # With limits of its own it has a role of its own where there is a pooler, which would lend it one of the others'.
    return Administrator(open_database(postgres_pool_size=1, postgres_statement_timeout_s=10.0))


@_MODES
def test_connections_closed_while_idle(open_database: Open, administrator: Administrator, mode: str) -> None:
    """Connections that PostgreSQL closed while they lay in the pool are replaced, and no request fails for them."""
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
    """Who loses the connection within a request is told so, and the next one gets another."""
    database = open_database(postgres_pool_size=1)

    def lose() -> None:
        with getattr(database, mode)() as connection:
            administrator.terminate([connection.execute(text("SELECT pg_backend_pid()")).scalar_one()])
            connection.execute(text("SELECT 1"))

    with pytest.raises(DependencyDown, match="does not answer"):
        lose()
    assert _ask(database, mode)


@_MODES
def test_connection_whose_end_is_told_twice(open_database: Open, mode: str) -> None:
    """So is it where a pooler tells once more what PostgreSQL has told, which psycopg takes for a defect of its own."""
    database = open_database(postgres_pool_size=1)

    def lose() -> None:
        with getattr(database, mode)() as connection:
            driver: psycopg.Connection[Any] = connection.connection.dbapi_connection

            def answers() -> PQGen[None]:
                driver.close()
                raise psycopg.InternalError("received 2 results from command 'COMMIT'")
                yield

            driver.wait(answers())

    with pytest.raises(DependencyDown, match="does not answer"):
        lose()
    assert _ask(database, mode)


@_MODES
@pytest.mark.parametrize("prepared", [True, False])
def test_connection_to_a_standby(open_database: Open, empty: Settings, mode: str, prepared: bool) -> None:
    """Who can only read is told that the database is away, and the next one gets another connection."""
    database = open_database(empty, postgres_pool_size=1)
    write, name = text("SELECT lo_create(0)"), empty.postgres_database

    def try_to_write() -> None:
        with getattr(database, mode)() as connection:
            assert Prepared(write).rows(connection, {}) if prepared else connection.execute(write).all()

    with open_database().autocommit() as administrator:
        administrator.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        assert _ask(database, mode)
        administrator.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    with pytest.raises(DependencyDown):
        try_to_write()
    try_to_write()


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_request_after_connections_were_closed(api: Api, administrator: Administrator, method: str) -> None:
    """A request on connections that PostgreSQL closed is answered as any other, reading or writing."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    pids = administrator.others()
    assert pids
    administrator.terminate(pids)
    body = {"json": {"description": "After the storm"}} if method == "PATCH" else {}
    answer = api.call(method, f"/business/promo/{promo_id}", token=company.token, **body)
    assert answer.status_code == 200


@_MODES
def test_missing_tables(open_database: Open, empty: Settings, mode: str) -> None:
    """A database without the tables is told as one that wants its migrations, not as one that is away."""
    database = open_database(empty)

    def look() -> None:
        with getattr(database, mode)() as connection:
            USER_ACCOUNTS.find_credentials(connection, _SECRET)

    with pytest.raises(DependencyDown, match="migrations") as caught:
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
def test_server_that_does_not_let_in(open_database: Open, mode: str, changes: dict[str, Any]) -> None:
    """A server that is not there, or does not let the service in, is told as one that does not answer."""
    if changes.get("postgres_port") == 0:
        changes = changes | {"postgres_port": free_port("127.0.0.1")}
    with pytest.raises(DependencyDown) as caught:
        _ask(open_database(**changes), mode)
    assert "Wr0ng!password" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is not within pytest's, which any other run of pytest closes to the user of PostgreSQL."""
    with TemporaryDirectory(prefix="promo-") as path:
        yield Path(path)


def test_password(open_database: Open, folder: Path) -> None:
    """A server that asks for a password lets in with the right one; a wrong one is an outage that does not tell it."""
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    place = {
        "postgres_host": server.host,
        "postgres_port": server.port,
        "postgres_username": server.username,
        "postgres_database": "postgres",
    }
    with server:
        with open_database(**place).autocommit() as connection:
            connection.execute(text("ALTER ROLE postgres PASSWORD 'R1ght!password'"))
            (folder / "postgres" / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute(text("SELECT pg_reload_conf()"))
        wrong = open_database(**place, postgres_password="Wr0ng!password")
        assert wait_until(lambda: _is_refused(wrong), 10)
        with pytest.raises(DependencyDown) as caught:
            _ask(wrong, "autocommit")
        assert _ask(open_database(**place, postgres_password="R1ght!password"), "autocommit")
    assert "Wr0ng!password" not in "".join(traceback.format_exception(caught.value))


def _is_refused(database: Database) -> bool:
    """Tell whether a server asks for a password by now: it reads its rules a moment after it was told to."""
    try:
        _ask(database, "autocommit")
    except DependencyDown:
        return True
    database.close()
    return False


def test_failure_of_the_code_is_no_outage(open_database: Open) -> None:
    """A statement that is wrong is an error of the service and not told as an outage."""
    database = open_database()
    with pytest.raises(StatementRefused), database.autocommit() as connection:
        connection.execute(text("SELECT FROM WHERE"))


def _written(connection: Connection, statement: str) -> None:
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
def test_error_does_not_tell_parameters(open_database: Open, statement: str) -> None:
    """What a statement was given stands nowhere in the text of its error, which goes into the log."""
    database = open_database(postgres_statement_timeout_s=0.1)
    with pytest.raises((DependencyDown, StatementRefused)) as caught, database.autocommit() as connection:
        _written(connection, statement)
    told = "".join(traceback.format_exception(caught.value))
    assert type(caught.value).__name__ in told
    assert _SECRET not in told


def test_broken_constraint_does_not_tell_the_row(open_database: Open, api: Api) -> None:
    """An error of PostgreSQL about a row does not carry the row, with the value of its promo, into the log."""
    values = {
        "company_id": api.sign_up_company().id,
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
