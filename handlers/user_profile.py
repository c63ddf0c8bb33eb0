"""The profile of the user who asks."""

from collections.abc import Sequence

from handlers import Body
from handlers.shapes import user_shape
from persistence.accounts import USER_ACCOUNTS
from persistence.departures import delete_user
from persistence.users import User, update_user
from promo_api.errors import Unauthenticated, WrongPassword
from promo_api.limits import Counter
from promo_api.runtime import Runtime


def get_profile(_runtime: Runtime, user: User) -> Body:
    """Return the profile."""
    return user_shape(user)


def update_profile(runtime: Runtime, user: User, *, body: Body) -> Body:
    """Change what is given; null means: leave as it is. A new password leaves tokens valid."""
    changes = {name: value for name, value in body.items() if value is not None}
    if "password" in changes:
        changes["password_hash"] = runtime.passwords.hash(changes.pop("password"))
    if not changes:
        return user_shape(user)
    with runtime.database.autocommit() as connection:
        changed = update_user(connection, user.id, changes)
    if changed is None:
        raise _gone()
    return user_shape(changed)


def delete_profile(runtime: Runtime, user: User, *, body: Body, client_address: str) -> Body:
    """Delete the account with all that is known of the person, given the password.

    A wrong one counts as a sign-in that failed, so that nobody guesses here what they may not guess there.
    """
    failures = runtime.limits.of_sign_in("user", user.email, client_address)
    runtime.limits.check(failures)
    asked = (runtime, user, failures, body["password"])
    try:
        # Once more if the hash was replaced while it was checked, as a sign-in may do.
        has_left = _left(*asked) or _left(*asked)
    except WrongPassword:
        runtime.limits.count(failures)
        raise
    if not has_left:
        raise _not_confirmed()
    runtime.antifraud.forget(user.id)
    return {"status": "ok"}


def _left(runtime: Runtime, user: User, failures: Sequence[Counter], password: str) -> bool:
    """Let the user leave; False if the password has changed since it was checked."""
    with runtime.database.autocommit() as connection:
        found = USER_ACCOUNTS.find_credentials(connection, user.email)
    # Once the user has left the address may be another one's.
    if found is None or found.account_id != user.id:
        raise _gone()
    if not runtime.passwords.verify(found.password_hash, password):
        raise _not_confirmed()
    runtime.limits.check(failures)
    with runtime.database.transaction() as connection:
        return delete_user(connection, user.id, checked_hash=found.password_hash)


def _gone() -> Unauthenticated:
    return Unauthenticated("This account does not exist any more.")


def _not_confirmed() -> WrongPassword:
    return WrongPassword("The password is not right.")
