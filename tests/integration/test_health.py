"""Health: the status for each state of the dependencies, the time limit of a report, and its cache."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from threading import Event, Semaphore
from time import monotonic
from typing import Any

import pytest
from connexion.spec import Specification
from sqlalchemy import text

from persistence.database.revisions import newest_revision
from promo_api import SPECIFICATION, health as module
from promo_api.antifraud.checks import DISABLED, Antifraud, open_antifraud
from promo_api.config.settings import Settings
from promo_api.health import DependencyHealth, Health, Report
from promo_api.runtime import Runtime
from tests.accounts import Api

_UNREACHABLE = {"postgres_host": "127.0.0.1", "postgres_port": 1}
_DOWN, _NOT_IN_TIME = "It is unavailable.", "It did not respond in time."
_REDIS_ADVICE = "Check that Redis runs, and REDIS_HOST and REDIS_PORT, or REDIS_URL."
_SLACK_S = 3


@pytest.fixture
def make_health(settings: Settings) -> Iterator[Callable[..., Health]]:
    """Creates the Health of another process, with changed settings."""
    with ExitStack() as stack:

        def make_health(**changes: Any) -> Health:
            changed = replace(settings, **changes)
            antifraud = open_antifraud(changed)
            health = Health(changed, antifraud)
            stack.callback(antifraud.close)
            stack.callback(health.close)
            return health

        yield make_health


@pytest.fixture
def revision(runtime: Runtime) -> Iterator[Callable[[str], None]]:
    """Sets the schema revision until the test ends."""

    def set_revision(revision: str) -> None:
        with runtime.database.autocommit() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})

    yield set_revision
    set_revision(newest_revision())


@pytest.fixture
def blackhole() -> Iterator[str]:
    """An address that accepts no connection and refuses none: its backlog is full."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _reasons(report: Report) -> list[str]:
    return [report.dependencies[name].reason for name in ("postgres", "redis", "antifraud")]


def test_healthy(api: Api) -> None:
    """A healthy service reports the latency of each dependency and the schema revision."""
    response = api.call("GET", "/health")
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["version"]) == ("ok", "0.2.0")
    assert body["schema"] == {"needed": newest_revision(), "found": newest_revision()}
    assert {tuple(dependency) for dependency in body["dependencies"].values()} == {("state", "latency_ms")}


def test_version(make_health: Callable[..., Health]) -> None:
    """The version is that of api.yml."""
    assert make_health().version == Specification.load(SPECIFICATION)["info"]["version"]


@pytest.mark.parametrize(
    ("changes", "status", "reasons"),
    [
        (_UNREACHABLE, "failing", [_DOWN, "", ""]),
        ({"redis_port": 1}, "degraded", ["", _DOWN, ""]),
        ({"antifraud_address": "http://127.0.0.1:1"}, "degraded", ["", "", _DOWN]),
        ({"antifraud_address": "https://localhost:1"}, "degraded", ["", "", _DOWN]),
        ({**_UNREACHABLE, "redis_port": 1}, "failing", [_DOWN, _DOWN, ""]),
    ],
)
def test_unavailable_dependencies(
    make_health: Callable[..., Health], runtime: Runtime, changes: dict[str, Any], status: str, reasons: list[str]
) -> None:
    """A dependency that refuses connections is down. Without PostgreSQL the status is failing, otherwise degraded."""
    assert runtime
    report = make_health(**changes).report()
    assert (report.status, _reasons(report)) == (status, reasons)
    assert [finding.latency_ms is None for finding in report.dependencies.values()] == [
        bool(reason) for reason in reasons
    ]


def test_breaker(settings: Settings, make_antifraud: Callable[..., Antifraud], runtime: Runtime) -> None:
    """While the circuit breaker of the process is open, the anti-fraud service is reported as down."""
    assert runtime
    antifraud = make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=60)
    antifraud._breaker.run(lambda: None)
    with closing(Health(settings, antifraud)) as health:
        report = health.report()
    assert report.status == "degraded"
    assert report.dependencies["antifraud"].reason == "It failed repeatedly, and the circuit breaker is open."


def test_no_antifraud_service(make_health: Callable[..., Health], runtime: Runtime) -> None:
    """Without an anti-fraud service the status is ok, and there is a warning."""
    assert runtime
    report = make_health(antifraud_address=None).report()
    assert (report.status, report.dependencies["antifraud"]) == ("ok", DependencyHealth(None, ""))
    assert report.warnings == [DISABLED]
    assert make_health().report().warnings == []


@pytest.mark.parametrize(("found_revision", "status"), [("0001", "failing"), ("9999", "ok")])
def test_schema(
    make_health: Callable[..., Health], revision: Callable[[str], None], found_revision: str, status: str
) -> None:
    """An older schema is failing. A newer one is ok: it belongs to a version that is being deployed."""
    revision(found_revision)
    report = make_health().report()
    assert (report.status, report.current_revision, report.needed_revision) == (
        status,
        found_revision,
        newest_revision(),
    )
    assert ("migrations" in report.dependencies["postgres"].reason) == (status == "failing")


def test_no_schema(make_health: Callable[..., Health], settings: Settings) -> None:
    """A database without a schema is failing."""
    report = make_health(postgres_database="postgres").report()
    assert settings.postgres_database != "postgres"
    assert (report.status, report.current_revision) == ("failing", None)
    assert "migrations" in report.dependencies["postgres"].reason


