"""What companies and users do alike: sign up, in and out. Passwords are hashed while no connection is held.

A sign-in that succeeds counts nowhere; one that fails counts once it has failed. So many guesses may be on their way
before the first of them has failed, and it is looked again when a password proves right: a guess among more than may
fail is refused like the others, right or wrong, and nobody learns more by trying all at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from handlers import Body
from persistence.accounts import Accounts
from promo_api.errors import EmailTaken, Unauthenticated
from promo_api.limits import Counter
from promo_api.runtime import Runtime
from promo_api.tokens import Claims, Kind


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
    runtime.limits.count(runtime.limits.of_sign_up(address))
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
        TooManyRequests: too many sign-ins to this account, or from this client address, have failed.
    """
    failures = runtime.limits.of_sign_in(kind, body["email"], address)
    runtime.limits.check(failures)
    asked = (runtime, accounts, kind, failures, body["email"], body["password"])
    try:
        # Once more if the hash was replaced while it was checked, be it by another sign-in with one of today's cost.
        claims = _signed_in(*asked) or _signed_in(*asked)
    except Unauthenticated:
        runtime.limits.count(failures)
        raise
    if claims is None:
        raise _refused()
    return runtime.tokens.issue(claims)


def sign_out(runtime: Runtime, accounts: Accounts, account_id: UUID, token_version: int) -> Body:
    """End every token of the account, given the version of the one that asks.

    Where a sign-in has ended that one meanwhile, the new token is left: it was asked for after this.
    """
    with runtime.database.autocommit() as connection:
        accounts.delete_tokens(connection, account_id, token_version)
    return {"status": "ok"}


def _signed_in(
    runtime: Runtime, accounts: Accounts, kind: Kind, failures: Sequence[Counter], email: str, password: str
) -> Claims | None:
    """Return the claims of a new token; None if the password has changed since it was checked."""
    with runtime.database.autocommit() as connection:
        found = accounts.find_credentials(connection, email)
    if not runtime.passwords.verify(None if found is None else found.password_hash, password) or found is None:
        raise _refused()
    runtime.limits.check(failures)
    new_hash = runtime.passwords.renewed(found.password_hash, password)
    with runtime.database.autocommit() as connection:
        version = accounts.update_token_version(
            connection, found.account_id, checked_hash=found.password_hash, new_hash=new_hash
        )
    return None if version is None else Claims(found.account_id, kind, version)


def _refused() -> Unauthenticated:
    return Unauthenticated("The e-mail address or the password is not right.")
