"""PostgreSQL, Valkey and the API for the tests: embedded servers, or servers named in the environment variables.

Each pytest process uses a separate database.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
import pytest
import redis
from psycopg import sql
from starlette.testclient import TestClient

from promo_api import app
from promo_api.antifraud.checks import Antifraud
from promo_api.antifraud.client import Verdict
from promo_api.antifraud.verdict_cache import Decision, Lease, VerdictCache
from promo_api.app import create_app
from promo_api.background import BackgroundJob
from promo_api.code_jobs.runner import code_jobs
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.valkey import EmbeddedValkey
from promo_api.runtime import Runtime
from promo_api.sweeper import account_deletions_sweeper, reset_mails_sweeper
from tests import citus_databases, pgbouncer
from tests.accounts import Account, Api
from tests.antifraud_control import AntifraudControl
from tests.citus_databases import ON_CITUS, cluster_database, cluster_variables, migrate
from tests.mailbox import Mailbox
from tests.pgbouncer import THROUGH_PGBOUNCER, behind_pgbouncer
from tests.watchdog import Watchdog

# They take 150 s and 80 s.
_LONGEST = ("test_fuzz.py", "test_rolling_restart.py")
# Password hashes are cheap and responses are validated, unlike in production. The rate limits and the circuit breaker
# are off, because all tests share one address and one anti-fraud stub. Tests of these set their own values.
_FOR_TESTS = {
    "ARGON2_MEMORY_KIB": "8",
    "ARGON2_ITERATIONS": "1",
    "ANTIFRAUD_BREAKER_FAILURES": "1000000",
    "FAILED_SIGN_INS_PER_ADDRESS": "1000000/3600",
    "SIGN_UPS_PER_ADDRESS": "1000000/3600",
    "ACTIVATIONS_PER_USER": "1000000/60",
    "FORGOT_PASSWORDS_PER_ADDRESS": "1000000/3600",
    "FAILED_RESETS_PER_ADDRESS": "1000000/900",
    "MAIL_FROM": "Promo <promo@shop.example>",
    "PASSWORD_RESET_URL": "https://shop.example/{kind}/reset#{token}",
    "VALIDATE_RESPONSES": "true",
}


_watchdog = pytest.StashKey[Watchdog]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the watchdog, which ends the servers of a run that is killed."""
    config.stash[_watchdog] = Watchdog()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the watchdog."""
    config.stash[_watchdog].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first, so that all workers end together. Skip what this environment cannot run."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)
    left_out = (pgbouncer.LEFT_OUT if THROUGH_PGBOUNCER else {}) | (citus_databases.LEFT_OUT if ON_CITUS else {})
    for item in items:
        for part, reason in left_out.items():
            if part in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=reason))


class Clock:
    """A clock that a test can stop at an instant. Until then it returns the current time."""

    def __init__(self) -> None:
        self.stopped_at: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        return self.stopped_at or datetime.now(UTC)


@pytest.fixture(scope="session", autouse=True)
def _few_background_jobs() -> Iterator[None]:
    """Let the API in this process run few sweepers. Tests run the others, and count the rows that they change."""

    def few_jobs(runtime: Runtime) -> list[BackgroundJob]:
        return [
            code_jobs(runtime.database, runtime.today),
            account_deletions_sweeper(runtime.database, runtime.forget_user),
            reset_mails_sweeper(runtime.settings, runtime.database, runtime.clock),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "background_jobs", few_jobs)
        yield


@pytest.fixture(scope="session")
def antifraud() -> Iterator[EmbeddedAntifraud]:
    """The stub of the anti-fraud service. A test that changes its behaviour resets it."""
    with EmbeddedAntifraud() as stub:
        yield stub


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """The mail server, which accepts every mail."""
    mailbox = Mailbox()
    with mailbox.server():
        yield mailbox


@pytest.fixture(scope="session")
def environment(
    antifraud: EmbeddedAntifraud, mailbox: Mailbox, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """The environment variables of a service on real servers, with an empty database that is dropped at the end."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    with ExitStack() as stack:
        # Not tmp_path: another run of pytest may remove access to it for the user of PostgreSQL.
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-tests-")))
        settings = {"ANTIFRAUD_ADDRESS": str(antifraud.address), "SECRET_KEY": "the key for tests" * 3, **_FOR_TESTS}
        settings["SMTP_URL"] = mailbox.url
        settings |= _postgres(stack, folder) | _redis(stack, folder)
        name = f"promo_test_{worker}_{os.getpid()}"
        stack.enter_context(cluster_database(name) if ON_CITUS else _database(settings, name))
        yield settings | {"POSTGRES_DATABASE": name}