def test_read_only(make_health: Callable[..., Health], runtime: Runtime, settings: Settings) -> None:
    """A read-only PostgreSQL, such as a standby, is failing."""
    setting = f'ALTER DATABASE "{settings.postgres_database}" {{}} default_transaction_read_only'
    with runtime.database.autocommit() as connection:
        connection.execute(text(setting.format("SET") + " = on"))
        try:
            report = make_health().report()
        finally:
            connection.execute(text(setting.format("RESET")))
    assert (report.status, _reasons(report)) == ("failing", ["It is read-only.", "", ""])


def test_draining(make_health: Callable[..., Health], runtime: Runtime) -> None:
    """A process that is draining is failing at once: a cached report does not hide it."""
    assert runtime
    health = make_health()
    assert (health.report().status, health.report().is_draining) == ("ok", False)
    health.start_draining()
    report = health.report()
    assert (report.status, report.is_draining, _reasons(report)) == ("failing", True, ["", "", ""])


def test_report_ends_in_time(make_health: Callable[..., Health], blackhole: str) -> None:
    """A report waits for all dependencies together, and no longer than HEALTH_TIMEOUT_S."""
    host, port = blackhole.split(":")
    health = make_health(
        postgres_host=host, postgres_port=int(port), redis_host=host, redis_port=int(port), redis_timeout_s=10.0,
        antifraud_address=f"http://{blackhole}", antifraud_connect_timeout_s=30.0, health_timeout_s=2.0,
    )  # fmt: skip
    start = monotonic()
    report = health.report()
    assert monotonic() - start < 2.0 + _SLACK_S
    assert (report.status, _reasons(report)) == ("failing", [_NOT_IN_TIME] * 3)


def test_report_is_cached(make_health: Callable[..., Health], monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is cached for a second."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    health = make_health()
    first = health.report()
    now[0] += 0.9
    assert health.report().dependencies["redis"] is first.dependencies["redis"]
    now[0] += 0.2
    assert health.report().dependencies["redis"] is not first.dependencies["redis"]


def test_concurrent_requests_share_a_check(make_health: Callable[..., Health]) -> None:
    """Concurrent requests share one check of each dependency and get the same report."""
    health, checks, go = make_health(health_timeout_s=10.0), Semaphore(0), Event()

    def check() -> str:
        checks.release()
        assert go.wait(10)
        return ""

    health._checks = {"postgres": check, "redis": check, "antifraud": check}
    with ThreadPoolExecutor(12) as threads:
        reports = [threads.submit(health.report) for _ in range(12)]
        assert all(checks.acquire(timeout=10) for _ in range(3))
        go.set()
        assert len({id(report.result(10).dependencies["redis"]) for report in reports}) == 1
    assert not checks.acquire(blocking=False)


def test_check_that_hangs(make_health: Callable[..., Health], monkeypatch: pytest.MonkeyPatch) -> None:
    """While a check hangs no other is started. Its late result is outdated and ignored."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    health, checks, go = make_health(), list[str](), Event()

    def check() -> str:
        checks.append("check")
        if len(checks) == 1:
            assert go.wait(10)
            return "outdated"
        return ""

    health._timeout_s = 0.05
    health._checks |= {"redis": check}
    reports = []
    for _ in range(3):
        reports.append(health.report().dependencies["redis"].reason)
        now[0] += 2
    assert (reports, checks) == ([_NOT_IN_TIME] * 3, ["check"])
    go.set()
    health._running["redis"].join(10)
    health._timeout_s = 10
    assert health.report().dependencies["redis"].reason == ""
    assert len(checks) == 2


def test_antifraud_service_gets_no_request(make_health: Callable[..., Health], runtime: Runtime) -> None:
    """The check connects to the anti-fraud service and sends nothing."""
    assert runtime
    with socket.create_server(("127.0.0.1", 0)) as service:
        report = make_health(antifraud_address=f"http://127.0.0.1:{service.getsockname()[1]}").report()
        connection, _ = service.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(1000) == b""
    assert report.status == "ok"


def test_changes_are_logged(
    make_health: Callable[..., Health], caplog: pytest.LogCaptureFixture, runtime: Runtime
) -> None:
    """A change of health is logged once, without an address."""
    assert runtime
    health = make_health(redis_port=1)
    for _ in range(2):
        health.report()
        health._expires_at.clear()
    logged = [vars(record) for record in caplog.records if record.name == "promo_api.health"]
    assert [(each["msg"], each["dependency"], each["reason"]) for each in logged] == [
        (
            "health_changed",
            "redis",
            f"It is unavailable: connection refused. {_REDIS_ADVICE}",
        )
    ]
    health._checks["redis"] = lambda: ""
    health.report()
    last = vars(caplog.records[-1])
    assert (last["msg"], last["dependency"], last["reason"]) == (
        "health_changed",
        "redis",
        "It is available again.",
    )


def test_postgres_alone(make_health: Callable[..., Health]) -> None:
    """PostgreSQL is checked without the other dependencies."""
    health = make_health()
    health._checks |= {"redis": pytest.fail, "antifraud": pytest.fail}
    assert health.is_postgres_usable()
    assert not make_health(**_UNREACHABLE).is_postgres_usable()


def test_outage_that_has_ended(make_health: Callable[..., Health]) -> None:
    """A failure that began in an outage is due to it, even if PostgreSQL is usable when it is asked about."""
    health = make_health()
    assert not health.had_postgres_outage(monotonic())
    check = health._checks["postgres"]
    health._checks["postgres"] = lambda: "It is read-only."
    during = monotonic()
    assert health.had_postgres_outage(during)
    health._checks["postgres"] = check
    assert [health.had_postgres_outage(during) for _job in range(2)] == [True, True]
    assert not health.had_postgres_outage(monotonic())
