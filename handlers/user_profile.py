"""The profile of the user who asks."""

from typing import Any

from handlers import Body
from handlers.accounts import Attempt, confirmed
from handlers.shapes import user_shape
from persistence.accounts import USER_ACCOUNTS, Credentials
from persistence.departures import delete_user
from persistence.users import User, update_user
from promo_api.errors import Unauthenticated, WrongPassword
from promo_api.limits import PASSWORD_CHANGES
from promo_api.runtime import Runtime


def get_profile(_runtime: Runtime, user: User) -> Body:
    """Return the profile."""
    return user_shape(user)


def update_profile(runtime: Runtime, user: User, *, body: Body) -> Body:
    """Change what is given; null means: leave as it is. A new password leaves tokens valid."""
    changes = {name: value for name, value in body.items() if value is not None}
    if "password" in changes:
        runtime.limits.count_for(PASSWORD_CHANGES, user.id)
        changes["password_hash"] = runtime.passwords.hash(changes.pop("password"))
    if not changes:
        return user_shape(user)
    with runtime.database.autocommit() as connection:
        changed = update_user(connection, user.id, changes)
    if changed is None:
        raise Unauthenticated.left()
    return user_shape(changed)


def delete_profile(runtime: Runtime, user: User, *, body: Body, client_address: str) -> Body:
    """Delete the account with all that is known of the person, given the password.

    A wrong one counts as a sign-in that failed, so that nobody guesses here what they may not guess there.
    """

    def find(connection: Any) -> Credentials:
        found = USER_ACCOUNTS.find_credentials(connection, user.email)
        # Once the user has left the address may be another one's.
        if found is None or found.account_id != user.id:
            raise Unauthenticated.left()
        return found

    def leave(found: Credentials) -> bool | None:
        with runtime.database.transaction() as connection:
            return delete_user(connection, user.id, checked_hash=found.password_hash) or None

    confirmed(
        runtime,
        Attempt("user", user.email, client_address),
        body["password"],
        find=find,
        do=leave,
        refusal=WrongPassword("The password is not right."),
    )
    runtime.antifraud.forget(user.id)
    return {"status": "ok"}
