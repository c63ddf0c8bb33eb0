"""What can go wrong with a request, one class for each meaning. No HTTP in here: statuses are the contract layer's."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A rule that a request breaks.

    Attributes:
        location: the part of the request: `path`, `query`, `header` or `body`.
        pointer: JSON pointer to it within that part (`/target/age_from`); empty: the whole of it.
        message: what must hold there. It never repeats what was sent.
    """

    location: str
    pointer: str
    message: str


class RequestError(Exception):
    """A request that is refused; the message is for its sender."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RequestError):
    """The request breaks a rule of its form, or a rule between its values and what is stored."""

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)

    @classmethod
    def body(cls, pointer: str, message: str) -> "InvalidInput":
        """Return the error for one member of the body."""
        return cls("The request body is not valid.", [Violation("body", pointer, message)])


class Unauthenticated(RequestError):
    """The sender is not known: no token, or one that does not count, or a wrong password."""

    @classmethod
    def left(cls) -> "Unauthenticated":
        """Return the error for whoever has left since their token was checked."""
        return cls("This account does not exist any more.")


class NotOwner(RequestError):
    """The thing exists, and belongs to somebody else."""


class WrongPassword(RequestError):
    """The sender is known by a token, and has not confirmed by the password what needs it."""


class ActivationDenied(RequestError):
    """The promo may not be activated by this user now.

    Attributes:
        reason: a constant word: one of the reasons of `Eligibility` in api.yml, or `antifraud`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(RequestError):
    """There is no such thing."""


class EmailTaken(RequestError):
    """Another account of this kind has the address."""


class KeyReused(RequestError):
    """The Idempotency-Key of the request belongs to an earlier one that was another request."""


class ConcurrentRequest(Exception):
    """A concurrent request with the same Idempotency-Key was first, so the transaction was rolled back.

    Clients never see it: the stored response of the other request is returned.
    """


# persistence.database.engine still uses the old name.


class TooManyRequests(RequestError):
    """The same was tried too often; it may be tried again later.

    Attributes:
        limit: a constant name: one of those in promo_api.security.rate_limits.
        times: how often it may be tried...
        period_s: ...in so many seconds.
        retry_after_s: after how many seconds it may be tried again.
    """

    def __init__(self, message: str, *, limit: str, times: int, period_s: int, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.times = times
        self.period_s = period_s
        self.retry_after_s = retry_after_s


class Overloaded(RequestError):
    """Too many requests wait, or the request has waited for too long. Nothing was done.

    Attributes:
        retry_after_s: after how many seconds to try again.
    """

    retry_after_s = 1


class ServiceUnavailable(RequestError):
    """A dependency is unavailable. The same request may succeed later.

    Attributes:
        reason: one line for the log, such as the error of the dependency.
        retry_after_s: seconds until the next attempt.
    """

    def __init__(self, message: str, *, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
