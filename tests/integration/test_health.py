"""Health: what each state of what the service needs means, how long one waits for it, and how often it is looked at."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from threading import Event, Semaphore
from time import monotonic
from typing import Any

import pytest
from connexion.spec import Specification
from sqlalchemy import text

from persistence.revisions import newest_revision
from promo_api import SPECIFICATION, health as module
from promo_api.antifraud import Antifraud
from promo_api.health import Health, Report
from promo_api.runtime import Runtime
from promo_api.settings import Settings
from tests.accounts import Api

_NOBODY = {"postgres_host": "127.0.0.1", "postgres_port": 1}
_NO_ANSWER, _NOT_IN_TIME = "It does not answer.", "It does not answer in time."
_SLACK_S = 3


@pytest.fixture
def make(settings: Settings) -> Iterator[Callable[..., Health]]:
    """Makes health as another process would have it, with settings of its own."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Health:
            changed = replace(settings, **changes)
            antifraud = Antifraud(changed)
            health = Health(changed, antifraud)
            stack.callback(antifraud.close)
            stack.callback(health.close)
            return health

        yield make


@pytest.fixture
def revision(runtime: Runtime) -> Iterator[Callable[[str], None]]:
    """Has the schema be at a revision for the time of the test."""

    def become(revision: str) -> None:
        with runtime.database.autocommit() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})

    yield become
    become(newest_revision())


