"""Handlers that return their arguments or a fixed result, or raise."""

from typing import Any

from promo_api import errors

SECRET = "a secret that must not be revealed"
LARGE = [f"A text that a user chose, number {number}" for number in range(200)]


def show(_runtime: object, *principal: object, **arguments: Any) -> dict[str, Any]:
    """Return the account, the arguments and their types."""
    types = {name: type(value).__name__ for name, value in arguments.items()}
    return {"principal": list(principal), "arguments": arguments, "types": types}


def show_too(runtime: object, *principal: object, **arguments: Any) -> dict[str, Any]:
    """Return the same for a second operation."""
    return show(runtime, *principal, **arguments)


def show_client(runtime: object, *principal: object, **arguments: Any) -> dict[str, Any]:
    """Return the same for a third operation."""
    return show(runtime, *principal, **arguments)


def show_client_address(runtime: object, *, client_address: str) -> dict[str, Any]:
    """Return the address of the client."""
    return show(runtime, client_address=client_address)


def show_created(_runtime: object) -> tuple[dict[str, Any], int]:
    """Return a status."""
    return {"runtime": None}, 201


def show_page(_runtime: object) -> tuple[list[int], int, dict[str, str]]:
    """Return a status and a header."""
    return [1, 2], 200, {"X-Total-Count": "2"}


def show_page_of_more(_runtime: object) -> tuple[list[int], int, dict[str, str]]:
    """Return the same page with another total."""
    return [1, 2], 200, {"X-Total-Count": "3"}


def show_version(_runtime: object) -> tuple[list[int], int, dict[str, str]]:
    """Return a version of a resource."""
    return [1, 2], 200, {"ETag": "version-1"}


def show_large(_runtime: object) -> list[str]:
    """Return some kilobytes."""
    return LARGE


def show_runtime(runtime: object) -> object:
    """Return the runtime itself."""
    return {"runtime": runtime}


def fail(_runtime: object) -> None:
    """Raise an unexpected exception."""
    raise ValueError(SECRET)


def fail_too(_runtime: object, *_principal: object, **_arguments: Any) -> None:
    """Raise an unexpected exception for a second operation."""
    raise ValueError(SECRET)


def refuse(_runtime: object, *, error: str) -> None:
    """Raise the error of this name."""
    raise ERRORS[error]


ERRORS: dict[str, errors.RequestError] = {
    "InvalidInput": errors.InvalidInput.body("/age", "must be an age"),
    "Unauthenticated": errors.Unauthenticated("A token is needed.", code="token_missing"),
    "NotOwner": errors.NotOwner("It belongs to another account."),
    "CommentRefused": errors.CommentRefused.disabled(),
    "WrongPassword": errors.WrongPassword("This is not the password."),
    "ActivationDenied": errors.ActivationDenied("Not now.", code="promo_expired", reasons=["expired", "age"]),
    "NotFound": errors.NotFound("Not found."),
    "ScopeMissing": errors.ScopeMissing("This key may not do that."),
    "TooManyKeys": errors.TooManyKeys("There are twenty keys."),
    "TooManyWebhooks": errors.TooManyWebhooks("There are twenty webhooks."),
    "WebhookDisabled": errors.WebhookDisabled("The webhook is disabled."),
    "TooManyJobs": errors.TooManyJobs("Ten jobs are unfinished."),
    "RedemptionRefused": errors.RedemptionRefused("It is voided."),
    "EmailTaken": errors.EmailTaken("It is in use."),
    "PreconditionFailed": errors.PreconditionFailed("It has changed."),
    "IdempotencyKeyReused": errors.IdempotencyKeyReused("Another request has this key."),
    "TooManyRequests": errors.TooManyRequests("Too many tries.", limit="tries", times=3, period_s=60, retry_after_s=5),
    "Overloaded": errors.Overloaded("Too much."),
    "MailNotConfigured": errors.MailNotConfigured("No mails are sent."),
    "ServiceUnavailable": errors.ServiceUnavailable("Later.", reason="timeout", retry_after_s=7),
}
