"""Real servers for the tests: embedded ones, or those that the environment names; a database of its own per process."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from persistence.migrations import update_schema
from promo_api.app import create_app
from promo_api.runtime import Runtime
from promo_api.sandbox.antifraud_stub import EmbeddedAntifraud
from promo_api.sandbox.postgres import EmbeddedPostgres
from promo_api.sandbox.valkey import EmbeddedValkey
from promo_api.settings import Settings
from tests.conformance import Conformance
from tests.people import Api

# The cost of a password hash is what production needs, and tests do not; with answers it is the other way round.
_FOR_TESTS = {"ARGON2_MEMORY_KIB": "8", "ARGON2_ITERATIONS": "1", "CHECK_ANSWERS": "true"}


class Clock:
    """A clock that a test may set; it stands still then. Otherwise it tells the time."""

    def __init__(self) -> None:
        self.standing_at: datetime | None = None

    def __call__(self) -> datetime:
        """Return the instant."""
        return self.standing_at or datetime.now(UTC)


@pytest.fixture(scope="session")
def antifraud() -> Iterator[EmbeddedAntifraud]:
    """The stand-in of the anti-fraud service; a test that steers it resets it."""
    with EmbeddedAntifraud() as stub:
        yield stub


@pytest.fixture(scope="session")
def environment(antifraud: EmbeddedAntifraud, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings of a service on real servers, with an empty database that goes away at the end."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    with ExitStack() as stack:
        # Not below pytest's own folder: another run of pytest would close that one for the user of the server.
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-tests-")))
        settings = {"ANTIFRAUD_ADDRESS": str(antifraud.address), "SECRET_KEY": "a key for tests " * 3, **_FOR_TESTS}
        settings |= _postgres(stack, folder) | _redis(stack, folder)
        name = f"promo_test_{worker}_{os.getpid()}"
        stack.enter_context(_database(settings, name))
        yield settings | {"POSTGRES_DATABASE": name}


def _postgres(stack: ExitStack, folder: Path) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if name.startswith("POSTGRES_")}
    if "POSTGRES_HOST" in given:
        return given
    server = stack.enter_context(EmbeddedPostgres(folder / "postgres", durable=False))
    return {
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USERNAME": server.username,
    }


def _redis(stack: ExitStack, folder: Path) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    if "REDIS_HOST" in given:
        return given
    server = stack.enter_context(EmbeddedValkey(folder / "valkey"))
    return {"REDIS_HOST": server.host, "REDIS_PORT": str(server.port)}


class _database:  # noqa: N801 used as a function is
    """A database for the time of a block."""

    def __init__(self, settings: dict[str, str], name: str) -> None:
        self._name = sql.Identifier(name)
        self._target: dict[str, Any] = {
            "host": settings["POSTGRES_HOST"],
            "port": settings.get("POSTGRES_PORT", "5432"),
            "user": settings.get("POSTGRES_USERNAME", "postgres"),
            "password": settings.get("POSTGRES_PASSWORD") or None,
            "dbname": settings.get("POSTGRES_DATABASE", "postgres"),
        }

    def __enter__(self) -> None:
        with psycopg.connect(**self._target, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(self._name))

    def __exit__(self, *_error: object) -> None:
        with psycopg.connect(**self._target, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(self._name))


@pytest.fixture(scope="session")
def settings(environment: dict[str, str]) -> Settings:
    """The settings of the service under test."""
    return Settings.from_environment(environment)


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The clock of the service under test."""
    return Clock()


@pytest.fixture(scope="session")
def runtime(settings: Settings, clock: Clock) -> Iterator[Runtime]:
    """The opened things of the service under test, on a migrated database."""
    runtime = Runtime.open(settings, clock)
    update_schema(runtime.database.engine)
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def conformance() -> Conformance:
    """The judge of all answers."""
    return Conformance()


@pytest.fixture(scope="session")
def _client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def api(_client: TestClient, conformance: Conformance, clock: Clock) -> Iterator[Api]:
    """The API in this process. Tests make their own companies and users, so nothing needs to be put away but the
    clock.
    """
    yield Api(_client, conformance)
    clock.standing_at = None
