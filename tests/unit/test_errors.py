"""Errors: each has a message for the sender, and knows no HTTP."""

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
    ActivationDenied: lambda message: ActivationDenied("inactive", message),
    TooManyRequests: lambda message: TooManyRequests(message, limit="tries", times=3, period_s=60, retry_after_s=5),
    ServiceUnavailable: lambda message: ServiceUnavailable(message, reason="it sleeps"),
}


@all_cases("kind", RequestError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_message_is_the_text(kind: type[RequestError]) -> None:
    """The message is what a log line shows too."""
    error = _MAKE.get(kind, kind)("Not now.")
    assert (error.message, str(error)) == ("Not now.", "Not now.")


def test_violations_do_not_change() -> None:
    """An error keeps the violations that it was made with, whatever becomes of their list."""
    violations = [Violation("body", "/a", "must be an A")]
    error = InvalidInput("The request is not valid.", violations)
    violations.clear()
    assert error.violations == (Violation("body", "/a", "must be an A"),)
    assert InvalidInput("It is not valid.").violations == ()


def test_violation_of_one_member() -> None:
    """One member of the body is pointed at in short."""
    error = InvalidInput.body("/max_count", "must be 1")
    assert error.violations == (Violation("body", "/max_count", "must be 1"),)


def test_what_else_an_error_knows() -> None:
    """A refused activation has a reason for the log; a dependency that is down, a time to wait."""
    assert ActivationDenied("inactive", "Not now.").reason == "inactive"
    down = ServiceUnavailable("Later.", reason="it sleeps")
    assert (down.reason, down.retry_after_s) == ("it sleeps", 1)
    assert ServiceUnavailable("Later.", reason="it sleeps", retry_after_s=30).retry_after_s == 30


def test_no_http() -> None:
    """No status stands among the errors."""
    numbers = {node.value for node in ast.walk(ast.parse(inspect.getsource(errors))) if isinstance(node, ast.Constant)}
    assert not [number for number in numbers if isinstance(number, int) and 100 <= number < 600]
