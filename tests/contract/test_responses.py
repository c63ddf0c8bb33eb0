"""Answers: every error in the one shape, each meaning with its status, and nothing of what nobody foresaw."""

import logging
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api import errors
from promo_api.contract import responses
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
    "KeyReused": 422,
    "TooManyRequests": 429,
    "Overloaded": 503,
    "DependencyDown": 503,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application whose handlers refuse, fail, and answer in every form."""
    paths = {
        "/refuse": {"get": operation("echo.refuse", parameters=[query("error", {"type": "string"}, required=True)])},
        "/fail": {"get": operation("echo.fail")},
        "/created": {"post": operation("echo.show_created")},
        "/page": {"get": operation("echo.show_page")},
        "/unserializable": {"get": operation("echo.show_runtime")},
    }
    return serve(tmp_path_factory.mktemp("responses") / "api.yml", contract(paths), runtime=object())


def test_every_error_has_a_status() -> None:
    """There is no way to refuse a request that nobody gave a status."""
    assert {kind.__name__: status for kind, status in responses._STATUSES.items()} == STATUSES
    assert {kind.__name__ for kind in errors.RequestError.__subclasses__()} == STATUSES.keys() == echo.ERRORS.keys()


@all_cases(("name", "status"), STATUSES.items())
def test_refusals(app: ASGIApp, name: str, status: int) -> None:
    """A handler says why, and the layer says with which status."""
    answer = ask(app, "GET", f"/api/refuse?error={name}")
    assert (answer.status, answer.raised) == (status, None)
    assert answer.header("content-type") == "application/json"
    assert answer.json() | {"details": ...} == {"status": "error", "message": echo.ERRORS[name].message, "details": ...}


def test_details_of_a_refusal(app: ASGIApp) -> None:
    """A violation is told with its place, pointer and message; without one there are no details at all."""
    details = ask(app, "GET", "/api/refuse?error=InvalidInput").details()
    assert details == [{"in": "body", "pointer": "/age", "message": "must be an age"}]
    assert "details" not in ask(app, "GET", "/api/refuse?error=NotFound").json()


def test_headers_of_refusals(app: ASGIApp) -> None:
    """401 names the scheme, 429 and 503 the time to wait, and no other answer does."""
    wanted = {
        "Unauthenticated": ("Bearer", None),
        "TooManyRequests": (None, "5"),
        "DependencyDown": (None, "7"),
        "Overloaded": (None, "1"),
        "NotFound": (None, None),
    }
    for name, headers in wanted.items():
        answer = ask(app, "GET", f"/api/refuse?error={name}")
        assert (answer.header("www-authenticate"), answer.header("retry-after")) == headers


def test_headers_of_limits(app: ASGIApp) -> None:
    """429 names the limit, how often one may try and when again, in the form of the IETF's draft; 503 does not."""
    limited, down = (ask(app, "GET", f"/api/refuse?error={name}") for name in ("TooManyRequests", "DependencyDown"))
    assert limited.header("ratelimit-policy") == '"tries";q=3;w=60'
    assert limited.header("ratelimit") == '"tries";r=0;t=5'
    assert down.header("ratelimit-policy") is down.header("ratelimit") is None


def _assert_constant_failure(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    assert answer.status == 500
    assert answer.json() == {"status": "error", "message": "The service failed. The failure has been logged."}
    assert answer.header("content-type") == "application/json"
    (record,) = [record for record in caplog.records if record.getMessage() == "unforeseen_error"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_unforeseen_error(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw is a constant 500, its traceback is logged, and its text stays inside."""
    answer = ask(app, "GET", "/api/fail")
    _assert_constant_failure(answer, caplog)
    assert echo.SECRET in caplog.text
    assert "Traceback" in caplog.text
    assert echo.SECRET not in answer.content.decode() + repr(answer.headers)


def test_answer_that_is_no_json(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that answers with what is no JSON has failed, and the sender sees none of it."""
    _assert_constant_failure(ask(app, "GET", "/api/unserializable"), caplog)


def test_service_goes_on_after_a_failure(app: ASGIApp) -> None:
    """More failures than there are threads take none of them away."""
    assert {ask(app, "GET", "/api/fail").status for _ in range(10)} == {500}
    assert ask(app, "GET", "/api/page").status == 200


def test_forms_of_a_good_answer(app: ASGIApp) -> None:
    """A handler answers with a body, or with a status too, or with headers too."""
    created, page = ask(app, "POST", "/api/created"), ask(app, "GET", "/api/page")
    assert (created.status, created.json()) == (201, {"runtime": None})
    assert (page.status, page.content, page.header("x-total-count")) == (200, b"[1,2]", "2")
    assert page.header("content-type") == "application/json"
    assert page.header("content-length") == "5"


def test_dependency_that_is_down_is_logged(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """What a dependency's failure was is for the log."""
    ask(app, "GET", "/api/refuse?error=DependencyDown")
    (record,) = [record for record in caplog.records if record.name == responses.__name__]
    told = vars(record)
    assert (record.getMessage(), told["reason"], told["retry_after_s"]) == ("dependency_down", "it sleeps", 7)


def test_failure_before_any_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of the layer itself is answered as one of a handler is."""
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
    """An error that cannot even be told is the constant 500, and not a broken answer of the server."""
    monkeypatch.setattr(responses, "_STATUSES", {})
    _assert_constant_failure(ask(app, "GET", "/api/refuse?error=NotFound"), caplog)