def _postgres(stack: ExitStack, folder: Path) -> dict[str, str]:
    if ON_CITUS:
        return cluster_variables()
    variables = {name: value for name, value in os.environ.items() if name.startswith("POSTGRES_")}
    if "POSTGRES_HOST" in variables and not THROUGH_PGBOUNCER:
        return variables
    server = stack.enter_context(EmbeddedPostgres(folder / "postgres", durable=False))
    direct = {
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USERNAME": server.username,
    }
    return direct | behind_pgbouncer(stack, server, folder / "pgbouncer")


def _redis(stack: ExitStack, folder: Path) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name.startswith("REDIS_")}
    if "REDIS_HOST" in variables:
        return variables
    server = stack.enter_context(EmbeddedValkey(folder / "valkey"))
    return {"REDIS_HOST": server.host, "REDIS_PORT": str(server.port)}


class _database:  # noqa: N801 used like a function
    """Creates a database for a block, and drops it after."""

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
    """The runtime of the service under test, on a migrated database."""
    runtime = Runtime.open(settings, clock)
    migrate(runtime.database)
    yield runtime
    runtime.close()


@pytest.fixture
def cache(settings: Settings) -> Iterator["redis.Redis"]:
    """A client of the Redis server that stores verdicts and leases."""
    with redis.Redis(settings.redis_host, settings.redis_port) as cache:
        yield cache


@pytest.fixture
def make_antifraud(settings: Settings, cache: "redis.Redis") -> Iterator[Callable[..., Antifraud]]:
    """Creates anti-fraud checks with changed settings, as other processes would have; closes all circuit breakers.

    Their timeouts are long, because tests delay the responses of the stub.
    """
    timeouts = {"antifraud_read_timeout_s": 30.0, "antifraud_lease_timeout_s": 60.0}
    with ExitStack() as stack:

        def make(**changes: Any) -> Antifraud:
            antifraud = Antifraud(replace(settings, **timeouts | changes))
            stack.callback(antifraud.close)
            return antifraud

        yield make
    cache.delete("antifraud:open-breakers")


@pytest.fixture
def cached_verdict(runtime: Runtime, make_antifraud: Callable[..., Antifraud]) -> Callable[[Account], None]:
    """Caches a verdict that allows a user, as an earlier activation would."""
    verdicts = make_antifraud()._verdicts

    def cache_verdict(user: Account) -> None:
        claims = runtime.tokens.read(user.token, "user")
        assert claims is not None
        verdict = Verdict(ok=True, valid_until=datetime.now(UTC) + timedelta(hours=1))
        verdicts.release(Lease(claims.account_id), verdict)

    return cache_verdict


@pytest.fixture(params=["no verdict", "cached verdict"])
def both_verdict_paths(
    request: pytest.FixtureRequest, cached_verdict: Callable[[Account], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the test twice: with users without a verdict, and with users whose verdict is cached."""
    sign_up = Api.sign_up_user

    def sign_up_with_verdict(api: Api, **changes: Any) -> Account:
        user = sign_up(api, **changes)
        cached_verdict(user)
        return user

    if request.param == "cached verdict":
        monkeypatch.setattr(Api, "sign_up_user", sign_up_with_verdict)


@pytest.fixture
def waiting_leases(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The tokens of the leases that attempts are waiting for."""
    tokens: set[str] = set()
    original = VerdictCache.acquire

    def acquire(self: VerdictCache, lease: Lease) -> Decision:
        decision = original(self, lease)
        if decision is Decision.WAIT:
            tokens.add(lease.token)
        return decision

    monkeypatch.setattr(VerdictCache, "acquire", acquire)
    return tokens


@pytest.fixture
def sent_to_redis(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the commands that are sent to Redis during the test."""
    commands: list[str] = []
    original = redis.Redis.execute_command

    def execute_command(self: "redis.Redis", *command: Any, **options: Any) -> Any:
        commands.append(command[0])
        return original(self, *command, **options)

    monkeypatch.setattr(redis.Redis, "execute_command", execute_command)
    return commands


@pytest.fixture
def antifraud_control(antifraud: EmbeddedAntifraud) -> Iterator[AntifraudControl]:
    """Controls the anti-fraud stub for single users; resets it and releases delayed responses after the test."""
    with httpx.Client(base_url=f"http://{antifraud.address}") as client:
        antifraud_control = AntifraudControl(client)
        yield antifraud_control
        antifraud_control.reset()


@pytest.fixture(scope="session")
def _client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def api(_client: TestClient, clock: Clock) -> Iterator[Api]:
    """The API in this process. Tests create their own accounts, so only the clock is reset."""
    yield Api(_client)
    clock.stopped_at = None
