"""Error responses: the common body, one status for each error, and no internals of unexpected exceptions."""

import logging
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api import errors
from promo_api.contract import error_responses
from tests.cases import all_cases
from tests.contract.asgi import Answer, ask
from tests.contract.doubles import echo
from tests.contract.tiny import contract, operation, query, serve

STATUSES = {
    "InvalidInput": 400,
    "Unauthenticated": 401,
    "NotOwner": 403,
    "WrongPassword": 403,
    "ActivationDenied": 403,
    "NotFound": 404,
    "EmailTaken": 409,
    "IdempotencyKeyReused": 422,
    "TooManyRequests": 429,
    "Overloaded": 503,
    "ServiceUnavailable": 503,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application whose handlers return every form of result, refuse, and fail."""
    paths = {
        "/refuse": {"get": operation("echo.refuse", parameters=[query("error", {"type": "string"}, required=True)])},
        "/fail": {"get": operation("echo.fail")},
        "/created": {"post": operation("echo.show_created")},
        "/page": {"get": operation("echo.show_page")},
        "/unserializable": {"get": operation("echo.show_runtime")},
    }
    return serve(tmp_path_factory.mktemp("responses") / "api.yml", contract(paths), runtime=object())


def test_every_error_has_a_status() -> None:
    """Every RequestError has a status."""
    assert {kind.__name__: status for kind, status in error_responses._STATUSES.items()} == STATUSES
    assert {kind.__name__ for kind in errors.RequestError.__subclasses__()} == STATUSES.keys() == echo.ERRORS.keys()


@all_cases(("name", "status"), STATUSES.items())
def test_refusals(app: ASGIApp, name: str, status: int) -> None:
    """The handler's error decides the message, and the contract layer decides the status."""
    answer = ask(app, "GET", f"/api/refuse?error={name}")
    assert (answer.status, answer.raised) == (status, None)
    assert answer.header("content-type") == "application/json"
    assert answer.json() | {"details": ...} == {"status": "error", "message": echo.ERRORS[name].message, "details": ...}


def test_details_of_a_refusal(app: ASGIApp) -> None:
    """A violation has a location, a pointer and a message; without violations there are no `details`."""
    details = ask(app, "GET", "/api/refuse?error=InvalidInput").details()
    assert details == [{"in": "body", "pointer": "/age", "message": "must be an age"}]
    assert "details" not in ask(app, "GET", "/api/refuse?error=NotFound").json()


def test_headers_of_refusals(app: ASGIApp) -> None:
    """401 has the scheme and 429 and 503 have the time to wait; no other response has these headers."""
    wanted = {
        "Unauthenticated": ("Bearer", None),
        "TooManyRequests": (None, "5"),
        "ServiceUnavailable": (None, "7"),
        "Overloaded": (None, "1"),
        "NotFound": (None, None),
    }
    for name, headers in wanted.items():
        answer = ask(app, "GET", f"/api/refuse?error={name}")
        assert (answer.header("www-authenticate"), answer.header("retry-after")) == headers


def test_headers_of_limits(app: ASGIApp) -> None:
    """429 has the limit, its quota and the time to wait as in the IETF's draft; 503 does not."""
    limited, down = (ask(app, "GET", f"/api/refuse?error={name}") for name in ("TooManyRequests", "ServiceUnavailable"))
    assert limited.header("ratelimit-policy") == '"tries";q=3;w=60'
    assert limited.header("ratelimit") == '"tries";r=0;t=5'
    assert down.header("ratelimit-policy") is down.header("ratelimit") is None


def _assert_constant_failure(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    assert answer.status == 500
    assert answer.json() == {"status": "error", "message": "Internal server error. The error was logged."}
    assert answer.header("content-type") == "application/json"
    (record,) = [record for record in caplog.records if record.getMessage() == "internal_error"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_unforeseen_error(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is a constant 500; its traceback is logged, and the client gets nothing of it."""
    answer = ask(app, "GET", "/api/fail")
    _assert_constant_failure(answer, caplog)
    assert echo.SECRET in caplog.text
    assert "Traceback" in caplog.text
    assert echo.SECRET not in answer.content.decode() + repr(answer.headers)


def test_answer_that_is_no_json(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A result that is not serializable is a 500 that reveals nothing."""
    _assert_constant_failure(ask(app, "GET", "/api/unserializable"), caplog)


def test_service_goes_on_after_a_failure(app: ASGIApp) -> None:
    """Failures do not end threads."""
    assert {ask(app, "GET", "/api/fail").status for _ in range(10)} == {500}
    assert ask(app, "GET", "/api/page").status == 200


def test_forms_of_a_good_answer(app: ASGIApp) -> None:
    """A handler returns a body, optionally a status, and optionally headers."""
    created, page = ask(app, "POST", "/api/created"), ask(app, "GET", "/api/page")
    assert (created.status, created.json()) == (201, {"runtime": None})
    assert (page.status, page.content, page.header("x-total-count")) == (200, b"[1,2]", "2")
    assert page.header("content-type") == "application/json"
    assert page.header("content-length") == "5"


def test_dependency_that_is_down_is_logged(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """The reason of an unavailable dependency is logged."""
    ask(app, "GET", "/api/refuse?error=ServiceUnavailable")
    (record,) = [record for record in caplog.records if record.name == error_responses.__name__]
    told = vars(record)
    assert (record.getMessage(), told["reason"], told["retry_after_s"]) == ("service_unavailable", "it sleeps", 7)


def test_failure_before_any_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error of the contract layer gets the same response as one of a handler."""
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation()}}))

    def fail(*_arguments: object) -> None:
        raise RuntimeError(echo.SECRET)

    monkeypatch.setattr("promo_api.contract.parameters.Query.read", fail)
    answer = ask(app, "GET", "/api/x")
    _assert_constant_failure(answer, caplog)
    assert echo.SECRET not in answer.content.decode()


def test_error_handler_that_fails(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in an error handler is the constant 500."""
    monkeypatch.setattr(error_responses, "_STATUSES", {})
    _assert_constant_failure(ask(app, "GET", "/api/refuse?error=NotFound"), caplog)
