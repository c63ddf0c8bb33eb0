"""The errors of requests. The contract layer gives each a status."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """An invalid part of a request. The message never repeats input."""

    location: str  # path, query, header or body
    pointer: str  # a JSON pointer
    message: str


class RequestError(Exception):
    """A refused request. The message is for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RequestError):
    """The request is not valid."""

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)

    @classmethod
    def body(cls, pointer: str, message: str) -> "InvalidInput":
        """Return the error for a member of the body."""
        return cls("The request body is not valid. See `details`.", [Violation("body", pointer, message)])


class Unauthenticated(RequestError):
    """The token or the password is not valid."""

    @classmethod
    def account_deleted(cls) -> "Unauthenticated":
        """The account was deleted after authentication."""
        return cls("This account has been deleted.")


class NotOwner(RequestError):
    """The resource belongs to another account."""


class WrongPassword(RequestError):
    """The password that confirms an operation is wrong."""


class ActivationDenied(RequestError):
    """The user may not activate the promo; `reason` as in api.yml."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(RequestError):
    """The resource does not exist."""


class EmailTaken(RequestError):
    """An account of the same kind has the e-mail address."""


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key was used for another request."""


class ConcurrentRequest(Exception):
    """A request with the same Idempotency-Key committed first. Clients get its stored response."""


class TooManyRequests(RequestError):
    """The request exceeds a limit of `times` requests per `period_s`."""

    def __init__(self, message: str, *, limit: str, times: int, period_s: int, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.times = times
        self.period_s = period_s
        self.retry_after_s = retry_after_s


class Overloaded(RequestError):
    """The queue is full, or the request waited too long. It had no effect."""

    retry_after_s = 1


class ServiceUnavailable(RequestError):
    """A dependency is unavailable; `reason` is for the log."""

    def __init__(self, message: str, *, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
