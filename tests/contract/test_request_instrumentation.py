"""Request instrumentation: ids in responses and log lines, and one report for each request."""

import asyncio
import re
from pathlib import Path
from string import ascii_letters, digits, printable
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from promo_api.app import SPECIFICATION, create_app
from promo_api.runtime import Runtime
from promo_api.telemetry import request_log
from promo_api.telemetry.logs import REQUEST_ID
from promo_api.telemetry.requests import InstrumentationMiddleware, RequestFinished
from tests.contract.asgi import ask

_OPERATIONS_PAGE = SPECIFICATION.parent / "docs" / "operations.md"


async def _tell_id(_request: object) -> PlainTextResponse:
    return PlainTextResponse(REQUEST_ID.get())


async def _fail(_request: object) -> PlainTextResponse:
    raise RuntimeError


@pytest.fixture
def told() -> list[RequestFinished]:
    """The reported requests."""
    return []


@pytest.fixture
def client(told: list[RequestFinished]) -> TestClient:
    """An application with request instrumentation."""
    observed = InstrumentationMiddleware(Starlette(routes=[Route("/id", _tell_id), Route("/fail", _fail)]), told.append)
    return TestClient(observed, raise_server_exceptions=False)


@pytest.mark.parametrize(
    "sane", ["a", "0" * 100, "6fa459ea-ee8a-3ca4-894e-db77e160355e", "Root=1-67891233:abc_D/e+f=.0"]
)
def test_sane_id_is_kept(client: TestClient, told: list[RequestFinished], sane: str) -> None:
    """A valid id of the client is the id of the request, in the log and in the response."""
    answer = client.get("/id", headers={"X-Request-Id": sane})
    assert (answer.text, answer.headers["X-Request-Id"], told[0].request_id) == (sane, sane, sane)


@pytest.mark.parametrize(
    "given", [[], [""], ["a b"], ["a" * 101], ["ann@example.com"], ["\x1b[31m"], ["{}"], ["one", "two"]]
)
def test_other_id_is_made(client: TestClient, told: list[RequestFinished], given: list[str]) -> None:
    """Without exactly one valid id the request gets a new id."""
    answers = [client.get("/id", headers=[("X-Request-Id", value) for value in given]) for _ in range(2)]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert ids == [answer.text for answer in answers] == [answered.request_id for answered in told]
    assert len({*ids, *given}) == 2 + len(given)
    assert all(len(made) == 32 and made.isalnum() for made in ids)


@pytest.mark.parametrize("page", [SPECIFICATION, _OPERATIONS_PAGE], ids=lambda page: page.name)
def test_sane_is_what_is_said_to_be(client: TestClient, page: Path) -> None:
    """The pages name the characters of an id and its largest length."""
    said = re.search(r"`X-Request-Id`.*1 to (\d+) characters of\s+`A-Z a-z 0-9 ([^`]*)`", _flat(page))
    assert said is not None
    allowed = {*ascii_letters, *digits, *said[2].split()}
    kept = {text for text in printable.strip() if _id_of(client, text) == text}
    assert kept == allowed
    assert [_id_of(client, "a" * length) == "a" * length for length in (int(said[1]), int(said[1]) + 1)] == [
        True,
        False,
    ]


def _flat(page: Path) -> str:
    return " ".join(page.read_text(encoding="utf-8").split())


def _id_of(client: TestClient, given: str) -> str:
    request_id: str = client.get("/id", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    return request_id


def test_failure_is_told_of(client: TestClient, told: list[RequestFinished]) -> None:
    """A request that fails is reported once, with its status."""
    assert client.get("/fail").status_code == 500
    assert [(answered.method, answered.status) for answered in told] == [("GET", 500)]
    assert 0 < told[0].duration_s < 60


def test_request_that_is_cut_has_no_status(told: list[RequestFinished]) -> None:
    """A request that ends without a response is reported with status 0."""

    async def cut(_scope: Any, _receive: Any, _send: Any) -> None:
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "GET", "headers": []}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(InstrumentationMiddleware(cut, told.append)(scope, None, None))  # type: ignore[arg-type]
    assert [answered.status for answered in told] == [0]


@pytest.mark.parametrize(
    ("path", "operation"), [("/ping", "health.ping"), ("/user/profile", "user_profile.get_profile"), ("/nothing", "")]
)
def test_each_request_is_logged(
    bare_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, operation: str
) -> None:
    """Each request has one log line with its id, operation, method, status and duration."""
    soon = SimpleNamespace(call_later=lambda _delay_s, write, context: context.run(write))
    monkeypatch.setattr(request_log, "get_running_loop", lambda: soon)
    with caplog.at_level("INFO", "promo_api.telemetry.request_log"):
        answer = ask(create_app(bare_runtime), "GET", f"/api{path}")
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    told = vars(record)
    assert 0 < told["duration_ms"] < 60_000
    assert [told[name] for name in ("request_id", "operation", "method", "status")] == [
        answer.header("x-request-id"),
        operation,
        "GET",
        answer.status,
    ]


def test_lines_of_requests_are_written_together(caplog: pytest.LogCaptureFixture) -> None:
    """Request lines are written together, and none is lost at the end."""
    log = request_log.RequestLog()

    async def main() -> None:
        for number in range(3):
            log.add(RequestFinished(str(number), "GET", "", 200, 0.1))
        assert _logged(caplog) == []
        log.end()
        log.add(RequestFinished("3", "GET", "", 200, 0.1))

    with caplog.at_level("INFO", "promo_api.telemetry.request_log"):
        asyncio.run(main())
    assert _logged(caplog) == ["0", "1", "2", "3"]


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["request_id"] for record in caplog.records if record.getMessage() == "request"]


def test_refusal_is_told_of_in_place_of_the_request(told: list[RequestFinished]) -> None:
    """A request that the server refuses while the application waits for its body is reported once, with its id."""
    scope = {"type": "http", "method": "POST", "headers": [(b"x-request-id", b"mine")]}
    ids = []

    async def wait_in_vain(scope: Any, _receive: Any, _send: Any) -> None:
        ids.append(observed.record_refusal(scope, 400, perf_counter()))

    begun: list[None] = []
    observed = InstrumentationMiddleware(wait_in_vain, told.append, lambda: begun.append(None))
    asyncio.run(observed(scope, None, None))  # type: ignore[arg-type]
    assert ids == ["mine"]
    assert len(begun) == len(told)
    assert [(answered.request_id, answered.method, answered.status) for answered in told] == [("mine", "POST", 400)]


def test_refusal_of_what_comes_after_an_answer(told: list[RequestFinished]) -> None:
    """A refusal after a response is reported as a new request."""
    begun: list[None] = []
    observed = InstrumentationMiddleware(PlainTextResponse("too early"), told.append, lambda: begun.append(None))
    scope = {"type": "http", "method": "POST", "headers": [(b"x-request-id", b"mine")]}

    async def send(_message: Any) -> None:
        """Discard the message."""

    asyncio.run(observed(scope, None, send))  # type: ignore[arg-type]
    ids = [observed.record_refusal(scope, 400, 0), observed.record_refusal(None, 400, 0)]
    assert len({"mine", *ids}) == 3
    assert len(begun) == len(told) == 3
    assert [answered.request_id for answered in told] == ["mine", *ids]
    assert [(answered.method, answered.status) for answered in told[1:]] == [("", 400)] * 2
    assert all(answered.duration_s < 60 for answered in told)
