"""Error responses: the common body, one status for each error, and no internals of unexpected exceptions."""

import logging
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api import errors
from promo_api.contract import error_responses
from tests.cases import all_cases
from tests.contract.asgi import Response, call
from tests.contract.handlers import echo
from tests.contract.sample_api import contract, operation, query, serve

STATUSES = {
    "InvalidInput": 400,
    "Unauthenticated": 401,
    "ScopeMissing": 403,
    "NotOwner": 403,
    "CommentRefused": 403,
    "WrongPassword": 403,
    "ActivationDenied": 403,
    "NotFound": 404,
    "RedemptionRefused": 409,
    "EmailTaken": 409,
    "TooManyKeys": 409,
    "TooManyWebhooks": 409,
    "WebhookDisabled": 409,
    "TooManyJobs": 409,
    "PreconditionFailed": 412,
    "IdempotencyKeyReused": 422,
    "TooManyRequests": 429,
    "Overloaded": 503,
    "MailNotConfigured": 503,
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
    response = call(app, "GET", f"/api/refuse?error={name}")
    assert (response.status, response.raised) == (status, None)
    assert response.header("content-type") == "application/json"
    error = echo.ERRORS[name]
    expected = {"status": "error", "code": error.code, "message": error.message}
    assert {member: response.json()[member] for member in expected} == expected
    assert response.json().keys() - expected.keys() <= {"details", "reasons"}


def test_details_of_a_refusal(app: ASGIApp) -> None:
    """A violation has a location, a pointer and a message; without violations there are no `details`."""
    details = call(app, "GET", "/api/refuse?error=InvalidInput").details()
    assert details == [{"in": "body", "pointer": "/age", "message": "must be an age"}]
    assert "details" not in call(app, "GET", "/api/refuse?error=NotFound").json()


def test_reasons_of_a_refused_activation(app: ASGIApp) -> None:
    """A refused activation has all reasons; no other error has `reasons`."""
    assert call(app, "GET", "/api/refuse?error=ActivationDenied").json()["reasons"] == ["expired", "age"]
    assert "reasons" not in call(app, "GET", "/api/refuse?error=NotFound").json()


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
        response = call(app, "GET", f"/api/refuse?error={name}")
        assert (response.header("www-authenticate"), response.header("retry-after")) == headers


def test_rate_limit_headers(app: ASGIApp) -> None:
    """429 has the limit, its quota and the time to wait as in the IETF's draft; 503 does not."""
    limited = call(app, "GET", "/api/refuse?error=TooManyRequests")
    unavailable = call(app, "GET", "/api/refuse?error=ServiceUnavailable")
    assert limited.header("ratelimit-policy") == '"tries";q=3;w=60'
    assert limited.header("ratelimit") == '"tries";r=0;t=5'
    assert unavailable.header("ratelimit-policy") is unavailable.header("ratelimit") is None


def _assert_internal_error(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    assert response.status == 500
    assert response.json() == {
        "status": "error",
        "code": "internal_error",
        "message": "Internal server error. The error was logged.",
    }
    assert response.header("content-type") == "application/json"
    (record,) = [record for record in caplog.records if record.getMessage() == "internal_error"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_unexpected_exception(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is a constant 500; its traceback is logged, and the client gets nothing of it."""
    response = call(app, "GET", "/api/fail")
    _assert_internal_error(response, caplog)
    assert echo.SECRET in caplog.text
    assert "Traceback" in caplog.text
    assert echo.SECRET not in response.content.decode() + repr(response.headers)


def test_result_that_is_not_serializable(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A result that is not serializable is a 500 that reveals nothing."""
    _assert_internal_error(call(app, "GET", "/api/unserializable"), caplog)


def test_failures_do_not_end_threads(app: ASGIApp) -> None:
    """Failures do not end threads."""
    assert {call(app, "GET", "/api/fail").status for _ in range(10)} == {500}
    assert call(app, "GET", "/api/page").status == 200


def test_results_of_handlers(app: ASGIApp) -> None:
    """A handler returns a body, optionally a status, and optionally headers."""
    created, page = call(app, "POST", "/api/created"), call(app, "GET", "/api/page")
    assert (created.status, created.json()) == (201, {"runtime": None})
    assert (page.status, page.content, page.header("x-total-count")) == (200, b"[1,2]", "2")
    assert page.header("content-type") == "application/json"
    assert page.header("content-length") == "5"


def test_unavailable_dependency_is_logged(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """The reason of an unavailable dependency is logged."""
    call(app, "GET", "/api/refuse?error=ServiceUnavailable")
    (record,) = [record for record in caplog.records if record.name == error_responses.__name__]
    fields = vars(record)
    assert (record.getMessage(), fields["reason"], fields["retry_after_s"]) == ("service_unavailable", "timeout", 7)


def test_exception_in_the_contract_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error of the contract layer gets the same response as one of a handler."""
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation()}}))

    def fail(*_arguments: object) -> None:
        raise RuntimeError(echo.SECRET)

    monkeypatch.setattr("promo_api.contract.parameters.Query.read", fail)
    response = call(app, "GET", "/api/x")
    _assert_internal_error(response, caplog)
    assert echo.SECRET not in response.content.decode()


def test_exception_in_an_error_handler(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in an error handler is the constant 500."""
    monkeypatch.setattr(error_responses, "_STATUSES", {})
    _assert_internal_error(call(app, "GET", "/api/refuse?error=NotFound"), caplog)
