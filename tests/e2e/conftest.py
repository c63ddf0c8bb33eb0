"""Servers for the end-to-end tests: a shared one, and one with its own dependencies, which a test may stop."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg import sql

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.valkey import EmbeddedValkey
from tests.citus_databases import ON_CITUS, cluster_database, migrate
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.server import Server
from tests.pgbouncer import behind_pgbouncer

_numbers = count(1)


@contextmanager
def _fresh_database(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    name = f"promo_e2e_{os.getpid()}_{next(_numbers)}"
    own = environment | {"POSTGRES_DATABASE": name}
    if ON_CITUS:
        with cluster_database(name):
            with closing(Database(Settings.from_environment(own))) as database:
                migrate(database)
            yield own
        return
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
        yield own
    finally:
        with psycopg.connect(**target, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


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
    assert_no_secrets(server)


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Assert that after the test the server responds, runs the same processes, and has logged no error."""
    workers = {worker.pid for worker in server.workers()}
    before = len(server.log)
    yield
    assert server.responds()
    assert {worker.pid for worker in server.workers()} == workers
    assert [line for line in server.lines(before) if line["level"] not in ("info", "warning")] == []


@pytest.fixture(scope="package")
def company_header(server: Server) -> bytes:
    """The Authorization header of a company, so that only the form of a request is invalid."""
    return f"Authorization: Bearer {server.accounts.sign_up_company().token}".encode()


@pytest.fixture(scope="package")
def user_header(server: Server) -> bytes:
    """The Authorization header of a user."""
    return f"Authorization: Bearer {server.accounts.sign_up_user().token}".encode()


@pytest.fixture(scope="package")
def comments(server: Server) -> bytes:
    """The path of an operation with a body and the token of a user."""
    return f"/api/user/promo/{server.accounts.sign_up_company().create_promo()}/comments".encode()


@pytest.fixture
def own_server(e2e_environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop, start and kill. It shares the database with the other servers."""
    with Server(e2e_environment, tmp_path) as server:
        yield server
    assert_no_secrets(server)


@pytest.fixture(scope="package")
def _package_env(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("environment")
    with ExitStack() as stack:
        # Not in pytest's folder: another run of pytest makes it inaccessible to PostgreSQL's user.
        data = Path(stack.enter_context(TemporaryDirectory(prefix="promo-environment-", ignore_cleanup_errors=True)))
        postgres = stack.enter_context(EmbeddedPostgres(data / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        antifraud = stack.enter_context(EmbeddedAntifraud())
        postgres.create_database("promo")
        own = {
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USERNAME": postgres.username,
            "POSTGRES_PASSWORD": "",
            "POSTGRES_DATABASE": "promo",
            "REDIS_HOST": valkey.host,
            "REDIS_PORT": str(valkey.port),
            "ANTIFRAUD_ADDRESS": antifraud.address,
            # It would take the mails of another server with the same database, whose SECRET_KEY it may not have.
            "SMTP_URL": "",
        }
        own |= behind_pgbouncer(stack, postgres, data / "pgbouncer")
        server = stack.enter_context(Server(environment | own, folder))
        yield Environment(postgres, valkey, antifraud, server)
    assert_no_secrets(server)


@pytest.fixture
def env(_package_env: Environment) -> Iterator[Environment]:
    """A server whose dependencies the test may stop. They run again for the next test."""
    yield _package_env
    _package_env.restore()


@pytest.fixture
def empty_database(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment variables of a service with an empty database."""
    with _fresh_database(environment) as fresh:
        yield fresh
