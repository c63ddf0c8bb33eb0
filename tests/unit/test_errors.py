"""Errors have a message for the client, and no HTTP status."""

import ast
import inspect
from collections.abc import Callable

from promo_api import errors
from promo_api.errors import (
    ActivationDenied,
    InvalidInput,
    RequestError,
    ServiceUnavailable,
    TooManyRequests,
    Violation,
)
from tests.cases import all_cases

_MAKE: dict[type[RequestError], Callable[[str], RequestError]] = {
    ActivationDenied: lambda message: ActivationDenied(message, code="promo_expired", reasons=["expired"]),
    TooManyRequests: lambda message: TooManyRequests(message, limit="tries", times=3, period_s=60, retry_after_s=5),
    ServiceUnavailable: lambda message: ServiceUnavailable(message, reason="it sleeps"),
}


@all_cases("kind", RequestError.__subclasses__())
def test_message_is_the_text(kind: type[RequestError]) -> None:
    """The text of an error, which log lines contain, is its message."""
    error = _MAKE.get(kind, kind)("Not now.")
    assert (error.message, str(error)) == ("Not now.", "Not now.")


def test_violations_do_not_change() -> None:
    """Changes of the list do not change the violations of the error."""
    violations = [Violation("body", "/a", "must be an A")]
    error = InvalidInput("The request is not valid.", violations)
    violations.clear()
    assert error.violations == (Violation("body", "/a", "must be an A"),)
    assert InvalidInput("It is not valid.").violations == ()


def test_violation_of_one_member() -> None:
    """`body` returns an error with one violation in the body."""
    error = InvalidInput.body("/max_count", "must be 1")
    assert error.violations == (Violation("body", "/max_count", "must be 1"),)


def test_error_attributes() -> None:
    """A denied activation has reasons; an unavailable service has a time to wait."""
    denied = ActivationDenied("Not now.", code="promo_expired", reasons=["expired", "age"])
    assert (denied.code, denied.reasons, denied.retry_after_s) == ("promo_expired", ("expired", "age"), None)
    down = ServiceUnavailable("Later.", reason="it sleeps")
    assert (down.reason, down.retry_after_s) == ("it sleeps", 1)
    assert ServiceUnavailable("Later.", reason="it sleeps", retry_after_s=30).retry_after_s == 30


def test_errors_have_no_status() -> None:
    """The module contains no HTTP status."""
    numbers = {node.value for node in ast.walk(ast.parse(inspect.getsource(errors))) if isinstance(node, ast.Constant)}
    assert not [number for number in numbers if isinstance(number, int) and 100 <= number < 600]
