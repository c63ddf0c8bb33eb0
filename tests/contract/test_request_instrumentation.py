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
from tests.contract.asgi import call

_API_PAGE = SPECIFICATION.parent / "docs" / "api.md"
_OPERATIONS_PAGE = SPECIFICATION.parent / "docs" / "operations.md"


async def _return_id(_request: object) -> PlainTextResponse:
    return PlainTextResponse(REQUEST_ID.get())


async def _fail(_request: object) -> PlainTextResponse:
    raise RuntimeError


@pytest.fixture
def reported() -> list[RequestFinished]:
    """The reported requests."""
    return []


@pytest.fixture
def client(reported: list[RequestFinished]) -> TestClient:
    """An application with request instrumentation."""
    observed = InstrumentationMiddleware(
        Starlette(routes=[Route("/id", _return_id), Route("/fail", _fail)]), reported.append
    )
    return TestClient(observed, raise_server_exceptions=False)


@pytest.mark.parametrize(
    "valid_id", ["a", "0" * 100, "6fa459ea-ee8a-3ca4-894e-db77e160355e", "Root=1-67891233:abc_D/e+f=.0"]
)
def test_valid_id_is_used(client: TestClient, reported: list[RequestFinished], valid_id: str) -> None:
    """A valid id of the client is the id of the request, in the log and in the response."""
    response = client.get("/id", headers={"X-Request-Id": valid_id})
    assert (response.text, response.headers["X-Request-Id"], reported[0].request_id) == (valid_id, valid_id, valid_id)


@pytest.mark.parametrize(
    "sent", [[], [""], ["a b"], ["a" * 101], ["ann@example.com"], ["\x1b[31m"], ["{}"], ["one", "two"]]
)
def test_invalid_id_is_replaced(client: TestClient, reported: list[RequestFinished], sent: list[str]) -> None:
    """Without exactly one valid id the request gets a new id."""
    responses = [client.get("/id", headers=[("X-Request-Id", value) for value in sent]) for _ in range(2)]
    ids = [response.headers["X-Request-Id"] for response in responses]
    assert ids == [response.text for response in responses] == [finished.request_id for finished in reported]
    assert len({*ids, *sent}) == 2 + len(sent)
    assert all(len(each) == 32 and each.isalnum() for each in ids)


@pytest.mark.parametrize("page", [_API_PAGE, _OPERATIONS_PAGE], ids=lambda page: page.name)
def test_valid_ids_are_documented(client: TestClient, page: Path) -> None:
    """The pages list the characters of a valid id and its maximum length."""
    documented = re.search(r"`X-Request-Id`.*1 to (\d+) characters of\s+`A-Z a-z 0-9 ([^`]*)`", _flat(page))
    assert documented is not None
    allowed = {*ascii_letters, *digits, *documented[2].split()}
    accepted = {text for text in printable.strip() if _id_of(client, text) == text}
    assert accepted == allowed
    assert [
        _id_of(client, "a" * length) == "a" * length for length in (int(documented[1]), int(documented[1]) + 1)
    ] == [
        True,
        False,
    ]


def _flat(page: Path) -> str:
    return " ".join(page.read_text(encoding="utf-8").split())


def _id_of(client: TestClient, sent: str) -> str:
    request_id: str = client.get("/id", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    return request_id


def test_failure_is_reported(client: TestClient, reported: list[RequestFinished]) -> None:
    """A request that fails is reported once, with its status."""
    assert client.get("/fail").status_code == 500
    assert [(finished.method, finished.status) for finished in reported] == [("GET", 500)]
    assert 0 < reported[0].duration_s < 60


def test_cancelled_request_has_status_0(reported: list[RequestFinished]) -> None:
    """A request that ends without a response is reported with status 0."""

    async def cut(_scope: Any, _receive: Any, _send: Any) -> None:
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "GET", "headers": []}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(InstrumentationMiddleware(cut, reported.append)(scope, None, None))  # type: ignore[arg-type]
    assert [finished.status for finished in reported] == [0]


@pytest.mark.parametrize(
    ("path", "operation"), [("/ping", "health.ping"), ("/user/profile", "user_profile.get_profile"), ("/nothing", "")]
)
def test_each_request_is_logged(
    bare_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, operation: str
) -> None:
    """Each request has one log line with its id, operation, method, credentials, status and duration."""
    soon = SimpleNamespace(call_later=lambda _delay_s, write, context: context.run(write))
    monkeypatch.setattr(request_log, "get_running_loop", lambda: soon)
    with caplog.at_level("INFO", "promo_api.telemetry.request_log"):
        response = call(create_app(bare_runtime), "GET", f"/api{path}")
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    fields = vars(record)
    assert 0 < fields["duration_ms"] < 60_000
    assert [fields[name] for name in ("request_id", "operation", "method", "credentials", "status")] == [
        response.header("x-request-id"),
        operation,
        "GET",
        "none",
        response.status,
    ]


def test_request_lines_are_written_in_batches(caplog: pytest.LogCaptureFixture) -> None:
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


def test_rejected_request_is_reported_once(reported: list[RequestFinished]) -> None:
    """A request that the server refuses while the application waits for its body is reported once, with its id."""
    scope = {"type": "http", "method": "POST", "headers": [(b"x-request-id", b"mine")]}
    ids = []

    async def reject_while_waiting(scope: Any, _receive: Any, _send: Any) -> None:
        ids.append(observed.record_refusal(scope, 400, perf_counter()))

    begun: list[None] = []
    observed = InstrumentationMiddleware(reject_while_waiting, reported.append, lambda: begun.append(None))
    asyncio.run(observed(scope, None, None))  # type: ignore[arg-type]
    assert ids == ["mine"]
    assert len(begun) == len(reported)
    assert [(finished.request_id, finished.method, finished.status) for finished in reported] == [("mine", "POST", 400)]


def test_rejection_after_a_response_is_reported_separately(reported: list[RequestFinished]) -> None:
    """A refusal after a response is reported as a new request."""
    begun: list[None] = []
    observed = InstrumentationMiddleware(PlainTextResponse("too early"), reported.append, lambda: begun.append(None))
    scope = {"type": "http", "method": "POST", "headers": [(b"x-request-id", b"mine")]}

    async def send(_message: Any) -> None:
        """Discard the message."""

    asyncio.run(observed(scope, None, send))  # type: ignore[arg-type]
    ids = [observed.record_refusal(scope, 400, 0), observed.record_refusal(None, 400, 0)]
    assert len({"mine", *ids}) == 3
    assert len(begun) == len(reported) == 3
    assert [finished.request_id for finished in reported] == ["mine", *ids]
    assert [(finished.method, finished.status) for finished in reported[1:]] == [("", 400)] * 2
    assert all(finished.duration_s < 60 for finished in reported)
