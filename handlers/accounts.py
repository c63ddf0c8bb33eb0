"""Sign-up, sign-in and sign-out, which are the same for companies and users. No connection is held during a hash.

A wrong password is counted once it has proved wrong. By then more guesses may be on their way than the limit allows. So
the limit is checked again when a password proves right: a guess beyond the limit is refused, right or wrong, and trying
many at once reveals nothing more.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

from handlers import Body
from persistence.accounts import Accounts, Credentials
from promo_api.errors import EmailTaken, RequestError, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.tokens import Claims, Kind

_log = logging.getLogger(__name__)

_Done = TypeVar("_Done")


class Attempt(NamedTuple):
    """An attempt to prove by the password who owns an account; `address` is the client's."""

    kind: Kind
    email: str
    address: str


def sign_up(
    runtime: Runtime, accounts: Accounts, kind: Kind, address: str, *, password: str, values: Mapping[str, Any]
) -> tuple[UUID, str]:
    """Make an account.

    Args:
        runtime: the opened things.
        accounts: where to keep it.
        kind: what its tokens are good for.
        address: of the client.
        password: in the clear.
        values: the columns of the account, the e-mail address among them.

    Returns:
        Its id and first token.

    Raises:
        EmailTaken: an account of this kind has the address, in any case.
        TooManyRequests: too many have signed up from this client address, or have tried.
    """
    runtime.rate_limits.count(runtime.rate_limits.sign_ups(address))
    account_id = uuid4()
    password_hash = runtime.passwords.hash(password)
    with runtime.database.autocommit() as connection:
        version = accounts.insert_account(connection, account_id, {**values, "password_hash": password_hash})
    if version is None:
        raise EmailTaken("An account with this e-mail address exists already. Sign in, or take another address.")
    return account_id, runtime.tokens.issue(Claims(account_id, kind, version))


def sign_in(runtime: Runtime, accounts: Accounts, kind: Kind, address: str, body: Body) -> str:
    """Check the e-mail address and password, end every earlier token of the account and return a new one.

    `address` is that of the client.

    Raises:
        Unauthenticated: they are not those of an account; which of the two is wrong is not told, not even by the time.
        TooManyRequests: too many sign-ins to this account, or from this client address, have failed; or too many to
            this account have succeeded.
    """
    email, password = body["email"], body["password"]
    successes = runtime.rate_limits.successful_sign_ins(kind, email)
    runtime.rate_limits.check(successes)

    def renewed(found: Credentials) -> Claims | None:
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
        do=renewed,
        refusal=Unauthenticated("The e-mail address or the password is not right."),
    )
    return runtime.tokens.issue(claims)


def confirmed(
    runtime: Runtime,
    attempt: Attempt,
    password: str,
    *,
    find: Callable[[Any], Credentials | None],
    do: Callable[[Credentials], _Done | None],
    refusal: RequestError,
) -> _Done:
    """Do something for whoever knows the password of an account, and count whoever does not.

    Args:
        runtime: the opened things.
        attempt: whose failure is counted and logged.
        password: in the clear.
        find: returns what the password is checked against; None if there is no account, which is not to be told.
        do: does it, and returns None if it is to be tried again: the password may have changed since it was checked.
        refusal: what those are told who do not know it.

    Raises:
        RequestError: the refusal.
        TooManyRequests: too many have failed.
    """
    failures = runtime.rate_limits.failed_sign_ins(*attempt)
    runtime.rate_limits.check(failures)
    # The hash may be replaced while it is checked, be it by another sign-in with one of today's cost.
    for _ in ("at first", "once more"):
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
    """End every token of the account, given the version of the one that asks.

    Where a sign-in has ended that one meanwhile, the new token is left: it was asked for after this.
    """
    with runtime.database.autocommit() as connection:
        accounts.delete_tokens(connection, account_id, token_version)
    return {"status": "ok"}


def _log_failure(runtime: Runtime, attempt: Attempt) -> None:
    """Log a wrong password, with the digests of the account and the client address."""
    account = runtime.rate_limits.digest_account(attempt.kind, attempt.email)
    address = runtime.rate_limits.digest_address(attempt.address)
    _log.warning("sign_in_failed", extra={"kind": attempt.kind, "account": account, "client_address": address})
