"""The embedded PostgreSQL."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promo_api.dev.embedded import DevError
from promo_api.dev.postgres import EmbeddedPostgres

_STARTED_AT = "SELECT pg_postmaster_start_time()"


def connect(server: EmbeddedPostgres, database: str = "postgres") -> psycopg.Connection[Any]:
    """Return a connection in autocommit."""
    return psycopg.connect(host=server.host, port=server.port, user=server.username, dbname=database, autocommit=True)


def ask(server: EmbeddedPostgres, statement: str) -> Any:
    """Return the single value of a query."""
    with connect(server) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_data_survives_restart(folder: Path) -> None:
    """Data survives a stop and a start. A stopped server accepts no connections."""
    server = EmbeddedPostgres(folder / "data")
    with server, connect(server) as connection:
        connection.execute("CREATE TABLE stored AS SELECT 7 AS n")
    with pytest.raises(psycopg.OperationalError):
        connect(server)
    with server:
        assert ask(server, "SELECT n FROM stored") == 7


def test_data_survives_kill(folder: Path) -> None:
    """A killed server starts again at once, with all committed data."""
    with EmbeddedPostgres(folder / "data") as server:
        connection = connect(server)
        connection.execute("CREATE TABLE stored AS SELECT 7 AS n")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        server.start()
        assert ask(server, "SELECT n FROM stored") == 7


def test_leftover_is_replaced(folder: Path, killed_owner: Callable[[str, Path], None]) -> None:
    """A server that a killed process left behind is stopped by the next start."""
    killed_owner("promo_api.dev.postgres:EmbeddedPostgres", folder / "data")
    server = EmbeddedPostgres(folder / "data")
    since = ask(server, _STARTED_AT)
    with server:
        assert ask(server, _STARTED_AT) > since
    with pytest.raises(psycopg.OperationalError):
        connect(server)


def test_repeated_start_and_stop(folder: Path) -> None:
    """Starting a running server and stopping a stopped one do nothing."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    server.stop()
    server.kill()
    server.start()
    since = ask(server, _STARTED_AT)
    server.start()
    assert ask(server, _STARTED_AT) == since
    server.stop()
    server.stop()


def test_database_names_are_quoted(folder: Path) -> None:
    """Databases of any name can be created, also twice, and dropped while they have connections."""
    name = 'odd "name"; DROP DATABASE postgres'
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        server.create_database(name)
        server.create_database(name)
        with connect(server, name) as connection:
            server.drop_database(name)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.drop_database(name)


@pytest.mark.parametrize(("durable", "synchronised"), [(True, "on"), (False, "off")])
def test_parameters(folder: Path, durable: bool, synchronised: str) -> None:
    """There are 200 connections and a Unicode locale. Only durable=False turns synchronisation off."""
    with EmbeddedPostgres(folder / "data", durable=durable) as server:
        assert int(ask(server, "SHOW max_connections")) >= 200
        names = ("fsync", "synchronous_commit", "full_page_writes")
        assert {ask(server, f"SHOW {name}") for name in names} == {synchronised}
        assert ask(server, "SELECT lower('ÄШ')") == "äш"


def test_long_and_unusual_folder_name(folder: Path) -> None:
    """The folder's name may be too long for a socket and contain special characters of the shell."""
    with EmbeddedPostgres(folder / ("it's a, long one " * 8) / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
    assert not Path(server.host).exists()


def test_reused_process_id(folder: Path) -> None:
    """A crashed server starts even if another process now has its process ID."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    with server:
        server.kill()
        (folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'data'}\n")
        server.start()
        assert ask(server, "SELECT 1") == 1


def test_interrupted_first_start(folder: Path) -> None:
    """After an interrupted first start, the next start initialises the data again."""
    (folder / "data.unfinished").mkdir()
    (folder / "data.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1


def test_failed_start(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that fails to start raises an error that names its log, and prints nothing."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    with server:
        pass
    with (folder / "data" / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_parameter = 1\n")
    with pytest.raises(DevError, match=r"^PostgreSQL in .*: pg_ctl failed: .*log is .*/data/server\.log\.$"):
        server.start()
    assert capfd.readouterr() == ("", "")


def test_folder_with_other_files(folder: Path) -> None:
    """A folder that contains other files is refused and left unchanged."""
    (folder / "letter").write_text("Dear ...")
    with pytest.raises(DevError, match=f"{folder}"):
        EmbeddedPostgres(folder, durable=False).start()
    assert [path.name for path in folder.iterdir()] == ["letter"]


def test_create_database_without_server(folder: Path) -> None:
    """Creating a database while the server is stopped raises an error."""
    with pytest.raises(DevError, match="PostgreSQL in"):
        EmbeddedPostgres(folder / "data").create_database("promo")