@pytest.fixture
def swallowing() -> Iterator[str]:
    """An address of which no packet comes back: nobody accepts the one connection that may wait there."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _reasons(report: Report) -> list[str]:
    return [report.findings[name].reason for name in ("postgres", "redis", "antifraud")]


def test_all_is_well(api: Api) -> None:
    """When all is well that is said of each thing, with the time it took, and which schema there is."""
    answer = api.call("GET", "/health")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["version"]) == ("ok", "0.1.0")
    assert body["schema"] == {"needed": newest_revision(), "found": newest_revision()}
    assert {tuple(found) for found in body["dependencies"].values()} == {("state", "latency_ms")}


def test_version_is_that_of_the_contract(make: Callable[..., Health]) -> None:
    """The version is the one that stands in api.yml."""
    assert make().version == Specification.load(SPECIFICATION)["info"]["version"]


@pytest.mark.parametrize(
    ("changes", "status", "reasons"),
    [
        (_NOBODY, "failing", [_NO_ANSWER, "", ""]),
        ({"redis_port": 1}, "degraded", ["", _NO_ANSWER, ""]),
        ({"antifraud_address": "http://127.0.0.1:1"}, "degraded", ["", "", _NO_ANSWER]),
        ({"antifraud_address": "https://localhost:1"}, "degraded", ["", "", _NO_ANSWER]),
        ({**_NOBODY, "redis_port": 1}, "failing", [_NO_ANSWER, _NO_ANSWER, ""]),
    ],
)
def test_what_is_away(
    make: Callable[..., Health], runtime: Runtime, changes: dict[str, Any], status: str, reasons: list[str]
) -> None:
    """What nobody listens for is away; only without PostgreSQL should requests be sent elsewhere."""
    assert runtime
    report = make(**changes).report()
    assert (report.status, _reasons(report)) == (status, reasons)
    assert [finding.latency_ms is None for finding in report.findings.values()] == [bool(reason) for reason in reasons]


def test_breaker(make: Callable[..., Health], runtime: Runtime) -> None:
    """While the breaker of the process is open activations are refused, and health says so."""
    assert runtime
    health = make(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=60)
    health._antifraud._breaker.run(lambda: None)
    report = health.report()
    assert report.status == "degraded"
    assert report.findings["antifraud"].reason == "It gave no answers, and is not asked for a while."


@pytest.mark.parametrize(("there", "status"), [("0001", "failing"), ("9999", "ok")])
def test_schema(make: Callable[..., Health], revision: Callable[[str], None], there: str, status: str) -> None:
    """An older schema is a reason to send requests elsewhere; a newer one is not, or no version could be deployed."""
    revision(there)
    report = make().report()
    assert (report.status, report.found_revision, report.needed_revision) == (status, there, newest_revision())
    assert ("migrations" in report.findings["postgres"].reason) == (status == "failing")


def test_no_schema(make: Callable[..., Health], settings: Settings) -> None:
    """A database without a schema is a reason too."""
    report = make(postgres_database="postgres").report()
    assert settings.postgres_database != "postgres"
    assert (report.status, report.found_revision) == ("failing", None)
    assert "migrations" in report.findings["postgres"].reason


def test_read_only(make: Callable[..., Health], runtime: Runtime, settings: Settings) -> None:
    """So is a PostgreSQL that takes no writes, as a standby."""
    setting = f'ALTER DATABASE "{settings.postgres_database}" {{}} default_transaction_read_only'
    with runtime.database.autocommit() as connection:
        connection.execute(text(setting.format("SET") + " = on"))
        try:
            report = make().report()
        finally:
            connection.execute(text(setting.format("RESET")))
    assert (report.status, _reasons(report)) == ("failing", ["It takes no writes.", "", ""])


def test_silence_is_bounded(make: Callable[..., Health], swallowing: str) -> None:
    """When nothing of all that is needed answers, one waits for all of it together, and no longer than is set."""
    host, port = swallowing.split(":")
    health = make(
        postgres_host=host, postgres_port=int(port), redis_host=host, redis_port=int(port), redis_timeout_s=10.0,
        antifraud_address=f"http://{swallowing}", antifraud_connect_timeout_s=30.0, health_timeout_s=2.0,
    )  # fmt: skip
    began = monotonic()
    report = health.report()
    assert monotonic() - began < 2.0 + _SLACK_S
    assert (report.status, _reasons(report)) == ("failing", [_NOT_IN_TIME] * 3)


def test_found_is_told_for_a_second(make: Callable[..., Health], monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second after a look there is no other one; then there is."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    health = make()
    first = health.report()
    now[0] += 0.9
    assert health.report() is first
    now[0] += 0.2
    assert health.report() is not first


def test_many_share_a_look(make: Callable[..., Health]) -> None:
    """However many ask at once, each thing is looked at once, and all are told the same."""
    health, looks, go = make(health_timeout_s=10.0), Semaphore(0), Event()

    def look() -> str:
        looks.release()
        assert go.wait(10)
        return ""

    health._looks = {"postgres": look, "redis": look, "antifraud": look}
    with ThreadPoolExecutor(12) as threads:
        reports = [threads.submit(health.report) for _ in range(12)]
        assert all(looks.acquire(timeout=10) for _ in range(3))
        go.set()
        assert len({id(report.result(10)) for report in reports}) == 1
    assert not looks.acquire(blocking=False)


def test_look_that_hangs(make: Callable[..., Health], monkeypatch: pytest.MonkeyPatch) -> None:
    """While a look hangs no other one is begun beside it; what it found in the end is not taken for what is now."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    health, looks, go = make(), list[str](), Event()

    def look() -> str:
        looks.append("look")
        if len(looks) == 1:
            assert go.wait(10)
            return "what was"
        return ""

    health._timeout_s = 0.05
    health._looks |= {"redis": look}
    reports = []
    for _ in range(3):
        reports.append(health.report().findings["redis"].reason)
        now[0] += 2
    assert (reports, looks) == ([_NOT_IN_TIME] * 3, ["look"])
    go.set()
    health._running["redis"].join(10)
    health._timeout_s = 10
    assert health.report().findings["redis"].reason == ""
    assert len(looks) == 2


def test_antifraud_service_is_asked_nothing(make: Callable[..., Health], runtime: Runtime) -> None:
    """To see whether the anti-fraud service is there, it is sent nothing."""
    assert runtime
    with socket.create_server(("127.0.0.1", 0)) as service:
        report = make(antifraud_address=f"http://127.0.0.1:{service.getsockname()[1]}").report()
        connection, _ = service.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(1000) == b""
    assert report.status == "ok"


def test_changes_are_logged(make: Callable[..., Health], caplog: pytest.LogCaptureFixture, runtime: Runtime) -> None:
    """What has changed since the last look is logged once, without an address."""
    assert runtime
    health = make(redis_port=1)
    for _ in range(2):
        health.report()
        health._looks_again_at = 0.0
    told = [vars(record) for record in caplog.records if record.name == "promo_api.health"]
    assert [(each["msg"], each["dependency"], each["reason"]) for each in told] == [
        ("health_changed", "redis", "It does not answer.")
    ]
    health._looks["redis"] = lambda: ""
    health.report()
    last = vars(caplog.records[-1])
    assert (last["msg"], last["dependency"], last["reason"]) == ("health_changed", "redis", "")
