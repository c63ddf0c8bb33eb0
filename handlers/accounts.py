"""Sign-up, sign-in and sign-out of companies and users. No database connection is held while a password is hashed.

A failed sign-in is counted after the password was verified. By then more concurrent guesses may be running than the
limit allows. So the limit is checked again after a correct password: guesses beyond the limit are refused, right or
wrong, and concurrent guessing reveals nothing.
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


class Attempt(NamedTuple):
    """An attempt to confirm the password of an account; `address` is that of the client."""

    kind: Kind
    email: str
    address: str


def sign_up(
    runtime: Runtime, accounts: Accounts, kind: Kind, address: str, *, password: str, values: Mapping[str, Any]
) -> tuple[UUID, str]:
    """Create an account.

    Args:
        runtime: the services of the process.
        accounts: the table of the account.
        kind: the audience of its tokens.
        address: address of the client.
        password: plain text.
        values: the other columns of the account, including `email`.

    Returns:
        Its id and first token.

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

    def issue_claims(found: Credentials) -> Claims | None:
        runtime.rate_limits.count(successes)
        new_hash = runtime.passwords.renewed(found.password_hash, password)
        with runtime.database.autocommit() as connection:
            version = accounts.update_token_version(
                connection, found.account_id, checked_hash=found.password_hash, new_hash=new_hash
            )
        return None if version is None else Claims(found.account_id, kind, version)

    claims = confirmed(
        runtime,
        Attempt(kind, email, address),
        password,
        find=partial(accounts.find_credentials, email=email),
        do=issue_claims,
        refusal=Unauthenticated("The e-mail address or the password is wrong."),
    )
    return runtime.tokens.issue(claims)


def confirmed(
    runtime: Runtime,
    attempt: Attempt,
    password: str,
    *,
    find: Callable[[Any], Credentials | None],
    do: Callable[[Credentials], _Result | None],
    refusal: RequestError,
) -> _Result:
    """Run `do` if the password is correct; count and log a failure otherwise.

    Args:
        runtime: the services of the process.
        attempt: counted and logged if it fails.
        password: plain text.
        find: returns the credentials to verify; None if the account does not exist.
        do: runs with the verified credentials. It returns None if the password has changed in the meantime; then the
            new credentials are verified once more.
        refusal: raised if the password is wrong or the account does not exist.

    Raises:
        RequestError: the refusal.
        TooManyRequests: too many attempts have failed.
    """
    failures = runtime.rate_limits.failed_sign_ins(*attempt)
    runtime.rate_limits.check(failures)
    # A concurrent sign-in may replace the hash, for example to change its cost. So there is a second attempt.
    for _attempt in ("first", "second"):
        with runtime.database.autocommit() as connection:
            found = find(connection)
        if not runtime.passwords.verify(None if found is None else found.password_hash, password) or found is None:
            _log_failure(runtime, attempt)
            runtime.rate_limits.count(failures)
            raise refusal
        runtime.rate_limits.check(failures)
        done = do(found)
        if done is not None:
            return done
    raise refusal


def sign_out(runtime: Runtime, accounts: Accounts, account_id: UUID, token_version: int) -> Body:
    """Revoke all tokens of the account that have the given version.

    A token issued by a concurrent sign-in has a newer version and stays valid.
    """
    with runtime.database.autocommit() as connection:
        accounts.delete_tokens(connection, account_id, token_version)
    return {"status": "ok"}


def _log_failure(runtime: Runtime, attempt: Attempt) -> None:
    """Log a wrong password with digests of the account and the client address."""
    account = runtime.rate_limits.digest_account(attempt.kind, attempt.email)
    address = runtime.rate_limits.digest_address(attempt.address)
    _log.warning("sign_in_failed", extra={"kind": attempt.kind, "account": account, "client_address": address})
