"""The errors of requests. They know no HTTP: the contract layer gives each a status."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A part of a request that is not valid.

    Attributes:
        location: `path`, `query`, `header` or `body`.
        pointer: JSON pointer within the location (`/target/age_from`); empty: all of it.
        message: the rule, such as "must be at most 100". It never repeats input.
    """

    location: str
    pointer: str
    message: str


class RequestError(Exception):
    """A refused request. The message is for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RequestError):
    """The request is not valid, alone or together with stored data."""

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)

    @classmethod
    def body(cls, pointer: str, message: str) -> "InvalidInput":
        """Return the error for one member of the body."""
        return cls("The request body is not valid. See `details`.", [Violation("body", pointer, message)])


class Unauthenticated(RequestError):
    """The token or the password is missing, wrong, expired or revoked."""

    @classmethod
    def account_deleted(cls) -> "Unauthenticated":
        """Return the error for an account that was deleted after its token was checked."""
        return cls("This account has been deleted.")


class NotOwner(RequestError):
    """The resource belongs to another account."""


class WrongPassword(RequestError):
    """An authenticated user confirmed an operation with a wrong password."""


class ActivationDenied(RequestError):
    """The user may not activate the promo now.

    Attributes:
        reason: a reason of `Eligibility` in api.yml, or `antifraud`.
    """

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
    """A concurrent request with the same Idempotency-Key committed first, so the transaction was rolled back.

    Clients never see it: they get the stored response of the other request.
    """


class TooManyRequests(RequestError):
    """The request exceeds a rate limit.

    Attributes:
        limit: the name of the limit (see promo_api.security.rate_limits).
        times: requests per window.
        period_s: length of the window.
        retry_after_s: seconds until the client may try again.
    """

    def __init__(self, message: str, *, limit: str, times: int, period_s: int, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.times = times
        self.period_s = period_s
        self.retry_after_s = retry_after_s


class Overloaded(RequestError):
    """Too many requests were waiting, or the request waited too long. It had no effect.

    Attributes:
        retry_after_s: seconds until the client should try again.
    """

    retry_after_s = 1


class ServiceUnavailable(RequestError):
    """A dependency is unavailable. The same request may succeed later.

    Attributes:
        reason: for the log, such as the error of the dependency.
        retry_after_s: seconds until the client should try again.
    """

    def __init__(self, message: str, *, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
