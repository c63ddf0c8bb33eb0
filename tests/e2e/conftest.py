"""Servers for the end-to-end tests: a shared one, and one with its own dependencies, which a test may stop."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
import requests
from psycopg import sql

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from promo_api.dev.valkey import EmbeddedValkey
from promo_api.errors import ServiceUnavailable
from tests.e2e.server import Server
from tests.pgbouncer import behind_pgbouncer

_numbers = count(1)


@contextmanager
def _fresh_database(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    name = f"promo_e2e_{os.getpid()}_{next(_numbers)}"
    target = {
        "host": environment["POSTGRES_HOST"],
        "port": environment.get("POSTGRES_PORT", "5432"),
        "user": environment.get("POSTGRES_USERNAME", "postgres"),
        "password": environment.get("POSTGRES_PASSWORD") or None,
        "dbname": environment["POSTGRES_DATABASE"],
    }
    with psycopg.connect(**target, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield environment | {"POSTGRES_DATABASE": name}
    finally:
        with psycopg.connect(**target, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def assert_discreet(server: Server) -> None:
    """Assert that the log of a server contains no secret that the server received, sent or was configured with."""
    log = server.log
    assert log, "the log is empty"
    configured = {server.environment.get(name) for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")}
    leaked = {secret for secret in server.remote.secrets | configured if secret and secret in log}
    assert not leaked, f"the log contains {sorted(leaked)}"


@pytest.fixture(scope="package")
def e2e_environment(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment variables of a service on the servers of the tests, with a separate database."""
    with _fresh_database(environment) as own:
        yield own


@pytest.fixture(scope="package")
def server(e2e_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share and none stops. Its log is checked for secrets at the end."""
    with Server(e2e_environment, tmp_path_factory.mktemp("server")) as server:
        yield server
    assert_discreet(server)


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Assert that after the test the server responds, runs the same processes, and has logged no error."""
    workers = {worker.pid for worker in server.workers()}
    before = len(server.log)
    yield
    assert server.answers()
    assert {worker.pid for worker in server.workers()} == workers
    assert [line for line in server.lines(before) if line["level"] not in ("info", "warning")] == []


@pytest.fixture(scope="package")
def company_header(server: Server) -> bytes:
    """The Authorization header of a company, so that a request is refused for its form only."""
    return f"Authorization: Bearer {server.people.sign_up_company().token}".encode()


@pytest.fixture(scope="package")
def user_header(server: Server) -> bytes:
    """The Authorization header of a user."""
    return f"Authorization: Bearer {server.people.sign_up_user().token}".encode()


@pytest.fixture(scope="package")
def comments(server: Server) -> bytes:
    """The path of an operation with a body and the token of a user."""
    return f"/api/user/promo/{server.people.sign_up_company().create_promo()}/comments".encode()


@pytest.fixture
def own_server(e2e_environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop, start and kill. It shares the database with the other servers."""
    with Server(e2e_environment, tmp_path) as server:
        yield server
    assert_discreet(server)


@dataclass
class House:
    """A server with its own PostgreSQL, Valkey and anti-fraud stub."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    antifraud: EmbeddedAntifraud
    server: Server

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the server."""
        return self.server.environment

    def steer(self, **behaviour: object) -> None:
        """Set the behaviour of the anti-fraud stub."""
        url = f"http://{self.antifraud.address}/stub/behaviour"
        assert requests.put(url, json=behaviour, timeout=10).status_code == 204

    def calls(self, email: str) -> int:
        """Return the number of calls to the anti-fraud stub for an e-mail address."""
        answer = requests.get(f"http://{self.antifraud.address}/stub/calls", timeout=10)
        return int(answer.json()["by_email"].get(email, 0))

    def connections(self) -> int:
        """Return the number of connections to the database of the server."""
        target = {"host": self.postgres.host, "port": self.postgres.port, "user": self.postgres.username}
        with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
            found = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo'"
            [(number,)] = connection.execute(found).fetchall()
        return int(number)

    def forget(self) -> None:
        """Reset the anti-fraud stub, and release its delayed responses."""
        assert requests.delete(f"http://{self.antifraud.address}/stub", timeout=10).status_code == 204

    def start_postgres(self) -> None:
        """Start PostgreSQL, and wait until the server can connect: PgBouncer notices the start after a delay."""
        self.postgres.start()
        settings = Settings.from_environment(self.environment)

        def is_reached() -> bool:
            with (
                suppress(ServiceUnavailable),
                closing(Database(settings)) as database,
                database.autocommit() as connection,
            ):
                return connection.exec_driver_sql("SELECT 1").scalar_one() == 1
            return False

        assert wait_until(is_reached, 20)

    def mend(self) -> None:
        """Start the stopped servers, and reset the anti-fraud stub."""
        self.start_postgres()
        self.valkey.start()
        self.antifraud.start()
        self.forget()
        assert wait_until(self.server.answers, 20)


@pytest.fixture(scope="package")
def _whole_house(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with ExitStack() as stack:
        # Another run of pytest would close pytest's own folder to the user of PostgreSQL.
        data = Path(stack.enter_context(TemporaryDirectory(prefix="promo-house-", ignore_cleanup_errors=True)))
        postgres = stack.enter_context(EmbeddedPostgres(data / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        antifraud = stack.enter_context(EmbeddedAntifraud())
        postgres.create_database("promo")
        inside = {
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USERNAME": postgres.username,
            "POSTGRES_PASSWORD": "",
            "POSTGRES_DATABASE": "promo",
            "REDIS_HOST": valkey.host,
            "REDIS_PORT": str(valkey.port),
            "ANTIFRAUD_ADDRESS": antifraud.address,
        }
        inside |= behind_pgbouncer(stack, postgres, data / "pgbouncer")
        server = stack.enter_context(Server(environment | inside, folder))
        yield House(postgres, valkey, antifraud, server)
    assert_discreet(server)


@pytest.fixture
def house(_whole_house: House) -> Iterator[House]:
    """A server whose dependencies the test may stop. They run again for the next test."""
    yield _whole_house
    _whole_house.mend()


@pytest.fixture
def empty_database(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment variables of a service with an empty database."""
    with _fresh_database(environment) as fresh:
        yield fresh
