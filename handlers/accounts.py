"""Sign-up, sign-in and sign-out. No database connection is held while a password is hashed."""

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
    """An attempt to confirm a password, from a client address."""

    kind: Kind
    email: str
    address: str


def sign_up(
    runtime: Runtime, accounts: Accounts, kind: Kind, address: str, *, password: str, values: Mapping[str, Any]
) -> tuple[UUID, str]:
    """Create an account and return its id and first token; `values` are its other columns."""
    runtime.rate_limits.count(runtime.rate_limits.sign_ups(address))
    account_id = uuid4()
    password_hash = runtime.passwords.hash(password)
    with runtime.database.autocommit() as connection:
        version = accounts.insert_account(connection, account_id, {**values, "password_hash": password_hash})
    if version is None:
        raise EmailTaken("An account with this e-mail address already exists. Sign in, or use another address.")
    return account_id, runtime.tokens.issue(Claims(account_id, kind, version))


def sign_in(runtime: Runtime, accounts: Accounts, kind: Kind, address: str, body: Body) -> str:
    """Revoke all tokens of the account and return a new one.

    Neither the message of an error nor the time reveals whether the e-mail address or the password is wrong.
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
        find=partial(accounts.find_credentials_by_email, email=email),
        on_success=revoke_tokens,
        error=Unauthenticated("The e-mail address or the password is wrong.", code="wrong_credentials"),
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
    """Verify a password and return the result of `on_success`, or raise `error`.

    `on_success` returns None if the hash was replaced after `find` returned it.
    """
    failures = runtime.rate_limits.failed_sign_ins(*attempt)
    runtime.rate_limits.check(failures)
    # Twice, because a concurrent sign-in may replace the hash to change its cost.
    for _attempt in ("first", "second"):
        with runtime.database.autocommit() as connection:
            credentials = find(connection)
        password_hash = None if credentials is None else credentials.password_hash
        if not runtime.passwords.verify(password_hash, password) or credentials is None:
            _log_failure(runtime, attempt)
            runtime.rate_limits.count(failures)
            raise error
        # Concurrent guesses may exceed the limit, but then a correct one reveals nothing.
        runtime.rate_limits.check(failures)
        result = on_success(credentials)
        if result is not None:
            return result
    raise error


def find_own_credentials(accounts: Accounts, account_id: UUID, connection: Any) -> Credentials:
    """Return the credentials of the account that sent a request, or raise Unauthenticated if it was deleted."""
    credentials = accounts.find_credentials(connection, account_id)
    if credentials is None:
        raise Unauthenticated.account_deleted()
    return credentials


def sign_out(runtime: Runtime, accounts: Accounts, account_id: UUID, token_version: int) -> Body:
    """Revoke the tokens of this version. The token of a concurrent sign-in has a newer one."""
    with runtime.database.autocommit() as connection:
        accounts.delete_tokens(connection, account_id, token_version)
    return {"status": "ok"}


def _log_failure(runtime: Runtime, attempt: PasswordAttempt) -> None:
    """Log digests in place of the account and the client address."""
    account = runtime.rate_limits.digest_account(attempt.kind, attempt.email)
    address = runtime.rate_limits.digest_address(attempt.address)
    _log.warning("sign_in_failed", extra={"kind": attempt.kind, "account": account, "client_address": address})
