"""The profile of the user who asks."""

from handlers import Body
from handlers.shapes import user_shape
from persistence.users import User, update_user
from promo_api.errors import Unauthenticated
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
        raise Unauthenticated("This account does not exist any more.")
    return user_shape(changed)
