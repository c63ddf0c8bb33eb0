"""Sign-up, sign-in and sign-out of companies and users. No database connection is held while a password is hashed.

A failed sign-in counts once the password has been verified. Until then, more concurrent guesses may run than the limit
allows. So the limit is checked again after a correct password, and concurrent guessing reveals nothing.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

from handlers import Body
from persistence.accounts.credentials import Accounts, Credentials
from promo_api.errors import EmailTaken, RequestError, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.security.tokens import Claims, Kind

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class PasswordAttempt(NamedTuple):
    """An attempt to confirm the password of an account; `address` is that of the client."""

    kind: Kind
    email: str
    address: str


def sign_up(
    runtime: Runtime, accounts: Accounts, kind: Kind, address: str, *, password: str, values: Mapping[str, Any]
) -> tuple[UUID, str]:
    """Create an account and return its id and first token.

    Args:
        runtime: the services of the process.
        accounts: the accounts of this kind.
        kind: the audience of the token.
        address: the client address.
        password: plain text.
        values: the other columns of the account, including `email`.

    Raises:
        EmailTaken: an account of this kind has the e-mail address; case is ignored.
        TooManyRequests: too many sign-ups from this client address, successful or not.
    """
    runtime.rate_limits.count(runtime.rate_limits.sign_ups(address))
    account_id = uuid4()
    password_hash = runtime.passwords.hash(password)
    with runtime.database.autocommit() as connection:
        version = accounts.insert_account(connection, account_id, {**values, "password_hash": password_hash})
    if version is None:
        raise EmailTaken("An account with this e-mail address already exists. Sign in, or use another address.")
    return account_id, runtime.tokens.issue(Claims(account_id, kind, version))


def sign_in(runtime: Runtime, accounts: Accounts, kind: Kind, address: str, body: Body) -> str:
    """Verify the e-mail address and password, revoke all tokens of the account and return a new one.

    Raises:
        Unauthenticated: one of them is wrong. Neither the message nor the time reveals which.
        TooManyRequests: too many failed sign-ins to this account or from this client address, or too many successful
            sign-ins to this account.
    """
    email, password = body["email"], body["password"]
    successes = runtime.rate_limits.successful_sign_ins(kind, email)
    runtime.rate_limits.check(successes)

    def revoke_tokens(credentials: Credentials) -> Claims | None:
        runtime.rate_limits.count(successes)
        new_hash = runtime.passwords.rehash_if_needed(credentials.password_hash, password)
        with runtime.database.autocommit() as connection:
            version = accounts.update_token_version(
                connection, credentials.account_id, checked_hash=credentials.password_hash, new_hash=new_hash
            )
        return None if version is None else Claims(credentials.account_id, kind, version)

    claims = confirm_password(
        runtime,
        PasswordAttempt(kind, email, address),
        password,
        find=partial(accounts.find_credentials, email=email),
        on_success=revoke_tokens,
        error=Unauthenticated("The e-mail address or the password is wrong."),
    )
    return runtime.tokens.issue(claims)


def confirm_password(
    runtime: Runtime,
    attempt: PasswordAttempt,
    password: str,
    *,
    find: Callable[[Any], Credentials | None],
    on_success: Callable[[Credentials], _Result | None],
    error: RequestError,
) -> _Result:
    """Verify a password, then return the result of `on_success`. A wrong password is counted and logged.

    Args:
        runtime: the services of the process.
        attempt: counted and logged if it fails.
        password: plain text.
        find: returns the credentials to verify; None if the account does not exist.
        on_success: called with the verified credentials. It returns None if the hash has been replaced since.
        error: raised if the password is wrong or the account does not exist.

    Raises:
        TooManyRequests: too many attempts have failed.
    """
    failures = runtime.rate_limits.failed_sign_ins(*attempt)
    runtime.rate_limits.check(failures)
    # A concurrent sign-in may replace the hash, for example to change its cost. So there is a second attempt.
    for _attempt in ("first", "second"):
        with runtime.database.autocommit() as connection:
            credentials = find(connection)
        password_hash = None if credentials is None else credentials.password_hash
        if not runtime.passwords.verify(password_hash, password) or credentials is None:
            _log_failure(runtime, attempt)
            runtime.rate_limits.count(failures)
            raise error
        runtime.rate_limits.check(failures)
        result = on_success(credentials)
        if result is not None:
            return result
    raise error


def sign_out(runtime: Runtime, accounts: Accounts, account_id: UUID, token_version: int) -> Body:
    """Revoke the tokens of the account that have this version. The token of a concurrent sign-in has a newer one."""
    with runtime.database.autocommit() as connection:
        accounts.delete_tokens(connection, account_id, token_version)
    return {"status": "ok"}


def _log_failure(runtime: Runtime, attempt: PasswordAttempt) -> None:
    """Log a failed attempt, with digests in place of the account and the client address."""
    account = runtime.rate_limits.digest_account(attempt.kind, attempt.email)
    address = runtime.rate_limits.digest_address(attempt.address)
    _log.warning("sign_in_failed", extra={"kind": attempt.kind, "account": account, "client_address": address})
