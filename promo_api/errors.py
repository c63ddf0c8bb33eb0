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
    """A refused request. The message is for people, the code is for programs; api.yml lists the codes."""

    code: str

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidInput(RequestError):
    """The request is not valid."""

    code = "invalid_request"

    def __init__(self, message: str, violations: Sequence[Violation] = (), *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.violations = tuple(violations)

    @classmethod
    def body(cls, pointer: str, message: str, *, code: str | None = None) -> "InvalidInput":
        """Return the error for a member of the body."""
        return cls("The request body is not valid. See `details`.", [Violation("body", pointer, message)], code=code)

    @classmethod
    def query(cls, pointer: str, message: str, *, code: str | None = None) -> "InvalidInput":
        """Return the error for a query parameter."""
        return cls("The request is not valid. See `details`.", [Violation("query", pointer, message)], code=code)


class Unauthenticated(RequestError):
    """The token, the API key or the password is not valid."""

    @classmethod
    def account_deleted(cls) -> "Unauthenticated":
        """The account of the token was deleted."""
        return cls("This account has been deleted.", code="account_deleted")

    @classmethod
    def token_revoked(cls) -> "Unauthenticated":
        """The account has revoked the token."""
        return cls("This token has been revoked. Sign in again.", code="token_revoked")

    @classmethod
    def key_invalid(cls) -> "Unauthenticated":
        """There is no such API key."""
        return cls("This API key is not valid.", code="key_invalid")

    @classmethod
    def key_expired(cls) -> "Unauthenticated":
        """The API key has expired."""
        return cls("This API key has expired. Create another.", code="key_expired")

    @classmethod
    def key_revoked(cls) -> "Unauthenticated":
        """The company has revoked the API key."""
        return cls("This API key has been revoked. Create another.", code="key_revoked")


class ScopeMissing(RequestError):
    """The API key does not have the scope of the operation."""

    code = "scope_missing"


class NotOwner(RequestError):
    """The resource belongs to another account."""

    code = "not_owner"


class WrongPassword(RequestError):
    """The password that confirms an operation is wrong."""

    code = "wrong_password"


class CommentRefused(RequestError):
    """The user may not write, edit or report the comment."""

    @classmethod
    def disabled(cls) -> "CommentRefused":
        """The company has switched comments off."""
        return cls("Comments are disabled for this promo.", code="comments_disabled")

    @classmethod
    def own(cls) -> "CommentRefused":
        """The user wrote the comment."""
        return cls("You cannot report your own comment.", code="own_comment")


class ActivationDenied(RequestError):
    """The user may not activate the promo.

    Attributes:
        reasons: all reasons, as in api.yml.
        retry_after_s: None if another try does not help.
    """

    def __init__(self, message: str, *, code: str, reasons: Sequence[str], retry_after_s: int | None = None) -> None:
        super().__init__(message, code=code)
        self.reasons = tuple(reasons)
        self.retry_after_s = retry_after_s


class NotFound(RequestError):
    """The path or the resource does not exist."""

    code = "not_found"

    @classmethod
    def promo(cls) -> "NotFound":
        """Return the error for a promo."""
        return cls("Promo not found.", code="promo_not_found")

    @classmethod
    def comment(cls) -> "NotFound":
        """Return the error for a comment."""
        return cls("Comment not found.", code="comment_not_found")

    @classmethod
    def job(cls) -> "NotFound":
        """Return the error for a job."""
        return cls("Job not found.", code="job_not_found")

    @classmethod
    def key(cls) -> "NotFound":
        """Return the error for an API key."""
        return cls("API key not found.", code="key_not_found")

    @classmethod
    def redemption(cls) -> "NotFound":
        """Return the error for a redemption."""
        return cls("Redemption not found.", code="redemption_not_found")

    @classmethod
    def webhook(cls) -> "NotFound":
        """Return the error for a webhook."""
        return cls("Webhook not found.", code="webhook_not_found")

    @classmethod
    def event(cls) -> "NotFound":
        """Return the error for an event."""
        return cls("Event not found.", code="event_not_found")


class TooManyKeys(RequestError):
    """The company has as many API keys as allowed."""

    code = "too_many_keys"


class TooManyWebhooks(RequestError):
    """The company has as many webhooks as allowed."""

    code = "too_many_webhooks"


class WebhookDisabled(RequestError):
    """Nothing is delivered to the webhook."""

    code = "webhook_disabled"


class TooManyJobs(RequestError):
    """The company has too many unfinished jobs."""

    code = "too_many_jobs"


class MailNotConfigured(RequestError):
    """The operation sends a mail, and there is no mail server."""

    code = "mail_not_configured"
    retry_after_s = 3600


class RedemptionRefused(RequestError):
    """The code cannot be redeemed, or the redemption cannot be changed.

    Attributes:
        candidates: the promos of an ambiguous code.
    """

    code = "redemption_state"

    def __init__(self, message: str, *, code: str | None = None, candidates: Sequence[object] = ()) -> None:
        super().__init__(message, code=code)
        self.candidates = tuple(map(str, candidates))


class EmailTaken(RequestError):
    """An account of the same kind has the e-mail address."""

    code = "email_taken"


class PreconditionFailed(RequestError):
    """The resource has another version than If-Match."""

    code = "precondition_failed"

    @classmethod
    def changed(cls) -> "PreconditionFailed":
        """The resource has changed since the client read it."""
        return cls("This resource has changed since you read it. Read it again, and repeat your change.")


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class ConcurrentRequest(Exception):
    """A request with the same Idempotency-Key committed first. Clients get its stored response."""


class AntifraudUnavailable(Exception):
    """The anti-fraud service gave no verdict; an activation may succeed after `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class TooManyRequests(RequestError):
    """The request exceeds a limit of `times` requests per `period_s`."""

    code = "rate_limited"

    def __init__(self, message: str, *, limit: str, times: int, period_s: int, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.times = times
        self.period_s = period_s
        self.retry_after_s = retry_after_s


class Overloaded(RequestError):
    """The queue is full, or the request waited too long. It had no effect."""

    code = "overloaded"
    retry_after_s = 1


class ServiceUnavailable(RequestError):
    """A dependency is unavailable; `reason` is for the log."""

    code = "service_unavailable"

    def __init__(self, message: str, *, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
