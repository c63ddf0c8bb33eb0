"""The embedded PostgreSQL."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promo_api.dev import SandboxError
from promo_api.dev.postgres import EmbeddedPostgres


def connect(server: EmbeddedPostgres, database: str = "postgres") -> psycopg.Connection[Any]:
    """Return a connection in autocommit."""
    return psycopg.connect(host=server.host, port=server.port, user=server.username, dbname=database, autocommit=True)


def ask(server: EmbeddedPostgres, statement: str) -> Any:
    """Return the one value that a statement gives."""
    with connect(server) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_data_survive_a_restart(folder: Path) -> None:
    """What was written before a stop is there after the next start, and in between nothing answers."""
    server = EmbeddedPostgres(folder / "data")
    with server, connect(server) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    with pytest.raises(psycopg.OperationalError):
        connect(server)
    with server:
        assert ask(server, "SELECT n FROM kept") == 7


def test_data_survive_a_kill(folder: Path) -> None:
    """A server that was killed starts again at once with what was committed."""
    with EmbeddedPostgres(folder / "data") as server:
        connection = connect(server)
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        server.start()
        assert ask(server, "SELECT n FROM kept") == 7


def test_leftover_is_taken_over_and_stopped(folder: Path, killed_owner: Callable[[str, Path], None]) -> None:
    """The server of an owner that was killed goes on for the next one, whose stop ends it."""
    killed_owner("promo_api.dev.postgres:EmbeddedPostgres", folder / "data")
    server = EmbeddedPostgres(folder / "data")
    since = ask(server, "SELECT pg_postmaster_start_time()")
    with server:
        assert ask(server, "SELECT pg_postmaster_start_time()") == since
    with pytest.raises(psycopg.OperationalError):
        connect(server)


def test_starting_and_stopping_twice(folder: Path) -> None:
    """A second start changes nothing, and neither does a stop of what doesn't run."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    server.stop()
    server.kill()
    server.start()
    server.start()
    assert ask(server, "SELECT 1") == 1
    server.stop()
    server.stop()


def test_databases_of_any_name(folder: Path) -> None:
    """A database is created once and dropped from under its connections, whatever its name holds."""
    name = 'odd "name"; DROP DATABASE postgres'
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        server.create_database(name)
        server.create_database(name)
        with connect(server, name) as connection:
            server.drop_database(name)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.drop_database(name)


@pytest.mark.parametrize(("durable", "careful"), [(True, "on"), (False, "off")])
def test_parameters(folder: Path, durable: bool, careful: str) -> None:
    """200 clients find a connection, text is Unicode on every machine, and only tests may be careless."""
    with EmbeddedPostgres(folder / "data", durable=durable) as server:
        assert int(ask(server, "SHOW max_connections")) >= 200
        names = ("fsync", "synchronous_commit", "full_page_writes")
        assert {ask(server, f"SHOW {name}") for name in names} == {careful}
        assert ask(server, "SELECT lower('ÄШ')") == "äш"


def test_folder_with_a_long_and_odd_name(folder: Path) -> None:
    """A folder whose name is too long for a socket, with characters of the shell, serves as well as any."""
    with EmbeddedPostgres(folder / ("it's a, long one " * 8) / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
    assert not Path(server.host).exists()


def test_number_of_the_server_went_to_another_process(folder: Path) -> None:
    """A server that ended without a trace, whose number another process has by now, is started."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    with server:
        server.kill()
        (folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'data'}\n")
        server.start()
        assert ask(server, "SELECT 1") == 1


def test_interrupted_first_start(folder: Path) -> None:
    """A first start that was cut off in the middle is made up for by the next one."""
    (folder / "data.unfinished").mkdir()
    (folder / "data.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1


def test_failed_start_is_a_sentence(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that can't start says so in one line with the place of its log, and prints nothing."""
    server = EmbeddedPostgres(folder / "data", durable=False)
    with server:
        pass
    with (folder / "data" / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_parameter = 1\n")
    with pytest.raises(SandboxError, match=r"^PostgreSQL in .*: pg_ctl failed: .*log is .*/data/server\.log\.$"):
        server.start()
    assert capfd.readouterr() == ("", "")


def test_folder_of_something_else(folder: Path) -> None:
    """A folder that holds other files is left alone, and the sentence names it."""
    (folder / "letter").write_text("Dear ...")
    with pytest.raises(SandboxError, match=f"{folder}"):
        EmbeddedPostgres(folder, durable=False).start()
    assert [path.name for path in folder.iterdir()] == ["letter"]


def test_database_without_a_server(folder: Path) -> None:
    """A database can't be created while the server is down, which is a sentence."""
    with pytest.raises(SandboxError, match="PostgreSQL in"):
        EmbeddedPostgres(folder / "data").create_database("promo")
